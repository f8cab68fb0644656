"""SK-ResNet-50 on ImageNet.

python -m train fit configs/imagenet/sk_resnet50.py --data.root FOLDER

Paper: 77.3657 % top-1, 93.5256 % top-5 (Table 1).
Expected: the paper's figure, of one run of the authors; not measured here.
"""

from configs.imagenet.recipe import resnet
from train.config import Config, Model


def config() -> Config:
    return resnet("imagenet_sk_resnet50", Model(name="sk_resnet50"))
