"""Which modules consume the output of which, found by following the arrays."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from prm_flax.interop.shapes import LeafPath
from prm_flax.layers.device import portable

Kind = TypeVar("Kind", bound=nn.Module)


def consumers(
    model: nn.Module,
    variables: Mapping[str, Any],
    image_shape: tuple[int, int, int],
    gives: Callable[[nn.Module], bool],
    kind: type[Kind],
) -> list[tuple[LeafPath, Kind]]:
    """The modules of a kind whose input is just what another module returned.

    Args:
        model: a network.
        variables: its arrays, or abstract ones: nothing is computed.
        image_shape: (h, w, c) of an image it takes.
        gives: whether a module is one whose output is followed.
        kind: of the modules that take it.

    Returns:
        The path of the giving module and the taking one, in the order of the network.

    Example:
        >>> import flax.linen as nn
        >>> from prm_flax.layers.norm import BatchNorm
        >>> from prm_flax.interop.shapes import make_template, unflatten
        >>> from prm_flax import create_model
        >>> model = create_model("resnet14", stem="3x3")
        >>> variables = unflatten(make_template(model).shapes)
        >>> def is_conv(module):
        ...     return isinstance(module, nn.Conv)
        >>> found = consumers(model, variables, (32, 32, 3), is_conv, BatchNorm)
        >>> found[0][0], found[0][1].path
        (('conv1',), ('bn1',))
    """
    found: list[tuple[LeafPath, Kind]] = []
    # The arrays are kept, so that no two have one id.
    outputs: dict[int, tuple[LeafPath, jax.Array]] = {}

    def watch(call, args, kwargs, context):
        module = context.module
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        if isinstance(module, kind) and id(args[0]) in outputs:
            found.append((outputs[id(args[0])][0], module))
        result = call(*args, **kwargs)
        if gives(module):
            outputs[id(result)] = module.path, result
        return result

    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    with portable(), nn.intercept_methods(watch):
        jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, image)
    return found
