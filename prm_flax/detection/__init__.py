"""Object detection: boxes, anchors, their assignment, suppression, losses, RetinaNet."""

from prm_flax.detection.registry import create_detector as create_detector
from prm_flax.detection.registry import list_detectors as list_detectors
