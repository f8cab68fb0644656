"""PRM-ResNet-18 with 128 heads on ImageNet.

python -m train fit configs/imagenet/prm_resnet18_heads128.py --data.root FOLDER

Paper: a point of Figure 4, printed without its number; prm_resnet18.py has 64 heads.
Stage 1 has 64 channels, and so 64 heads here too.
Expected: not measured; compare it with prm_resnet18.py.
"""

from configs.imagenet.recipe import resnet
from train.config import Config, Model


def config() -> Config:
    return resnet(
        "imagenet_prm_resnet18_heads128", Model(name="prm_resnet18", groups=128)
    )
