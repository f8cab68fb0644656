"""Folders as `python -m train fit` leaves them, without the training."""

import dataclasses
import json

from configs.imagenet import recipe
from prm_flax import complexity, create_model
from train.config import Config, Model
from train.tasks.classification_setup import model_options
from train.workdir.same_config import write_config

STEPS = 1_281_167 // 256


def imagenet(name: str, **options) -> Config:
    """The paper's training of a ResNet."""
    return recipe.resnet(f"imagenet_{name}", Model(name=name, **options))


def finished(folder, config: Config, top1=70.5, top5=89.5, **changed):
    """The folder of a run that came to its end; its path as text."""
    folder.mkdir()
    write_config(folder, config)
    options = model_options(config.model)
    model = create_model(config.model.name, **options)
    result = {
        "name": config.name,
        "model": config.model.name,
        "test_top1": top1,
        "test_top5": top5,
        "parameters": complexity(model, (224, 224)).parameters,
        "steps": config.epochs * STEPS,
    }
    kept = {k: v for k, v in (result | changed).items() if v is not None}
    (folder / "result.json").write_text(json.dumps(kept))
    return str(folder)


def with_data(config: Config, **changed) -> Config:
    """The config on other images."""
    data = dataclasses.replace(config.data, **changed)
    return dataclasses.replace(config, data=data)
