"""What a safetensors file says of its model: format, version, name, options as JSON."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from prm_flax.backbones.registry import create_model
from prm_flax.detection.registry import create_detector, list_detectors

FORMAT, VERSION = "prm_flax", "1"

DTYPES = MappingProxyType(
    {
        "float64": jnp.float64,
        "float32": jnp.float32,
        "float16": jnp.float16,
        "bfloat16": jnp.bfloat16,
    }
)


class Preprocessing(NamedTuple):
    """How an image file becomes the network's input.

    Attributes:
        mean: subtracted from the pixels in [0, 1], one number or one a channel.
        std: what they are divided by after that.
        image_shape: (h, w, c) of the input.
        resize: the shorter side, before the centre is cut out; 0 squeezes the whole
            image into the input.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_shape: tuple[int, int, int]
    resize: int


class About(NamedTuple):
    """What a network's inputs and outputs mean.

    Attributes:
        class_names: in the order of the logits; () if they are not known.
        preprocessing: None if it is not known.
    """

    class_names: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None


UNKNOWN = About()


def describe(
    model_name: str, options: Mapping[str, Any], about: About = UNKNOWN
) -> dict[str, str]:
    """The metadata of a model.

    Args:
        model_name: as for `create_model`.
        options: its keywords.
        about: what its inputs and outputs mean.

    Raises:
        ValueError: an option is no text, number, None or dtype.

    Example:
        >>> describe("resnet14", {"dtype": jnp.bfloat16})["options"]
        '{"dtype": {"dtype": "bfloat16"}}'
    """
    stored = {name: _to_json(name, value) for name, value in options.items()}
    metadata = {
        "format": FORMAT,
        "format_version": VERSION,
        "model": model_name,
        "options": json.dumps(stored),
    }
    # Escaped: a name of a file may hold bytes that are no text.
    if about.class_names:
        metadata["class_names"] = json.dumps(about.class_names)
    if about.preprocessing is not None:
        metadata["preprocessing"] = json.dumps(about.preprocessing._asdict())
    return metadata


def read_about(metadata: Mapping[str, str], place: str) -> About:
    """What metadata say of inputs and outputs.

    Args:
        metadata: of a file.
        place: the file, as errors call it.

    Raises:
        ValueError: they are damaged.
    """
    try:
        names = tuple(json.loads(metadata.get("class_names", "[]")))
        if not all(type(name) is str for name in names):
            raise TypeError("a class name is no text")
        found = json.loads(metadata.get("preprocessing", "null"))
        return About(names, None if found is None else _preprocessing(**found))
    except (RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{place} has damaged metadata: {error!r}.") from error


def _preprocessing(mean, std, image_shape, resize) -> Preprocessing:
    height, width, channels = map(int, image_shape)
    return Preprocessing(
        tuple(map(float, mean)),
        tuple(map(float, std)),
        (height, width, channels),
        int(resize),
    )


def build(metadata: Mapping[str, str], place: str) -> nn.Module:
    """The model that metadata describe.

    Args:
        metadata: of a file.
        place: the file, as errors call it.

    Raises:
        ValueError: another format or version, or damaged; `create_model`'s own errors.
    """
    found = metadata.get("format"), metadata.get("format_version")
    if found != (FORMAT, VERSION):
        raise ValueError(
            f"{place} must have format {FORMAT!r} of version {VERSION!r} in its "
            f"metadata, found {found}. Was it written by this library, or a newer one?"
        )
    try:
        stored = json.loads(metadata["options"])
        options = {name: _from_json(value) for name, value in stored.items()}
        name = metadata["model"]
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{place} has damaged metadata: {error!r}.") from error
    return create(name, options)


def _to_json(name: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, type | np.dtype) and jnp.dtype(value).name in DTYPES:
        return {"dtype": jnp.dtype(value).name}
    raise ValueError(
        f"options must be text, numbers, None or dtypes to be stored, got {name}="
        f"{value!r}. Save such a model's weights with a name and options of the "
        "registry, or keep them in a checkpoint of your own."
    )


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        raise TypeError("no option is a list")
    return DTYPES[value["dtype"]] if isinstance(value, dict) else value


def create(name: str, options: Mapping[str, Any]) -> nn.Module:
    """The network of a name, by `create_detector` or by `create_model`."""
    make = create_detector if name in list_detectors() else create_model
    return make(name, **options)
