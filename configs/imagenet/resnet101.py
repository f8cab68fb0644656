"""ResNet-101 on ImageNet.

python -m train fit configs/imagenet/resnet101.py --data.root FOLDER

Paper: 77.8659 % top-1 (section 4.1).
Expected: the paper's figure, of one run of the authors; not measured here.
"""

from configs.imagenet.recipe import resnet
from train.config import Config, Model


def config() -> Config:
    return resnet("imagenet_resnet101", Model(name="resnet101"))
