"""What a safetensors file says of its model: format, version, name, options as JSON."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from prm_flax.backbones.registry import create_model

FORMAT, VERSION = "prm_flax", "1"

DTYPES = MappingProxyType(
    {
        "float64": jnp.float64,
        "float32": jnp.float32,
        "float16": jnp.float16,
        "bfloat16": jnp.bfloat16,
    }
)


def describe(model_name: str, options: Mapping[str, Any]) -> dict[str, str]:
    """The metadata of a model.

    Args:
        model_name: as for `create_model`.
        options: its keywords.

    Raises:
        ValueError: an option is no text, number, None or dtype.

    Example:
        >>> describe("resnet14", {"dtype": jnp.bfloat16})["options"]
        '{"dtype": {"dtype": "bfloat16"}}'
    """
    stored = {name: _to_json(name, value) for name, value in options.items()}
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "model": model_name,
        "options": json.dumps(stored),
    }


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
    return create_model(name, **options)


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
