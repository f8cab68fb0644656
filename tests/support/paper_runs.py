"""Folders as `python -m train fit` leaves them, without the training."""

import dataclasses
import json

from configs.coco.recipe import detector
from configs.imagenet import recipe
from prm_flax import complexity, create_model
from train.config import Config, DetectionConfig, Init, Model
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


def coco(name: str, **options) -> DetectionConfig:
    """The paper's training of a detector, from a backbone's weights."""
    config = detector(name)
    model = dataclasses.replace(config.model, **options)
    return dataclasses.replace(config, model=model, init=Init("resnet50.pth"))


def detected(folder, config: DetectionConfig, **changed):
    """The folder of a detector's run that came to its end; its path as text."""
    folder.mkdir()
    write_config(folder, config)
    result = {
        "name": config.name,
        "model": config.model.name,
        "steps": config.epochs * (118_287 // config.batch_size + 3),
        "test_AP": 37.04,
        "test_AP50": 57.96,
        "test_AP_small": 20.0,
    }
    (folder / "result.json").write_text(json.dumps(result | changed))
    return str(folder)


def with_data(config: Config, **changed) -> Config:
    """The config on other images."""
    data = dataclasses.replace(config.data, **changed)
    return dataclasses.replace(config, data=data)
