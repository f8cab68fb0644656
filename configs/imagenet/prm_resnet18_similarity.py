"""PRM-ResNet-18, similarity alone, on ImageNet.

python -m train fit configs/imagenet/prm_resnet18_similarity.py --data.root FOLDER

Paper: 70.1863 % top-1, 89.4491 % top-5 (Table 5).
Expected: the paper's figure, of one run of the authors; not measured here.
"""

from configs.imagenet.recipe import resnet
from train.config import Config, Model


def config() -> Config:
    return resnet(
        "imagenet_prm_resnet18_similarity",
        Model(name="prm_resnet18", position=False, normalize=False),
    )
