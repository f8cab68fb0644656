"""Writes the weights that a case of a study starts from: `studies.starts` of a run."""

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


def started(variables: Mapping[str, Any], start: Mapping[str, float]) -> dict[str, Any]:
    """The variables with some of every PRM's parameters at other numbers.

    Args:
        variables: of a network with PRM.
        start: name of a parameter -> where each of its numbers starts.

    Raises:
        ValueError: no PRM has such a parameter.
    """
    found = set()

    def leaf(path, value):
        *_, module, name = (key.key for key in path)
        if module != "prm" or name not in start:
            return value
        found.add(name)
        return jnp.full_like(value, start[name])

    changed = jax.tree_util.tree_map_with_path(leaf, dict(variables))
    if found != set(start):
        raise ValueError(
            f"a start must name parameters of PRM: none has {set(start) - found}."
        )
    return changed


def write(case: Case, seed: int, file: Path) -> None:
    """The weights of `python -m train fit` with this seed, but for the case's start."""
    experiment = build(config_of(case, {"seed": seed}))
    variables = jax.device_get(experiment.init().variables)
    task: Any = experiment.task
    network = task.network(variables=started(variables, case.start))
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
