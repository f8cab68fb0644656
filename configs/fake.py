"""PRM-ResNet-50 on noise that costs nothing to make: how fast is this machine?

python -m train fit configs/fake.py --model.dtype bfloat16 --workdir runs/speed

100 steps; images_per_second of scalars.jsonl is the training's, with the copies to the
devices and without decoding. Add --profile 20 for a trace. The accuracy means nothing.
"""

import dataclasses

from configs.imagenet.recipe import resnet
from train.config import Config, Log, Model


def config() -> Config:
    config = resnet("fake", Model(name="prm_resnet50"))
    data = dataclasses.replace(config.data, source="fake_imagenet")
    return dataclasses.replace(config, data=data, epochs=1, log=Log(every_steps=10))
