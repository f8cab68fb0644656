"""PRM-ResNet-18 with 16 heads on ImageNet.

python -m train fit configs/imagenet/prm_resnet18_heads16.py --data.root FOLDER

Paper: a point of Figure 4, printed without its number; prm_resnet18.py has 64 heads.
Expected: not measured; compare it with prm_resnet18.py.
"""

from configs.imagenet.recipe import resnet
from train.config import Config, Model


def config() -> Config:
    return resnet(
        "imagenet_prm_resnet18_heads16", Model(name="prm_resnet18", groups=16)
    )
