"""What the prefix of a model's name puts into a network, in a table."""

import dataclasses
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from prm_flax.attention import CBAM, GC, GE, SE
from prm_flax.attention.common import check_positive
from prm_flax.backbones.networks import Architecture
from prm_flax.backbones.slot import PRMFactory, SameModule, SGEFactory
from prm_flax.prm.checks import check_kernel, check_options

Options = dict[str, Any]
PRM_OPTIONS = ("groups", "similarity", "ddof", "position", "normalize", "kernel")


class Prefix(NamedTuple):
    """A module that a prefix of a model's name puts into a network.

    Attributes:
        fill: takes the module's options out of all options, and makes what goes in the
            network's field.
        options: the options of `create_model` that are the module's.
        field: of the network; a network without it has no place for the module.
    """

    fill: Callable[[Architecture, Options], Any]
    options: tuple[str, ...] = ()
    field: str = "recalibration"

    def fits(self, network: Architecture) -> bool:
        """Whether the network has a place for the module."""
        return self.field in {f.name for f in dataclasses.fields(network.family)}


def _types(options: Options) -> Options:
    return {
        "dtype": options.get("dtype"),
        "param_dtype": options.get("param_dtype", jnp.float32),
    }


def _prm(network: Architecture, options: Options) -> PRMFactory:
    given = {name: options.pop(name) for name in PRM_OPTIONS if name in options}
    factory = PRMFactory(**{"groups": network.groups} | given, **_types(options))
    check_options(factory.groups, factory.similarity, factory.ddof)
    check_kernel(factory.kernel)
    return factory


def _sge(network: Architecture, options: Options) -> SGEFactory:
    groups = options.pop("groups", network.groups)
    check_positive(groups=groups)
    return SGEFactory(groups, **_types(options))


# Options of the network that are its modules' too, where they have them. CBAM's own
# momentum stays: it is part of the module's definition.
_SHARED = ("dtype", "param_dtype", "batch_norm", "bn_epsilon")


def _same(
    module: type[nn.Module], network: Architecture, options: Options
) -> SameModule:
    fields = {field.name for field in dataclasses.fields(module)}
    shared = {n: options[n] for n in _SHARED if n in fields and n in options}
    return SameModule(module(**shared, parent=None))


# The prefix is also the module's name in the parameters, but for SK's: its layers are
# the block's own.
PREFIXES: MappingProxyType[str, Prefix] = MappingProxyType(
    {
        "prm": Prefix(_prm, PRM_OPTIONS),
        "se": Prefix(partial(_same, SE)),
        "ge": Prefix(partial(_same, GE)),
        "cbam": Prefix(partial(_same, CBAM)),
        "sk": Prefix(lambda network, options: True, field="selective"),
        "gc": Prefix(partial(_same, GC)),
        "sge": Prefix(_sge, ("groups",)),
    }
)
