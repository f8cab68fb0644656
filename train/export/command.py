"""`export`: a trained network to take along, and a program that needs jax alone."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from prm_flax.interop import safetensors
from prm_flax.interop.shapes import flatten
from train.config import Config, Export
from train.distributed import on_first, say
from train.evaluate import weights_of
from train.experiment import Experiment, workdir_of
from train.export import load
from train.export.interface import interface_of
from train.export.program import PLATFORMS, make_program
from train.export.weights import TrainedNetwork, save_weights
from train.workdir.files import local
from train.workdir.same_config import recorded_config
from train.workdir.trained import open_trained, restore


def export_run(config: Config, what: Export) -> int:
    """Exports a run's last checkpoint; returns the exit code."""
    if what.average and not config.optim.ema:
        raise ValueError(
            "average needs a run that kept one: optim.ema is 0. Leave --average out."
        )
    # Another folder than the run's is compared with it; else no image is needed.
    other = config.data.root != recorded_config(workdir_of(config)).get("data.root")
    experiment = open_trained(config, images=other)
    network = trained(experiment, what.average)
    folder = Path(what.output or local(experiment.workdir) / "export")
    on_first(lambda: export(network, folder, fold=what.fold))
    say(f"{network.name}: {', '.join(_files(folder))}")
    return 0


def trained(experiment: Experiment, average: bool = False) -> TrainedNetwork:
    """The network of a run's last checkpoint, or the moving average of its weights."""
    task: Any = experiment.task
    kinds = weights_of(restore(experiment))
    variables = kinds["ema" if average else "test"].variables
    return task.network(variables=jax.device_get(variables))


def export(network: TrainedNetwork, folder: Path, *, fold: bool = False) -> None:
    """Writes a network for use without this program, and checks what it wrote.

    * model.safetensors: the weights as trained, see `prm_flax.interop.safetensors`.
    * model.stablehlo: see `make_program`.
    * export.json: shapes, dtypes and class names.
    * load.py: the few lines that load model.stablehlo.

    Args:
        network: what to write.
        folder: made if need be; old files of these names are replaced.
        fold: batch norm goes into the convolutions of model.stablehlo.

    Raises:
        ValueError: the network cannot be folded.
        RuntimeError: the program or a file does not give back what it was made from.
    """
    program = make_program(network, fold)
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.safetensors"
    save_weights(network, weights)
    _check_weights(weights, network.variables)
    (folder / "model.stablehlo").write_bytes(program)
    (folder / "export.json").write_text(json.dumps(_described(network, fold), indent=1))
    shutil.copyfile(Path(load.__file__), folder / "load.py")
    if (folder / "model.stablehlo").read_bytes() != program:
        raise OSError(f"{folder}/model.stablehlo is not what was written.")


def _files(folder: Path) -> list[str]:
    names = ("model.safetensors", "model.stablehlo", "export.json", "load.py")
    return [str(folder / name) for name in names]


def _check_weights(path: Path, variables: Mapping[str, Any]) -> None:
    _, loaded = safetensors.load(path)
    kept = flatten(loaded)
    for name, leaf in flatten(variables).items():
        if np.asarray(kept[name]).tobytes() != np.asarray(leaf).tobytes():
            raise RuntimeError(f"{path} does not give {'/'.join(name)} back.")


def _described(network: TrainedNetwork, fold: bool) -> dict[str, Any]:
    return {
        "model": network.name,
        **interface_of(network).describe(network),
        "platforms": PLATFORMS,
        "batch_norm_folded": fold,
        "class_names": list(network.class_names),
    }
