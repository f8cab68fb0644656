"""Writes a network's first weights, some of PRM's parameters set to other numbers."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from prm_flax.interop import safetensors
from studies.case import Case, config_of
from train.experiment import build


def with_initial_values(
    variables: Mapping[str, Any], values: Mapping[str, float]
) -> dict[str, Any]:
    """The variables with some of every PRM's parameters at other numbers.

    Args:
        variables: of a network with PRM.
        values: name of a parameter -> the first value of each of its numbers.

    Raises:
        ValueError: no PRM has such a parameter.
    """
    found = set()

    def leaf(path, value):
        *_, module, name = (key.key for key in path)
        if module != "prm" or name not in values:
            return value
        found.add(name)
        return jnp.full_like(value, values[name])

    changed = jax.tree_util.tree_map_with_path(leaf, dict(variables))
    if found != set(values):
        raise ValueError(
            "initial values must name parameters of PRM: none has "
            f"{set(values) - found}."
        )
    return changed


def write(case: Case, seed: int, file: Path) -> None:
    """Writes what `python -m train fit` starts from, but for the case's values."""
    experiment = build(config_of(case, {"seed": seed}))
    variables = jax.device_get(experiment.init().variables)
    task: Any = experiment.task
    network = task.network(
        variables=with_initial_values(variables, case.initial_values)
    )
    safetensors.save(file, network.name, network.options, network.variables)


def main(case: str, seed: str, file: str) -> None:
    """As words of the command line, the case as JSON."""
    fields = json.loads(case)
    lists = {k: tuple(v) for k, v in fields["changes"].items() if isinstance(v, list)}
    write(
        Case(**fields | {"changes": fields["changes"] | lists}), int(seed), Path(file)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
