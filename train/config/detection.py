"""The options of an object detector."""

from dataclasses import dataclass, field
from typing import Literal

from train.config.base import BaseConfig, BaseData, BaseModel, BaseOptim


@dataclass(frozen=True)
class Detector(BaseModel):
    """A detector."""

    name: str = "retinanet_prm_resnet50"
    """One of prm_flax.detection.list_detectors()."""
    num_classes: int | None = None
    """None takes the data's number of classes, another number is refused."""
    frozen_stages: int = 1
    """Of the backbone, with the stem, that are not trained; 0 for none."""
    norms: Literal["running", "batch"] | None = None
    """Statistics of the backbone's batch norms in training: running, theirs; batch, for
    a backbone that starts from nothing. None: running."""
    stem: str | None = None
    """ResNets: imagenet, 3x3 or 3x3_stride2."""
    channels: int | None = None
    """RetinaNet: of the pyramid and the towers; None for 256."""
    depth: int | None = None
    """RetinaNet: convolutions of a tower; None for 4."""
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
    zero_init: bool = False
    """Start the last norm of each residual branch at scale 0."""
    remat: bool = False
    """Recompute the blocks in the backward pass: less memory, more time."""


@dataclass(frozen=True)
class DetectionData(BaseData):
    """Images and their boxes."""

    source: str = "coco"
    """coco (any set in COCO's format), voc (XML folders), yolo (txt folders),
    fashion_scenes (made of Fashion-MNIST's items, needs no file), trees (aerial
    photographs, which make trees fetches)."""
    train_json: str = "annotations/instances_train2017.json"
    """coco: the training annotations, below root."""
    test_json: str = "annotations/instances_val2017.json"
    """coco: the test annotations, below root."""
    train_images: str = "train2017"
    """coco: the folder of the training images, below root."""
    test_images: str = "val2017"
    """coco: the folder of the test images, below root."""
    train_list: str = "train"
    """voc, yolo: the split to train on: ImageSets/Main/NAME.txt, images/NAME."""
    test_list: str = "val"
    """voc, yolo: the split to test on."""
    mean: tuple[float, ...] = (123.675 / 255, 116.28 / 255, 103.53 / 255)
    """Subtracted from the pixels (in [0, 1]), one number or one a channel."""
    std: tuple[float, ...] = (58.395 / 255, 57.12 / 255, 57.375 / 255)
    """Divides the pixels after that."""
    size: tuple[int, int] = (800, 1333)
    """Images are enlarged or reduced, keeping their ratio, until the shorter side is
    the first of these or the longer side the second."""
    flip: bool = True
    """Mirror half of the training images."""
    least_size: int | None = None
    """Multi-scale training: the first of size is drawn between this and itself. Images
    are padded as if none were reduced, so that nothing more is compiled."""
    crop: float = 1.0
    """Training images are cut to windows, each side of at least this share; objects
    whose centre is in it are kept."""
    buckets: int = 4
    """Shapes that images are padded to, at most: more waste less, and compile more."""
    places: int | None = None
    """Boxes an image has room for; None takes 100, 300 or 1,000, as the data need."""
    crowd_share: float | None = None
    """Anchors that a crowd covers to more than this are ignored; None: background, as
    in the paper's detectors."""
    on_bad_image: Literal["error", "skip"] = "error"
    """A bad image or box ends the run, or is left out and counted."""
    max_image_bytes: int = 64 << 20
    """Larger files are bad images."""
    max_image_pixels: int = 100_000_000
    """So are those whose header states more pixels."""
    scene_side: int = 160
    """fashion_scenes: pixels of a side."""
    scene_count: tuple[int, int] = (4000, 400)
    """fashion_scenes: to train and to test on."""
    scene_items: tuple[int, int] = (2, 6)
    """fashion_scenes: items of a scene, least and most."""
    scene_fragments: int = 3
    """fashion_scenes: pieces of items that lie about and are no objects."""
    scene_scale: tuple[float, float] = (1.0, 2.5)
    """fashion_scenes: enlargement of an item of 28×28 pixels, least and most."""


@dataclass(frozen=True)
class DetectionOptim(BaseOptim):
    """The optimiser of a detector."""

    # The classifiers' and one more.
    schedule: Literal["step", "cosine", "milestones"] = "milestones"  # pyright: ignore
    """milestones: a tenth of it after each of milestones; step and cosine as for
    classifiers."""
    milestones: tuple[int, ...] = (16, 22)
    """Epochs after which the rate decays."""
    warmup_steps: int = 500
    """Of milestones: steps of linear growth from a thousandth of the peak."""


@dataclass(frozen=True)
class DetectionConfig(BaseConfig):
    """An experiment with an object detector."""

    model: Detector = field(default_factory=Detector)
    data: DetectionData = field(default_factory=DetectionData)
    optim: DetectionOptim = field(default_factory=DetectionOptim)
    epochs: int = 24
    batch_size: int = 16
    eval_batch_size: int = 16
