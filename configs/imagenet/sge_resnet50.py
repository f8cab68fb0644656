"""SGE-ResNet-50 on ImageNet.

python -m train fit configs/imagenet/sge_resnet50.py --data.root FOLDER

Paper: 77.5072 % top-1, 93.6783 % top-5 (Table 1).
Expected: the paper's figure, of one run of the authors; not measured here.
"""

from configs.imagenet.recipe import resnet
from train.config import Config, Model


def config() -> Config:
    return resnet("imagenet_sge_resnet50", Model(name="sge_resnet50"))
