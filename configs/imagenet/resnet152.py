"""ResNet-152 on ImageNet.

python -m train fit configs/imagenet/resnet152.py --data.root FOLDER

Paper: no figure.
Expected: not measured; compare it with prm_resnet152.py.
"""

from configs.imagenet.recipe import resnet
from train.config import Config, Model


def config() -> Config:
    return resnet("imagenet_resnet152", Model(name="resnet152"))
