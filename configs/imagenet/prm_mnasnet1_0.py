"""PRM-MnasNet-1.0 on ImageNet.

python -m train fit configs/imagenet/prm_mnasnet1_0.py --data.root FOLDER

Paper: 73.0147 % top-1 (Table 2).
Expected: the paper's figure, of one run of the authors; not measured here.
"""

from configs.imagenet.recipe import mobile
from train.config import Config, Model


def config() -> Config:
    return mobile("imagenet_prm_mnasnet1_0", Model(name="prm_mnasnet1_0"))
