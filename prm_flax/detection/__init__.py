"""Object detection: RetinaNet on any network of the zoo, and what it is made of."""

from prm_flax.detection.registry import create_detector as create_detector
from prm_flax.detection.registry import list_detectors as list_detectors
