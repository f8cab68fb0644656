"""PRM-MobileNetV2 on ImageNet.

python -m train fit configs/imagenet/prm_mobilenet_v2.py --data.root FOLDER

Paper: 72.5466 % top-1, 90.8960 % top-5 (Tables 2 and 3).
Expected: the paper's figure, of one run of the authors; not measured here.
"""

from configs.imagenet.recipe import mobile
from train.config import Config, Model


def config() -> Config:
    return mobile("imagenet_prm_mobilenet_v2", Model(name="prm_mobilenet_v2"))
