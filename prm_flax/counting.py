"""Parameters, multiply-adds and the paper's counter of a network."""

import functools
import math
from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from prm_flax.attention import GE, SGE
from prm_flax.layers.basic import GlobalAveragePool, GlobalMaxPool, MaxPool, ReLU
from prm_flax.layers.norm import BatchNorm
from prm_flax.prm.linen import PRM


class Complexity(NamedTuple):
    """What a network costs.

    Attributes:
        parameters: trainable numbers (running statistics are not).
        counter: operations by the paper's "FLOPs" counter, for one image.
        macs: multiply-adds of convolutions and dense layers, for one image.
    """

    parameters: int
    counter: int
    macs: int


class Cost(NamedTuple):
    """One layer's share of `Complexity.counter` and of `Complexity.macs`."""

    counter: int
    macs: int = 0


def _convolution(layer: nn.Conv, x: int, y: tuple[int, ...], c: int) -> Cost:
    kernel = np.atleast_1d(layer.kernel_size).tolist()
    window = math.prod(kernel) * c // layer.feature_group_count
    outputs = math.prod(y)
    return Cost(outputs * (window + layer.use_bias), outputs * window)


def _dense(layer: nn.Dense, x: int, y: tuple[int, ...], c: int) -> Cost:
    return Cost(math.prod(y) * c, math.prod(y) * c)


def _dense_of_axes(layer: nn.DenseGeneral, x: int, y: tuple[int, ...], c: int) -> Cost:
    """Each feature is a sum over all of the input that belongs to it."""
    return Cost(x * y[-1], x * y[-1])


# Layer -> its cost from itself, the elements of its input, the shape of its output
# (without batch) and its input's channels. The rule of the paper's counter: batch norm
# 2 operations an element, ReLU one, pooling layers their INPUT elements, GE and SGE as
# the pooling in them, PRM (C + g)·HW (its pooling and its normalised scores); what is
# not listed is free.
COSTS: MappingProxyType[type, Callable[..., Cost]] = MappingProxyType(
    {
        nn.Conv: _convolution,
        nn.Dense: _dense,
        nn.DenseGeneral: _dense_of_axes,
        BatchNorm: lambda layer, x, y, c: Cost(2 * x),
        ReLU: lambda layer, x, y, c: Cost(x),
        MaxPool: lambda layer, x, y, c: Cost(x),
        GlobalAveragePool: lambda layer, x, y, c: Cost(x),
        GlobalMaxPool: lambda layer, x, y, c: Cost(x),
        GE: lambda layer, x, y, c: Cost(x),
        SGE: lambda layer, x, y, c: Cost(x),
        PRM: lambda layer, x, y, c: Cost(x + x // c * layer.groups),
    }
)


def complexity(model: nn.Module, size: tuple[int, ...]) -> Complexity:
    """Counts a network's parameters and operations for one image; computes nothing.

    The paper's counter: convolutions k²·Cin·Cout/groups·H·W, plus Cout·H·W with a
    bias; dense layers in·out; batch norm 2·elements; ReLU its elements; pooling layers
    their input's elements; GE and SGE C·H·W; PRM (C + g)·H·W; nothing else (the other
    modules cost what their layers do). It reproduces every row of the paper's Table 1.

    Args:
        model: a Linen module that maps images (b, h, w, c) to anything. If it has a
            method `counted`, that is counted (a Cascade R-CNN's has 1000 proposals).
        size: (h, w), of three channels, or (h, w, c) of the image.

    Returns:
        The three integers.

    Raises:
        ValueError: size is not two or three positive integers.

    Example:
        >>> from prm_flax import complexity, create_model
        >>> complexity(create_model("prm_resnet50"), (224, 224))
        Complexity(parameters=25561176, counter=4128330944, macs=4089184256)
    """
    if len(size) not in (2, 3) or min(size) < 1:
        raise ValueError(f"size must be (h, w) or (h, w, c), positive; got {size}.")
    shape = (1, *size) if len(size) == 3 else (1, *size, 3)
    costs: list[Cost] = []

    def record(call, args, kwargs, context):
        y = call(*args, **kwargs)
        rule = COSTS.get(type(context.module))
        if rule is not None and context.method_name == "__call__":
            x = args[0]
            costs.append(rule(context.module, x.size, y.shape[1:], x.shape[-1]))
        return y

    with nn.intercept_methods(record):
        image = jax.ShapeDtypeStruct(shape, jnp.float32)
        variables = jax.eval_shape(
            functools.partial(model.init, method=_counted(model)),
            jax.random.key(0),
            image,
        )
    leaves = jax.tree.leaves(variables.get("params", {}))
    return Complexity(
        parameters=sum(math.prod(leaf.shape) for leaf in leaves),
        counter=sum(cost.counter for cost in costs),
        macs=sum(cost.macs for cost in costs),
    )


def _counted(model: nn.Module) -> str:
    return "counted" if hasattr(model, "counted") else "__call__"
