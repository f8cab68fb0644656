"""The options that every task has."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

# True or False, and True where the flag stands alone.
Switch = Annotated[
    bool,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=(0, 1),
        metavar="[True|False]",
        instance_from_str=lambda words: not words or _TRUTH[words[0]],
        is_instance=lambda value: isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    ),
]
_TRUTH = {"True": True, "False": False}

# Words, also with commas between them: prm fc, or prm,fc.
Words = Annotated[
    tuple[str, ...],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="WORD,…",
        instance_from_str=lambda words: tuple(filter(None, ",".join(words).split(","))),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: list(value),
    ),
]


@dataclass(frozen=True)
class BaseModel:
    """The network of any task; what is None is the network's own default."""

    name: str = "prm_resnet14"
    """One of prm_flax.list_models()."""
    dtype: Literal["float32", "bfloat16", "float16", "float64"] | None = None
    """Of the computation; parameters stay float32. float16 scales the loss."""


@dataclass(frozen=True)
class BaseData:
    """The data of any task."""

    source: str = "fashion_mnist"
    """fashion_mnist, idx (any set in MNIST's four files), imagenet2012 (prepared by
    tensorflow-datasets), image_folder (train/CLASS/FILE), imagenet_photos (twenty, to
    train and test), solar_cells (photographs, fetched), fake or fake_imagenet."""
    root: str | None = None
    """Folder of the files; None takes that of the environment's PRM_DATA_DIR."""
    workers: int | None = None
    """Processes that decode image files; 0: threads; None: one a core, at most 32."""
    prefetch: int = 2
    """Batches made ahead, of each worker."""


Exempt = Literal["norms", "biases", "prm", "d_theta", "depthwise"]


@dataclass(frozen=True)
class BaseOptim:
    """The optimiser and its learning rate."""

    optimizer: Literal["sgd", "lars"] = "sgd"
    """lars: SGD with a rate for each layer, for batches of thousands of images."""
    peak_lr: float = 0.1
    lr_images: int | None = None
    """The batch that peak_lr is meant for: peak_lr · batch_size / lr_images is used;
    None uses peak_lr."""
    schedule: Literal["step", "cosine"] = "cosine"
    """step: a tenth of it after every step_epochs; cosine: down to 0 at the end."""
    warmup_epochs: float = 0.0
    """Epochs of linear growth from 0 to the peak."""
    step_epochs: int = 30
    """Epochs between two decays of the step schedule."""
    step_factor: float = 0.1
    """What a decay multiplies the rate by."""
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    """Added to the gradient as weight_decay · parameter (L2, as the paper's)."""
    no_decay: tuple[Exempt, ...] = ()
    """Parameters that do not decay: norms, biases, prm (all six of PRM's), d_theta
    (PRM's d and θ), depthwise (kernels that see one channel)."""
    clip_norm: float | None = None
    """Gradients longer than this, all parameters together, are shortened to it."""
    accumulate: int = 1
    """Parts a batch is computed in, one after the other, to need less memory."""
    skip_bad_steps: int = 0
    """Updates of NaN or infinity that are left out before one ends the run."""
    ema: float = 0.0
    """Decay of the moving average of the weights, evaluated beside them; 0 for none."""


@dataclass(frozen=True)
class Init:
    """The weights that a run starts from; a resumed run goes on with its own."""

    file: Annotated[str | None, tyro.conf.arg(aliases=("--init",))] = None
    """A .pth or .safetensors file with the names of torchvision, timm or the authors, a
    .safetensors file of ours, or a run's folder; None draws the weights at random.
    Without a run of their own, `predict`, `evaluate`, `export` use them as they are."""
    new: Words = ()
    """What starts fresh although there is a file: prm (the outputs stay), fc."""
    weights: Literal["raw", "average"] = "raw"
    """Which, of a file or a run that has both: as trained, or their moving average."""


@dataclass(frozen=True)
class Checkpoint:
    """When the run is saved; it is always saved at its end and on SIGTERM or Ctrl-C."""

    every_steps: int = 500
    every_minutes: float = 0.0
    """Also after so many minutes, at the next report; 0 for steps alone."""
    keep: int = 2
    """How many of the last are kept."""
    best: bool = True
    """The one with the best test score is kept besides."""


@dataclass(frozen=True)
class Log:
    """What is written while training."""

    every_steps: int = 50
    tensorboard: bool = False
    """Also write TensorBoard files; needs the extra [tensorboard]."""


@dataclass(frozen=True)
class BaseConfig:
    """An experiment of any task; its class decides which."""

    name: str
    """The run's folder is runs/NAME, unless workdir is given."""
    model: BaseModel = field(default_factory=BaseModel)
    data: BaseData = field(default_factory=BaseData)
    optim: BaseOptim = field(default_factory=BaseOptim)
    init: Init = field(default_factory=Init)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    log: Log = field(default_factory=Log)
    epochs: int = 100
    batch_size: int = 256
    """Of all devices together."""
    eval_batch_size: int = 512
    """Of all devices together."""
    parallel: Literal["jit", "pmap"] = "jit"
    """How devices share a step; pmap needs model.batch_norm as a number of images."""
    distributed: Switch = False
    """One process of several: found by Cloud TPU, Slurm, Open MPI, Kubernetes, or the
    next three."""
    coordinator: str | None = None
    """HOST:PORT where the first process listens for the others."""
    processes: int | None = None
    process_id: int | None = None
    """Which of them this is; 0 is the first."""
    startup_seconds: int = 300
    """Processes that have not met by then end."""
    heartbeat_seconds: int = 60
    """Processes that are silent for longer are lost, and the others end."""
    profile: int = 0
    """Steps to trace with jax's profiler, after the first ten; 0 for none."""
    seed: int = 0
    """Of the parameters, the order of the images, the crops and flips, dropout."""
    workdir: str | None = None
    """The run's folder."""
