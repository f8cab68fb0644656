"""The options of an image classifier."""

from dataclasses import dataclass, field
from typing import Literal

from train.config.base import BaseConfig, BaseData, BaseModel, BaseOptim


@dataclass(frozen=True)
class Model(BaseModel):
    """A classifier."""

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
    kernel: Literal["auto", "xla"] | None = None
    """PRM's: xla takes no kernel of ours on GPUs and TPUs."""
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


@dataclass(frozen=True)
class Data(BaseData):
    """The images of a classifier."""

    mean: tuple[float, ...] = (0.5,)
    """Subtracted from the pixels (in [0, 1]), one number or one a channel."""
    std: tuple[float, ...] = (0.5,)
    """Divides the pixels after that."""
    flip: bool = False
    """Mirror half of the images."""
    crop_padding: int = 0
    """Small images: crops of the image padded by so many pixels; 0 for none."""
    image_size: int = 224
    """Image files: height and width of what the network gets."""
    crop_area: tuple[float, float] = (0.1, 1.0)
    """Image files: share of the image that a training crop takes, least and most."""
    crop_aspect: tuple[float, float] = (0.8, 1.25)
    """Image files: width over height of a training crop, least and most."""
    eval_resize: int = 256
    """Image files: the shorter side, before the centre is cut out for evaluation."""
    randaugment: int = 0
    """Image files: RandAugment's operations an image; 0 for none."""
    randaugment_magnitude: float = 9.0
    """RandAugment's strength, 0 to 10."""
    mixup: float = 0.0
    """Mixup's α, of Beta(α, α); 0 for none. With CutMix, one of the two by chance."""
    cutmix: float = 0.0
    """CutMix's α, of Beta(α, α); 0 for none."""
    on_bad_image: Literal["error", "skip"] = "error"
    """A bad file ends the run, or another takes its place (in evaluation: none)."""
    max_image_bytes: int = 64 << 20
    """Larger files are bad images."""
    max_image_pixels: int = 100_000_000
    """So are those whose header states more pixels."""


@dataclass(frozen=True)
class Optim(BaseOptim):
    """The optimiser and the loss of a classifier."""

    label_smoothing: float = 0.0


@dataclass(frozen=True)
class Config(BaseConfig):
    """An experiment with an image classifier."""

    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=Optim)
