"""How far training moved PRM's parameters from their initial values."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from benchmarks.markdown import filled, grid
from prm_flax.figures.weights import read_weights
from prm_flax.printable import markdown
from prm_flax.prm.functional import PRMParams
from prm_flax.runs import read_config
from studies.intervals import signed
from studies.probabilities import config_of, single_process
from train.initialization import first_state, read_init
from train.workdir.trained import experiment_of_run

LEAVES = PRMParams._fields
NOTE = (
    "Mean of a parameter at the end, and in brackets the root of its mean squared "
    "distance from where it started."
)


def drift(folder: Path) -> dict[str, dict[str, tuple[float, float]]]:
    """PRM's path -> parameter -> its mean at the end, and how far it moved.

    Args:
        folder: of a finished run.

    Returns:
        The distance is the root of the mean square over the parameter's numbers.

    Raises:
        ValueError: the folder is not that of a finished run of a network with PRM.
    """
    weights = read_weights(folder)
    last = dict(_leaves(weights.variables["params"]))
    if not last:
        raise ValueError(
            f"{folder} must be the run of a network with PRM, got "
            f"{weights.model.__class__.__name__} without one: take a run of a prm_ "
            "network."
        )
    experiment = experiment_of_run(
        single_process(config_of(read_config(folder)), folder)
    )
    state = first_state(experiment, read_init(experiment))
    first = dict(_leaves(jax.device_get(state.params)))
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for (*place, name), value in last.items():
        far = np.asarray(value, np.float64) - first[(*place, name)]
        numbers = float(np.mean(value)), float(np.sqrt(np.mean(far**2)))
        found.setdefault("/".join(place), {})[name] = numbers
    return found


def _leaves(params: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Path and array of each parameter of a PRM."""
    for path, leaf in flatten_dict(dict(params)).items():
        if "prm" in path:
            yield path, leaf


def markdown_table(runs: Sequence[Path]) -> str:
    """A Markdown table: a line for each PRM of each run.

    Args:
        runs: folders, as for `drift`.
    """
    lines = [
        [markdown(run.name), place, *(_cell(*numbers[name]) for name in LEAVES)]
        for run in runs
        for place, numbers in drift(run).items()
    ]
    return f"{grid(['run', 'PRM', *LEAVES], lines)}\n\n{filled(NOTE)}"


def _cell(mean: float, far: float) -> str:
    return f"{signed(mean)} ({far:.2f})"
