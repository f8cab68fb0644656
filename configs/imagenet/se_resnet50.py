"""SE-ResNet-50 on ImageNet.

python -m train fit configs/imagenet/se_resnet50.py --data.root FOLDER

Paper: 77.2877 % top-1, 93.6478 % top-5 (Table 1).
Expected: the paper's figure, of one run of the authors; not measured here.
"""

from configs.imagenet.recipe import resnet
from train.config import Config, Model


def config() -> Config:
    return resnet("imagenet_se_resnet50", Model(name="se_resnet50"))
