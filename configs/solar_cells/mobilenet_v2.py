"""MobileNetV2 on solar cells, from the public ImageNet weights of `make weights`.

python -m train fit configs/solar_cells/mobilenet_v2.py
"""

from configs.solar_cells.recipe import fine_tuned
from train.config import Config, Model


def config() -> Config:
    return fine_tuned("solar_cells_mobilenet_v2", Model(name="mobilenet_v2"), ("fc",))
