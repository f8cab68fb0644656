"""PRM-MobileNetV2 with the L1 similarity on ImageNet.

python -m train fit configs/imagenet/prm_mobilenet_v2_l1.py --data.root FOLDER

Paper: 72.5570 % top-1, 90.7993 % top-5 (Table 3).
Expected: the paper's figure, of one run of the authors; not measured here.
"""

from configs.imagenet.recipe import mobile
from train.config import Config, Model


def config() -> Config:
    return mobile(
        "imagenet_prm_mobilenet_v2_l1", Model(name="prm_mobilenet_v2", similarity="l1")
    )
