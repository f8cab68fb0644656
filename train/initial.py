"""A run's first state: random weights, or those of `--init FILE --init.new prm,fc`."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path as File
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prm_flax.backbones.registry import PREFIXES
from prm_flax.errors import unknown
from prm_flax.interop import safetensors
from prm_flax.interop.insert import insert_prm
from prm_flax.interop.matching import MismatchError, has_part
from prm_flax.interop.names import torch_entries
from prm_flax.interop.report import report
from prm_flax.interop.shapes import Path, flatten, unflatten
from prm_flax.interop.torch import from_state_dict, read_pth, to_state_dict
from train import sharding
from train.agree import any_process
from train.build import Experiment
from train.claim import started_from
from train.console import say
from train.data import samples
from train.state import TrainState
from train.steps import Steps

# The last layer has either name; one stands for both.
CLASSIFIER = ("fc", "classifier")
# What people mean to start anew, and the names that it has.
USUAL = MappingProxyType({"prm": ("prm",), "fc": CLASSIFIER})

# Ending of a file -> its reader; of all other endings, PyTorch's.
READERS: MappingProxyType[str, Callable[[File], dict[str, np.ndarray]]] = (
    MappingProxyType({".safetensors": lambda f: to_state_dict(*safetensors.load(f))})
)


def read_init(experiment: Experiment) -> dict[Path, jax.Array]:
    """The arrays of init.file that the network starts with; {} without a file.

    Returns:
        Path of a leaf -> its array; the leaves of init.new are not among them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no file of weights; init.new names no part of the network; or
            the network and the file differ elsewhere.
    """
    init, state = experiment.config.init, experiment.abstract_state
    if init.file is None:
        return {}
    parts = _parts(init.new, experiment)
    arrays = _read(File(init.file))
    try:
        found = from_state_dict(
            experiment.model, arrays, into=state.variables, new=parts
        )
    except MismatchError as error:
        rule = f"{init.file} must fit {experiment.config.model.name}"
        advice = _advice(error.names, experiment.config.model.name, init.new)
        raise ValueError(report(rule, error.problems, advice)) from None
    wanted = flatten(state.variables)
    return {
        path: leaf.astype(wanted[path].dtype)
        for path, leaf in flatten(found).items()
        if isinstance(leaf, jax.Array)  # what is new is but a shape
    }


def has_saved(experiment: Experiment) -> bool:
    """Whether the run's folder has a state to go on from."""
    folder = experiment.workdir / "checkpoints"
    return any_process(bool(Steps(folder).usable()))


def uses_file(experiment: Experiment) -> bool:
    """Whether the network is init.file's, and not that of a run which started there."""
    if experiment.config.init.file is None:
        return False
    trained = has_saved(experiment)
    return not (trained and started_from(experiment.workdir, experiment.config))


def first_state(experiment: Experiment, given: dict[Path, jax.Array]) -> TrainState:
    """The state before the first update.

    Args:
        experiment: what runs.
        given: of `read_init`; all else is drawn at random. Fresh PRMs are put in so
            that the outputs stay, see `insert_prm`.
    """
    state = experiment.init()
    if not given:
        return state
    init = experiment.config.init
    say(f"weights: {init.file}" + (f", new: {', '.join(init.new)}" if init.new else ""))
    drawn = flatten(jax.device_get(state.variables))
    shape = experiment.input.image_shape
    variables = insert_prm(experiment.model, unflatten(drawn | given), shape, given)
    placed = sharding.put_state(experiment.mesh, variables)
    # Copies: a step that takes the state's memory must not take an array twice.
    ema = jax.tree.map(jnp.copy, placed) if state.ema else {}
    return dataclasses.replace(state, **placed, ema=ema)


def _read(file: File) -> dict[str, Any]:
    if not file.is_file():
        raise FileNotFoundError(
            f"init.file must be a file of weights, .pth or .safetensors: {file} is not "
            "there. `make weights` fetches the public MobileNetV2 and prints its "
            f"folder, here {samples.folder()}."
        )
    return READERS.get(file.suffix, read_pth)(file)


def _parts(new: Sequence[str], experiment: Experiment) -> tuple[str, ...]:
    """The names of init.new, checked."""
    names = torch_entries(flatten(experiment.abstract_state.variables))
    words = {word for name in names for word in name.split(".")[:-1]}
    parts: list[str] = []
    for part in new:
        both = CLASSIFIER if part in CLASSIFIER else (part,)
        if not any(has_part(name, both) for name in names):
            known = sorted(word for word in words if not word.isdigit())
            raise _no_part(part, experiment.config.model.name, known)
        parts += both
    return tuple(parts)


def _no_part(part: str, model: str, known: list[str]) -> ValueError:
    if part in PREFIXES:
        return ValueError(
            f"init.new {part}: {model} has no {part}. Take --model.name "
            f"{part}_{_plain(model)}, or leave {part} out of --init.new."
        )
    return unknown(f"part of {model} in init.new", part, known)


def _advice(names: Sequence[str], model: str, new: Sequence[str]) -> str:
    """The likely fix, of a file and a network that differ in these names."""
    for prefix in PREFIXES:
        if not model.startswith(f"{prefix}_") and _some(names, (prefix,)):
            return f"The file has {prefix}: --model.name {prefix}_{_plain(model)}."
    fresh = [part for part, theirs in USUAL.items() if _some(names, theirs)]
    covered = [word for part in fresh for word in USUAL[part]]
    if fresh and all(has_part(name, tuple(covered)) for name in names):
        return f"To start these anew: --init.new {','.join([*new, *fresh])}."
    return (
        "Is the file one of this network? Check --model.name and its options. Parts "
        "that should start anew go in --init.new, such as prm,fc."
    )


def _some(names: Sequence[str], parts: tuple[str, ...]) -> bool:
    return any(has_part(name, parts) for name in names)


def _plain(model: str) -> str:
    prefix, _, rest = model.partition("_")
    return rest if prefix in PREFIXES else model
