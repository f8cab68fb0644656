"""Runs that differ in the number of heads: what Figure 4 is drawn from."""

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from prm_flax.backbones.networks import NETWORKS
from prm_flax.figures.runs import Run

# Sources of data that are one data set each; of the others, data.root is the set.
NAMED: MappingProxyType[str, str] = MappingProxyType(
    {"fashion_mnist": "Fashion-MNIST", "imagenet2012": "ImageNet"}
)
# What may differ besides the heads: it decides how a run is made, not what it learns.
FREE = frozenset(
    {
        "data.prefetch",
        "data.root",
        "data.workers",
        "distributed",
        "eval_batch_size",
        "model.groups",
        "model.name",
        "model.remat",
        "name",
        "parallel",
        "profile",
        "seed",
        "workdir",
    }
)
FREE_PARTS = ("checkpoint.", "log.")


class HeadsRuns(NamedTuple):
    """Accuracies by the number of heads.

    Attributes:
        network: the plain network's name.
        dataset: what the accuracy is of.
        by_heads: g -> top-1 in percent of its runs; sorted by g.
        plain: the same of the runs without PRM; may be empty.
    """

    network: str
    dataset: str
    by_heads: dict[int, list[float]]
    plain: list[float]


def by_heads(runs: Sequence[Run]) -> HeadsRuns:
    """Sorts runs of one network, with PRM and without, by the number of heads.

    Args:
        runs: that differ in heads and seeds only.

    Raises:
        ValueError: no run has PRM, a run has another module, the runs are of several
            data sets or networks, or differ in more than heads and seed.
    """
    names = [_value(run, run.config, "model.name") for run in runs]
    for run, name in zip(runs, names, strict=True):
        if name.removeprefix("prm_") not in NETWORKS:
            raise ValueError(
                "The figure compares a network with PRM and without: "
                f"{run.folder} is of {name}. Leave it out."
            )
    dataset = _only("data set", runs, [_dataset(run) for run in runs])
    network = _only("network", runs, [name.removeprefix("prm_") for name in names])
    _require_alike(runs)
    heads: dict[int, list[float]] = {}
    plain: list[float] = []
    for run, name in zip(runs, names, strict=True):
        values = heads.setdefault(_groups(run), []) if name != network else plain
        values.append(float(_value(run, run.result, "test_top1")))
    if not heads:
        raise ValueError(
            f"At least one run must have PRM; all {len(runs)} are of {network}. Add "
            f"the folders of prm_{network}."
        )
    return HeadsRuns(network, dataset, dict(sorted(heads.items())), plain)


def _groups(run: Run) -> int:
    chosen = run.config.get("model.groups")
    plain = run.config["model.name"].removeprefix("prm_")
    return NETWORKS[plain].groups if chosen is None else int(chosen)


def _dataset(run: Run) -> str:
    source = _value(run, run.config, "data.source")
    root = run.config.get("data.root")
    return NAMED.get(source) or (f"{source} {Path(root).name}" if root else source)


def _only(what: str, runs: Sequence[Run], values: list[str]) -> str:
    first = values[0]
    for run, value in zip(runs, values, strict=True):
        if value != first:
            raise ValueError(
                f"All runs must be of one {what}: {runs[0].folder} is of {first}, "
                f"{run.folder} of {value}. Draw them apart."
            )
    return first


def _require_alike(runs: Sequence[Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        # A newer version may have more options.
        for key in sorted(first.config.keys() & run.config.keys()):
            free = key in FREE or key.startswith(FREE_PARTS)
            if not free and first.config[key] != run.config[key]:
                raise ValueError(
                    "The runs must differ in heads and seed only, or the figure would "
                    f"show something else: {key} is {first.config[key]} in "
                    f"{first.folder} and {run.config[key]} in {run.folder}."
                )


def _value(run: Run, found: dict[str, Any], key: str) -> Any:
    if key not in found:
        raise ValueError(
            f"{run.folder} must be a run's folder: its files do not say {key}."
        )
    return found[key]
