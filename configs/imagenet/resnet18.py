"""ResNet-18 on ImageNet.

python -m train fit configs/imagenet/resnet18.py --data.root FOLDER

Paper: 68.9632 % top-1, 88.5902 % top-5 (Table 5).
Expected: the paper's figure, of one run of the authors; not measured here.
"""

from configs.imagenet.recipe import resnet
from train.config import Config, Model


def config() -> Config:
    return resnet("imagenet_resnet18", Model(name="resnet18"))
