"""What the PRMs of a network looked at, as arrays; nothing here draws."""

from collections import OrderedDict
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict

from prm_flax.prm.functional import PRMMaps


class _Sown(NamedTuple):
    """One PRM's query positions on its map, and the map's height and width."""

    query: np.ndarray
    size: tuple[int, int]


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


def queries(model: nn.Module, variables, images) -> dict[str, np.ndarray]:
    """The query points of every PRM in a network, in pixels of its input.

    A position covers image size / map size pixels; the point is the middle of them,
    so that map position p lies at (p + ½) · (image size / map size) - ½.

    Args:
        model: a network with at least one `PRM`.
        variables: its parameters and batch statistics.
        images: (b, h, w, c) what the network takes, normalised.

    Returns:
        The PRM's path such as "layer1_0/prm" -> (b, g, 2) float64 row and column, in
        the order of the computation.

    Raises:
        ValueError: the network has no PRM, or images is not (b, h, w, c).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax import PRM
        >>> from prm_flax.figures.maps import queries
        >>> image = jnp.zeros((1, 4, 4, 2)).at[0, 1, 2].set(1.0)
        >>> prm = PRM(groups=1)
        >>> variables = prm.init(jax.random.key(0), image)
        >>> queries(prm, variables, image)["prm"].tolist()
        [[[1.0, 2.0]]]
    """
    sown = _sown(model, variables, images)
    return {name: _pixels(each, images.shape[1:3]) for name, each in sown.items()}


def stage_queries(model: nn.Module, variables, images) -> dict[str, np.ndarray]:
    """The query points of the last PRM of each stage, see `queries`.

    A stage is here all that works on maps of one size, and bears the name that the
    network's `feature_info` gives the last feature of this size. Without one, or for
    a size that it does not list, the key is the PRM's path.

    Args:
        model: a network with at least one `PRM`.
        variables: its parameters and batch statistics.
        images: (b, h, w, c) what the network takes, normalised.

    Returns:
        The stage's name such as "stage1" -> (b, g, 2) float64 row and column, in the
        order of the computation.

    Raises:
        ValueError: the network has no PRM, or images is not (b, h, w, c).
    """
    height, width = images.shape[1:3]
    names = {
        (-(-height // stride), -(-width // stride)): name
        for name, _, stride in getattr(model, "feature_info", ())
    }
    last = {
        each.size: (names.get(each.size, path), each)
        for path, each in _sown(model, variables, images).items()
    }
    return {name: _pixels(each, (height, width)) for name, each in last.values()}


def _pixels(sown: _Sown, image_size: tuple[int, int]) -> np.ndarray:
    scale = np.divide(image_size, sown.size)
    return (sown.query + 0.5) * scale - 0.5


def _sown(model: nn.Module, variables, images) -> dict[str, _Sown]:
    if np.ndim(images) != 4:
        raise ValueError(
            f"images must have axes (batch, height, width, channels), got shape "
            f"{np.shape(images)}; a single image is images[None]."
        )
    found = _query(model, variables, images)
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no PRM, so no query points: take a network "
            "with the prefix prm_, such as create_model('prm_resnet14')."
        )
    return {
        name: _Sown(np.asarray(query), tuple(np.asarray(size).tolist()))
        for name, (query, size) in found.items()
    }


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
            found[key] = (each.query, np.array(each.gate.shape[-3:-1]))
    return found


_query = jax.jit(_watched, static_argnums=0)
