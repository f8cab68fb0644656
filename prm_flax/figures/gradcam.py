"""Grad-CAM: where in each stage's output the evidence for a class lies."""

from collections import OrderedDict
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from prm_flax.figures.watch import check_images


class GradCAM(NamedTuple):
    """The classes that were asked for, and the maps.

    Attributes:
        classes: (b,) the class of each image.
        logits: (b, k) the network's.
        maps: stage -> (b, h', w'), not negative, on the stage's own map.
    """

    classes: np.ndarray
    logits: np.ndarray
    maps: dict[str, np.ndarray]


def grad_cam(
    model: nn.Module, variables, images, classes: ArrayLike | None = None
) -> GradCAM:
    """Grad-CAM at the output of every stage.

    With a stage's output A (h', w', channels) and the logit of one class::

        map = relu(Σ_k w_k A_k),   w_k = mean over the positions of ∂logit/∂A_k

    Args:
        model: a network of the registry, with or without PRM: it gives logits, and
            its features with `features_only`. Each feature is what one module returns.
        variables: its parameters and batch statistics.
        images: (b, h, w, c) what the network takes, normalised.
        classes: one class, or one an image; None takes each image's largest logit.

    Returns:
        Classes, logits and the maps by stage, in the order of `feature_info`.
        `maps.in_unit_range(maps.enlarged(map, size))` is what is usually drawn.

    Raises:
        ValueError: images is not (b, h, w, c), a class is none of the network's, or
            the network cannot give both logits and features.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax import create_model
        >>> from prm_flax.figures.maps import grad_cam
        >>> model = create_model("resnet14", num_classes=10)
        >>> images = jnp.ones((2, 32, 32, 3))
        >>> variables = model.init(jax.random.key(0), images)
        >>> {s: m.shape for s, m in grad_cam(model, variables, images, 3).maps.items()}
        {'stage1': (2, 32, 32), 'stage2': (2, 16, 16), 'stage3': (2, 8, 8)}

    Reference: Selvaraju et al., ICCV 2017, section 3.
    """
    check_images(images)
    model = _plain(model)
    if classes is not None:
        classes = _checked(model, variables, images, classes)
    return GradCAM(*jax.tree.map(np.asarray, _run(model, variables, images, classes)))


def _plain(model: nn.Module) -> nn.Module:
    if getattr(model, "features_only", True):
        raise ValueError(
            f"Grad-CAM needs logits, and features_only=True to find the stages; got "
            f"{type(model).__name__}. Take a network of create_model, built without "
            "features_only."
        )
    # Under remat, what a block returns belongs to another trace.
    return model.clone(remat=False) if getattr(model, "remat", False) else model


def _checked(model, variables, images, classes: ArrayLike) -> np.ndarray:
    b, k = jax.eval_shape(model.apply, variables, images).shape
    given = np.asarray(classes)
    fits = given.shape in ((), (b,)) and np.issubdtype(given.dtype, np.integer)
    if not (fits and np.all((given >= 0) & (given < k))):
        raise ValueError(
            f"classes must be one integer from 0 to {k - 1}, or {b} of them, one an "
            f"image; got {classes!r}."
        )
    return np.broadcast_to(given, b).astype(np.int32)


@partial(jax.jit, static_argnums=0)
def _run(model, variables, images, classes):
    features, paths = _stages(model, variables, images)
    # Adding zeros to a stage's output: the gradient by them is that by the output.
    zeros = OrderedDict((s, jnp.zeros(a.shape, a.dtype)) for s, a in features.items())
    call = partial(_with_offsets, model, paths, variables, images)
    logits, back, outputs = jax.vjp(call, zeros, has_aux=True)
    if classes is None:
        classes = logits.argmax(-1)
    (slopes,) = back(jax.nn.one_hot(classes, logits.shape[-1], dtype=logits.dtype))
    maps = OrderedDict((s, _map(outputs[s], slopes[s])) for s in zeros)
    return classes, logits, maps


def _map(output, slope):
    wide = jnp.promote_types(output.dtype, jnp.float32)
    weights = slope.astype(wide).mean((1, 2), keepdims=True)
    return jax.nn.relu((weights * output.astype(wide)).sum(-1))


def _stages(model, variables, images):
    """Abstract features by stage, and path -> stage of the modules that return them."""
    # Keyed by the arrays' ids; they are kept, so that no two have one id.
    returned = {}

    def note(call, args, kwargs, context):
        result = call(*args, **kwargs)
        returned[id(result)] = context.module.path, result
        return result

    def run():
        features = model.clone(features_only=True).apply(variables, images)
        for stage, feature in features.items():
            if id(feature) not in returned:
                raise ValueError(
                    f"{stage} of {type(model).__name__} must be what a module returns, "
                    "for Grad-CAM to find it; it was computed from that."
                )
            paths[returned[id(feature)][0]] = stage
        return OrderedDict(features)

    paths = {}
    with nn.intercept_methods(note):
        return jax.eval_shape(run), paths


def _with_offsets(model, paths, variables, images, offsets):
    outputs = {}

    def add(call, args, kwargs, context):
        result = call(*args, **kwargs)
        stage = paths.get(context.module.path)
        if stage is None or context.method_name != "__call__":
            return result
        outputs[stage] = result
        return result + offsets[stage]

    with nn.intercept_methods(add):
        return model.apply(variables, images), outputs
