"""GC-ResNet-50 on ImageNet.

python -m train fit configs/imagenet/gc_resnet50.py --data.root FOLDER

Paper: 74.8966 % top-1, 92.2812 % top-5 (Table 1).
Expected: the paper's figure, of one run of the authors; not measured here.
"""

from configs.imagenet.recipe import resnet
from train.config import Config, Model


def config() -> Config:
    return resnet("imagenet_gc_resnet50", Model(name="gc_resnet50"))
