"""The options of the program: the only place where an option exists.

A config file under configs/ has a function `config()` that returns a `Config`; flags
of the command line change its fields: `--optim.peak-lr 0.2`.
"""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Model:
    """The network; what is None is the network's own default."""

    name: str = "prm_resnet14"
    """One of prm_flax.list_models()."""
    num_classes: int | None = None
    """Logits; None takes the data's number of classes, another number is refused."""
    stem: str | None = None
    """ResNets: imagenet, 3x3 or 3x3_stride2."""
    groups: int | None = None
    """PRM's heads."""
    similarity: str | None = None
    """PRM's: dot, l1 or cosine."""
    ddof: int | None = None
    """PRM's standard deviation: 0, the paper's, or 1, the official code's."""
    position: bool | None = None
    """PRM's position encoding."""
    normalize: bool | None = None
    """PRM's normalisation of the scores."""
    batch_norm: int | Literal["global"] = "global"
    """Images a batch-norm statistic is taken over."""
    bn_momentum: float | None = None
    """Share of the old running statistics kept."""
    bn_epsilon: float | None = None
    """Added to the variance."""
    dropout: float | None = None
    """Rate before the classifier."""
    zero_init: bool = False
    """Start the last norm of each residual branch at scale 0."""
    remat: bool = False
    """Recompute the blocks in the backward pass: less memory, more time."""
    dtype: Literal["float32", "bfloat16", "float16", "float64"] | None = None
    """Of the computation; parameters stay float32."""


@dataclass(frozen=True)
class Data:
    """The images."""

    source: str = "fashion_mnist"
    """fashion_mnist, idx (any set in MNIST's four files) or fake."""
    root: str | None = None
    """Folder of the files; None looks where README says."""
    mean: tuple[float, ...] = (0.5,)
    """Subtracted from the pixels (in [0, 1]), one number or one a channel."""
    std: tuple[float, ...] = (0.5,)
    """The pixels are divided by it after that."""
    crop_padding: int = 0
    """Random crops out of the image padded by this many pixels; 0 for none."""
    flip: bool = False
    """Mirror half of the images."""
    prefetch: int = 2
    """Batches made ahead."""


@dataclass(frozen=True)
class Optim:
    """SGD and its learning rate."""

    peak_lr: float = 0.1
    """For the whole batch."""
    schedule: Literal["step", "cosine"] = "cosine"
    """step: a tenth of it after every step_epochs; cosine: down to 0 at the end."""
    warmup_epochs: float = 0.0
    """Epochs of linear growth from 0 to peak_lr."""
    step_epochs: int = 30
    """Epochs between two decays of the step schedule."""
    step_factor: float = 0.1
    """What a decay multiplies the rate by."""
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    """Added to the gradient as weight_decay · parameter (L2, as the paper's)."""
    decay: Literal["all", "kernels"] = "all"
    """all: every parameter, the official ResNet program's way; kernels: weights of
    convolutions and dense layers only, none of norms, biases and PRM."""
    label_smoothing: float = 0.0


@dataclass(frozen=True)
class Checkpoint:
    """When the run is saved; it is always saved at its end and on SIGTERM or Ctrl-C."""

    every_steps: int = 500
    keep: int = 2
    """How many of the last are kept."""


@dataclass(frozen=True)
class Log:
    """What is written while training."""

    every_steps: int = 50
    tensorboard: bool = False
    """Also write TensorBoard files; needs the extra [tensorboard]."""


@dataclass(frozen=True)
class Config:
    """One experiment."""

    name: str
    """The run's folder is runs/NAME, unless workdir is given."""
    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=Optim)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    log: Log = field(default_factory=Log)
    epochs: int = 100
    batch_size: int = 256
    """Of all devices together."""
    eval_batch_size: int = 512
    """Of all devices together."""
    seed: int = 0
    """Of the parameters, the order of the images, the crops and flips, dropout."""
    workdir: str | None = None
    """The run's folder."""


@dataclass(frozen=True)
class Predict:
    """What `predict` looks at."""

    images: tuple[str, ...] = ()
    """Image files; by default the first of the test images."""
    count: int = 16
    """How many of the test images."""
    output: str | None = None
    """The picture's file; by default predict.png in the run's folder."""
