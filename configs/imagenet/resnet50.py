"""ResNet-50 on ImageNet.

python -m train fit configs/imagenet/resnet50.py --data.root FOLDER

Paper: 75.8974 % top-1, 92.7224 % top-5 (Table 1).
Expected: the paper's figure, of one run of the authors; not measured here.
"""

from configs.imagenet.recipe import resnet
from train.config import Config, Model


def config() -> Config:
    return resnet("imagenet_resnet50", Model(name="resnet50"))
