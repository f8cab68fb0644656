"""This project's numbers for a row, written as the paper writes its own."""

import functools
import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from prm_flax.backbones.registry import create_model
from prm_flax.counting import Complexity, complexity
from prm_flax.detection import create_detector, trainable
from prm_flax.interop.shapes import make_template, unflatten
from prm_flax.paper.form import Row
from prm_flax.runs import PRECISIONS

SIZE = (224, 224)


class Kind(NamedTuple):
    """What networks a table has.

    Attributes:
        create: a network by its name.
        size: height and width of the image that they are counted for.
        trained: how many parameters are; None for all.
        what: is counted, in a sentence.
    """

    create: Callable[..., nn.Module]
    size: tuple[int, int]
    trained: Callable[[nn.Module], int] | None
    what: str


def _trained(detector: nn.Module) -> int:
    shapes = make_template(detector).shapes
    params = unflatten(shapes)["params"]
    sizes = jax.tree.map(
        lambda leaf, trains: trains * math.prod(leaf.shape),
        params,
        trainable(detector, params),
    )
    return sum(jax.tree.leaves(sizes))


KINDS: MappingProxyType[str, Kind] = MappingProxyType(
    {
        "classifier": Kind(
            create_model,
            SIZE,
            None,
            "Parameters and FLOPs (the paper's counter) are counted on the spot, for "
            "an image of 224×224 and 1000 classes.",
        ),
        "detector": Kind(
            create_detector,
            (800, 1280),
            _trained,
            "Parameters (those that are trained: all but the stem's and stage 1's, its "
            "attention modules included) and GMac (the paper's counter) are counted on "
            "the spot, for an image of 1280×800, 80 classes and, with Cascade R-CNN, "
            "1000 proposals.",
        ),
    }
)


class Measure(NamedTuple):
    """A number that this project has for a network.

    Attributes:
        title: of its column.
        decimals: where the paper prints none to be followed.
        scale: what the exact number is divided by.
        of: exact number out of the counts; None where a run says it.
    """

    title: str
    decimals: int
    scale: int = 1
    of: Callable[[Complexity], int] | None = None


MEASURES: MappingProxyType[str, Measure] = MappingProxyType(
    {
        "top1": Measure("top-1", 4),
        "top5": Measure("top-5", 4),
        **{name: Measure(name, 1) for name in PRECISIONS},
        "counter": Measure("FLOPs (G)", 3, 10**9, lambda counts: counts.counter),
        "parameters": Measure("Parameters (M)", 3, 10**6, lambda c: c.parameters),
    }
)
COUNTED = tuple(name for name, measure in MEASURES.items() if measure.of)


def network(row: Row) -> nn.Module:
    """The network of a row."""
    return KINDS[row.kind].create(row.model, **row.options)


def whole(row: Row) -> int:
    """All parameters of the network of a row, trained or not."""
    return _complexity(
        row.kind, row.model, tuple(sorted(row.options.items()))
    ).parameters


def counts(row: Row) -> Complexity:
    """What the network of a row costs for an image; nothing is computed.

    Parameters are those that are trained.
    """
    return _counts(row.kind, row.model, tuple(sorted(row.options.items())))


@functools.cache
def _complexity(
    kind: str, model: str, options: tuple[tuple[str, Any], ...]
) -> Complexity:
    form = KINDS[kind]
    return complexity(form.create(model, **dict(options)), form.size)


@functools.cache
def _counts(kind: str, model: str, options: tuple[tuple[str, Any], ...]) -> Complexity:
    form, found = KINDS[kind], _complexity(kind, model, options)
    if form.trained is None:
        return found
    trained = form.trained(form.create(model, **dict(options)))
    return found._replace(parameters=trained)


def written(name: str, exact: float, printed: str = "") -> str:
    """An exact number with as many decimals as the printed one, and its unit.

    Args:
        name: of `MEASURES`.
        exact: the number before it is scaled.
        printed: as in the paper; "" where it has none.

    Example:
        >>> written("parameters", 25561176, "25.560"), written("counter", 4e9, "4.122G")
        ('25.561', '4.000G')
    """
    number, unit = parted(printed)
    measure = MEASURES[name]
    decimals = len(number.partition(".")[2]) if number else measure.decimals
    return f"{exact / measure.scale:.{decimals}f}{unit}"


def parted(printed: str) -> tuple[str, str]:
    """A printed number without the unit behind it, and the unit.

    Example:
        >>> parted("4.122G"), parted("4.122")
        (('4.122', 'G'), ('4.122', ''))
    """
    number = printed.rstrip("GM")
    return number, printed[len(number) :]
