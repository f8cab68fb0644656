"""One training of a study: a config file and what it changes in it."""

import dataclasses
import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from train.config import Config

# Options by dotted name, as in a run's config.json: {"model.groups": 4}.
Changes = Mapping[str, Any]
NONE: Changes = MappingProxyType({})


class Case(NamedTuple):
    """What one row of a study's table trains.

    Attributes:
        name: of the row and of the runs' folders.
        family: the question that the row belongs to.
        config: the config file, from the root of the checkout.
        changes: of its options.
        initial_values: PRM's parameters that start at other numbers: {"lam": 1.0}.
    """

    name: str
    family: str
    config: str
    changes: Changes = NONE
    initial_values: Mapping[str, float] = NONE


def flags(changes: Changes) -> list[str]:
    """The words of the command line that make these changes.

    Example:
        >>> flags({"model.groups": 4, "optim.no_decay": ("norms", "biases")})
        ['--model.groups', '4', '--optim.no-decay', 'norms', 'biases']
    """
    words = []
    for name, value in changes.items():
        values = value if isinstance(value, tuple) else (value,)
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return words


def config_of(case: Case, more: Changes = NONE) -> Config:
    """The config that a case's command line gives.

    Args:
        case: of a study.
        more: further changes, such as the seed.
    """
    module = case.config.removesuffix(".py").replace("/", ".")
    config = importlib.import_module(module).config()
    for name, value in {**case.changes, **more}.items():
        config = _replaced(config, name.split("."), value)
    return config


def _replaced(options: Any, path: list[str], value: Any) -> Any:
    first, *rest = path
    inner = _replaced(getattr(options, first), rest, value) if rest else value
    return dataclasses.replace(options, **{first: inner})
