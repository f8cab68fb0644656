"""Two ways to train on 1,970 solar cells, in minutes on one CPU core.

Both: the whole cell, made smaller; crops of 70 to 100 % of it, nearly square, flips.
The published labels are those of `train.data.datasets.solar_cells`.
"""

from train.config import Checkpoint, Config, Data, Init, Log, Model, Optim
from train.data.datasets.imagenet_samples import SAMPLES, WEIGHTS

# Pixels: what one core can train on in ten minutes.
SIZE = 96
NO_DECAY = ("norms", "biases", "prm")


def scratch(name: str, model: Model) -> Config:
    """From random weights."""
    optim = Optim(
        peak_lr=0.05,
        schedule="cosine",
        warmup_epochs=1,
        nesterov=True,
        weight_decay=5e-4,
        no_decay=NO_DECAY,
    )
    # Mean and standard deviation of the 1,970 training images' pixels.
    data = _data(mean=(0.596,), std=(0.159,))
    return _config(name, model, data, optim, Init(), epochs=8)


def fine_tuned(name: str, model: Model, new: tuple[str, ...]) -> Config:
    """From the public ImageNet weights, which `make weights` fetches."""
    optim = Optim(
        peak_lr=0.01,
        schedule="cosine",
        warmup_epochs=0.5,
        nesterov=True,
        weight_decay=1e-4,
        no_decay=NO_DECAY,
    )
    (file,) = WEIGHTS.files
    init = Init(str(SAMPLES.path / file), new)
    data = _data(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    return _config(name, model, data, optim, init, epochs=3)


def _data(mean: tuple[float, ...], std: tuple[float, ...]) -> Data:
    return Data(
        source="solar_cells",
        mean=mean,
        std=std,
        flip=True,
        image_size=SIZE,
        crop_area=(0.7, 1.0),
        crop_aspect=(0.95, 1.05),
        # No border is cut off for evaluation.
        eval_resize=SIZE,
    )


def _config(
    name: str, model: Model, data: Data, optim: Optim, init: Init, epochs: int
) -> Config:
    return Config(
        name=name,
        model=model,
        data=data,
        optim=optim,
        init=init,
        checkpoint=Checkpoint(best=False),
        log=Log(every_steps=10),
        epochs=epochs,
        batch_size=32,
        eval_batch_size=112,
    )
