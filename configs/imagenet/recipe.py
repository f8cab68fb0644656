"""The paper's two ways to train on ImageNet; the experiments differ in the network.

Both: random crops of 10 to 100 % of the image at an aspect of 4/5 to 5/4, flips, mean
and standard deviation of the official programs, 256 images a step with batch-norm
statistics over 32 (the paper's 8 GPUs), SGD with momentum 0.9.
"""

import dataclasses

from train.config import Checkpoint, Config, Data, Log, Model, Optim

DATA = Data(
    source="imagenet2012",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    flip=True,
    image_size=224,
    crop_area=(0.1, 1.0),
    crop_aspect=(0.8, 1.25),
    eval_resize=256,
)


def resnet(name: str, model: Model) -> Config:
    """Paper, section 4.1: 100 epochs, 0.1 divided by 10 every 30; all decays by 1e-4.

    "All": the official program exempts nothing, PRM's d and θ included.
    """
    optim = Optim(
        peak_lr=0.1,
        schedule="step",
        step_epochs=30,
        step_factor=0.1,
        momentum=0.9,
        weight_decay=1e-4,
    )
    return _config(name, model, optim, epochs=100)


def mobile(name: str, model: Model) -> Config:
    """The official mobile program: 150 epochs, 5 of warm-up, then a cosine."""
    optim = Optim(
        peak_lr=0.1,
        schedule="cosine",
        warmup_epochs=5,
        momentum=0.9,
        weight_decay=4e-5,
        no_decay=("norms", "biases", "prm", "depthwise"),
    )
    return _config(name, model, optim, epochs=150)


def _config(name: str, model: Model, optim: Optim, epochs: int) -> Config:
    return Config(
        name=name,
        model=dataclasses.replace(model, batch_norm=32),
        data=DATA,
        optim=optim,
        # 5,004 steps are an epoch.
        checkpoint=Checkpoint(every_steps=1000),
        log=Log(every_steps=100),
        epochs=epochs,
        batch_size=256,
    )
