"""ResNet-18 on solar cells, from random weights.

python -m train fit configs/solar_cells/resnet18.py
"""

from configs.solar_cells.recipe import scratch
from train.config import Config, Model


def config() -> Config:
    return scratch("solar_cells_resnet18", Model(name="resnet18"))
