"""PRM-ResNet-18 on solar cells, from random weights.

python -m train fit configs/solar_cells/prm_resnet18.py
"""

from configs.solar_cells.recipe import scratch
from train.config import Config, Model


def config() -> Config:
    return scratch("solar_cells_prm_resnet18", Model(name="prm_resnet18"))
