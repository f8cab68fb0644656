"""Object detection: RetinaNet and Cascade R-CNN, and what they are made of."""

from prm_flax.detection.detect import Detections as Detections
from prm_flax.detection.detect import detect as detect
from prm_flax.detection.frozen import trainable as trainable
from prm_flax.detection.objective import detection_loss as detection_loss
from prm_flax.detection.registry import create_detector as create_detector
from prm_flax.detection.registry import list_detectors as list_detectors
from prm_flax.detection.targets import Targets as Targets
from prm_flax.detection.targets import pad_targets as pad_targets
