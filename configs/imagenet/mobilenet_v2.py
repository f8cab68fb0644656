"""MobileNetV2 on ImageNet.

python -m train fit configs/imagenet/mobilenet_v2.py --data.root FOLDER

Paper: 71.0320 % top-1 (Table 2).
Expected: the paper's figure, of one run of the authors; not measured here.
"""

from configs.imagenet.recipe import mobile
from train.config import Config, Model


def config() -> Config:
    return mobile("imagenet_mobilenet_v2", Model(name="mobilenet_v2"))
