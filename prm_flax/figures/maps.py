"""What a network looks at, as arrays; nothing here draws.

Query points and position masks of PRMs are here, Grad-CAM and contribution rates are
handed on from their own files.
"""

import flax.linen as nn
import numpy as np

from prm_flax.figures.enlarge import enlarged as enlarged
from prm_flax.figures.enlarge import in_unit_range as in_unit_range
from prm_flax.figures.gradcam import GradCAM as GradCAM
from prm_flax.figures.gradcam import grad_cam as grad_cam
from prm_flax.figures.rates import contribution_rates as contribution_rates
from prm_flax.figures.watch import Size, Sown, last_of_stages, watch
from prm_flax.figures.watch import has_prm as has_prm


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
    sown = watch(model, variables, images)
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
    size = images.shape[1:3]
    last = last_of_stages(model, watch(model, variables, images), size)
    return {name: _pixels(each, size) for name, each in last.items()}


def positional_masks(model: nn.Module, variables, images) -> dict[str, np.ndarray]:
    """The position encoding of every PRM, averaged over its groups (Figure 5).

    With D of eq. 5, which depends on each group's query position::

        mask_i = 1/g Σ_k D_i^k

    Args:
        model: a network with at least one `PRM`.
        variables: its parameters and batch statistics.
        images: (b, h, w, c) what the network takes, normalised.

    Returns:
        The PRM's path such as "layer1_0/prm" -> (b, h', w') on the PRM's own map, in
        the order of the computation; `enlarged` brings it to the image's size.

    Raises:
        ValueError: the network has no PRM, or images is not (b, h, w, c).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax import PRM
        >>> from prm_flax.figures.maps import positional_masks
        >>> image = jnp.zeros((1, 4, 4, 2)).at[0, 1, 2].set(1.0)
        >>> prm = PRM(groups=2)
        >>> mask = positional_masks(prm, prm.init(jax.random.key(0), image), image)
        >>> mask["prm"].shape, int(mask["prm"].argmax())
        ((1, 4, 4), 6)

    Reference: Ma & Fu, IJCAI 2020, section 4.4.
    """
    sown = watch(model, variables, images)
    return {name: each.mask for name, each in sown.items()}


def stage_masks(model: nn.Module, variables, images) -> dict[str, np.ndarray]:
    """The position masks of the last PRM of each stage.

    Args:
        model: a network with at least one `PRM`.
        variables: its parameters and batch statistics.
        images: (b, h, w, c) what the network takes, normalised.

    Returns:
        The stage's name, see `stage_queries` -> (b, h', w'), see `positional_masks`.

    Raises:
        ValueError: the network has no PRM, or images is not (b, h, w, c).
    """
    sown = watch(model, variables, images)
    last = last_of_stages(model, sown, images.shape[1:3])
    return {name: each.mask for name, each in last.items()}


def _pixels(sown: Sown, image_size: Size) -> np.ndarray:
    scale = np.divide(image_size, sown.size)
    return (sown.query + 0.5) * scale - 0.5
