"""Runs a network once and keeps what its PRMs sow; which stage each belongs to."""

from collections import OrderedDict
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict

from prm_flax.prm.functional import PRMMaps

Size = tuple[int, int]


class Sown(NamedTuple):
    """What is kept of one PRM.

    Attributes:
        query: (b, g, 2) row and column on the PRM's map.
        mask: (b, h, w) mean of the position encoding D over the groups.
    """

    query: np.ndarray
    mask: np.ndarray

    @property
    def size(self) -> Size:
        """Height and width of the PRM's map."""
        height, width = self.mask.shape[-2:]
        return height, width


def has_prm(model: nn.Module, variables, images) -> bool:
    """Whether a network has a PRM, and so query points; nothing is computed.

    Args:
        model: a network.
        variables: its parameters and batch statistics.
        images: (b, h, w, c) what the network takes.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax import create_model
        >>> from prm_flax.figures.maps import has_prm
        >>> model, images = create_model("resnet14"), jnp.zeros((1, 32, 32, 3))
        >>> has_prm(model, model.init(jax.random.key(0), images), images)
        False
    """
    return bool(jax.eval_shape(partial(_watched, model), variables, images))


def watch(model: nn.Module, variables, images) -> dict[str, Sown]:
    """Path of every PRM -> what it sowed, in the order of the computation.

    Raises:
        ValueError: the network has no PRM, or images is not (b, h, w, c).
    """
    check_images(images)
    found = _run(model, variables, images)
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no PRM, so no query points: take a network "
            "with the prefix prm_, such as create_model('prm_resnet14')."
        )
    return {name: Sown(*map(np.asarray, each)) for name, each in found.items()}


def last_of_stages(model: nn.Module, sown: dict[str, Sown], image_size: Size):
    """Stage -> what its last PRM sowed, see `maps.stage_queries` for the names."""
    names = stages_by_size(model, image_size)
    last = {each.size: (names.get(each.size, p), each) for p, each in sown.items()}
    return dict(last.values())


def stages_by_size(model: nn.Module, image_size: Size) -> dict[Size, str]:
    """Size of a map -> the last stage of `feature_info` with this size."""
    return {
        _divided(image_size, stride): name
        for name, _, stride in getattr(model, "feature_info", ())
    }


def prm_stages(
    model: nn.Module, variables, image_shape: tuple[int, int, int]
) -> dict[str, str]:
    """Path of every PRM -> its stage, in the order of the network; computes nothing.

    Stages of one size, of which a map's size cannot say which it is, share a name such
    as "stage4–5". Without `feature_info`, the name is "".

    Args:
        model: a network.
        variables: its parameters and batch statistics.
        image_shape: (h, w, c) of an image it takes.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax import create_model
        >>> from prm_flax.figures.watch import prm_stages
        >>> model, images = create_model("prm_resnet14"), jnp.zeros((1, 32, 32, 3))
        >>> variables = model.init(jax.random.key(0), images)
        >>> prm_stages(model, variables, (32, 32, 3))["layer2_1/prm"]
        'stage2'
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), np.float32)
    found = jax.eval_shape(partial(_watched, model), variables, images)
    names: dict[Size, list[str]] = {}
    for name, _, stride in getattr(model, "feature_info", ()):
        names.setdefault(_divided(image_shape[:2], stride), []).append(name)
    return {
        path: _joined(names.get(mask.shape[1:], [""]))
        for path, (_, mask) in found.items()
    }


def _joined(names: list[str]) -> str:
    first, last = names[0], names[-1]
    return first if first == last else f"{first}–{last.removeprefix('stage')}"


def _divided(image_size: Size, stride: int) -> Size:
    height, width = image_size
    return -(-height // stride), -(-width // stride)


def check_images(images) -> None:
    """Raises ValueError unless images has four axes."""
    if np.ndim(images) != 4:
        raise ValueError(
            f"images must have axes (batch, height, width, channels), got shape "
            f"{np.shape(images)}; a single image is images[None]."
        )


# A jitted function returns a dict with its keys sorted (layer1_10 before layer1_2),
# an OrderedDict as it was filled, that is as the network ran.
def _watched(model, variables, images):
    _, state = model.apply(variables, images, mutable=["intermediates"])
    found = OrderedDict()
    sown: dict[tuple[str, ...], Any] = flatten_dict(state.get("intermediates", {}))
    for path, calls in sown.items():
        if path[-1] != "maps":
            continue
        name = "/".join(path[:-1]) or "prm"
        # A module that is called k times sows k times.
        maps = [call for call in calls if isinstance(call, PRMMaps)]
        for k, each in enumerate(maps):
            key = name if len(maps) == 1 else f"{name}[{k}]"
            found[key] = (each.query, each.position.mean(-1))
    return found


_run = jax.jit(_watched, static_argnums=0)
