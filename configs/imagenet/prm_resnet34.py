"""PRM-ResNet-34 on ImageNet.

python -m train fit configs/imagenet/prm_resnet34.py --data.root FOLDER

Paper: no figure.
Expected: not measured; compare it with resnet34.py.
"""

from configs.imagenet.recipe import resnet
from train.config import Config, Model


def config() -> Config:
    return resnet("imagenet_prm_resnet34", Model(name="prm_resnet34"))
