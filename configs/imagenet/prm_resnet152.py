"""PRM-ResNet-152 on ImageNet.

python -m train fit configs/imagenet/prm_resnet152.py --data.root FOLDER

Paper: no figure.
Expected: not measured; compare it with resnet152.py.
"""

from configs.imagenet.recipe import resnet
from train.config import Config, Model


def config() -> Config:
    return resnet("imagenet_prm_resnet152", Model(name="prm_resnet152"))
