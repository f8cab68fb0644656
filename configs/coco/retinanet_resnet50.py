"""RetinaNet on ResNet-50, on COCO.

python -m train fit configs/coco/retinanet_resnet50.py
    --data.root COCO --init FILE --init.new neck,bbox_head

FILE are the backbone's weights on ImageNet; COCO has annotations, train2017, val2017.
Paper: AP 36.2 (Table 4).
Expected: the paper's figure, of one run of the authors; not measured here.
"""

from configs.coco.recipe import detector
from train.config import DetectionConfig


def config() -> DetectionConfig:
    return detector("retinanet_resnet50")
