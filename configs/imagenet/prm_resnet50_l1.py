"""PRM-ResNet-50 with the L1 similarity on ImageNet.

python -m train fit configs/imagenet/prm_resnet50_l1.py --data.root FOLDER

Paper: 77.6012 % top-1, 93.5944 % top-5 (Table 3).
Expected: the paper's figure, of one run of the authors; not measured here.
"""

from configs.imagenet.recipe import resnet
from train.config import Config, Model


def config() -> Config:
    return resnet(
        "imagenet_prm_resnet50_l1", Model(name="prm_resnet50", similarity="l1")
    )
