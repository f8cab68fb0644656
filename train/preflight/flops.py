"""Floating-point operations of a traced program: convolutions and products alone."""

import math
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr


def flops(jaxpr: Jaxpr) -> int:
    """Operations of a program, a multiplication and an addition counted as two.

    Counted are convolutions and matrix products, which run at a chip's peak rate; all
    else is limited by the memory. A product with padding or with the zeros that a
    strided convolution's gradient puts between its elements is not counted. Loops
    count as often as they run, of branches the largest.
    """
    return sum(_flops_of(equation) for equation in jaxpr.eqns)


def _flops_of(equation: Any) -> int:
    name = equation.primitive.name
    if name in PRODUCTS:
        shapes = [v.aval.shape for v in (*equation.invars, *equation.outvars)]
        return PRODUCTS[name](equation.params, *shapes)
    inner = [flops(jaxpr) for jaxpr in _jaxprs(equation.params)]
    if name == "cond":
        return max(inner)
    return RUNS.get(name, _once)(equation.params) * sum(inner)


def _jaxprs(params: dict[str, Any]) -> Iterator[Jaxpr]:
    for value in params.values():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, Jaxpr):
                yield item


def _once(params: dict[str, Any]) -> int:
    return 1


# Primitive -> how often the program inside it runs.
RUNS: MappingProxyType[str, Callable[[dict[str, Any]], int]] = MappingProxyType(
    {
        "scan": lambda params: params["length"],
        "shard_map": lambda params: params["mesh"].size,
        "pallas_call": lambda params: math.prod(params["grid_mapping"].grid),
    }
)


def _product(params: dict[str, Any], x, y, z) -> int:
    (contracted, _), _ = params["dimension_numbers"]
    return 2 * math.prod(z) * math.prod(x[axis] for axis in contracted)


def _convolution(params: dict[str, Any], x, kernel, y) -> int:
    """Pairs of an input and an output position, times features and images."""
    numbers = params["dimension_numbers"]
    pairs = 1
    for axis in range(len(x) - 2):
        pairs *= _pairs(
            x[numbers.lhs_spec[2 + axis]],
            kernel[numbers.rhs_spec[2 + axis]],
            y[numbers.out_spec[2 + axis]],
            params["window_strides"][axis],
            params["padding"][axis][0],
            params["lhs_dilation"][axis],
            params["rhs_dilation"][axis],
        )
    images = x[numbers.lhs_spec[0]] // params["batch_group_count"]
    features = kernel[numbers.rhs_spec[0]] * kernel[numbers.rhs_spec[1]]
    return 2 * images * features * pairs


def _pairs(x, kernel, y, stride: int, before: int, spread: int, reach: int) -> int:
    """Products along one axis: neither with padding nor with a gap of the input."""
    starts = np.arange(y)[:, None] * stride - before
    places = starts + np.arange(kernel) * reach
    inside = (places >= 0) & (places <= (x - 1) * spread)
    return int((inside & (places % spread == 0)).sum())


PRODUCTS: MappingProxyType[str, Callable[..., int]] = MappingProxyType(
    {"dot_general": _product, "conv_general_dilated": _convolution}
)
