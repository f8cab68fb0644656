"""A run's first state: random weights, or those of `--init FILE --init.new prm,fc`."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from prm_flax.backbones.registry import PREFIXES
from prm_flax.errors import unknown
from prm_flax.interop import safetensors
from prm_flax.interop.insert import insert_prm
from prm_flax.interop.kinds import CLASSIFIER, has_part
from prm_flax.interop.metadata import UNKNOWN, About
from prm_flax.interop.names import torch_entries
from prm_flax.interop.pth import Contents, read_contents
from prm_flax.interop.report import MismatchError
from prm_flax.interop.shapes import LeafPath, flatten, unflatten
from prm_flax.interop.torch import from_state_dict, to_state_dict
from prm_flax.runs import AVERAGE, CONFIG, WEIGHTS
from train import sharding
from train.checkpoints.steps import Steps
from train.config import Config, Init
from train.data.datasets.imagenet_samples import SAMPLES
from train.distributed import any_process, say
from train.experiment import Experiment, workdir_of
from train.state import TrainState
from train.workdir.same_config import started_from

# What people mean to start anew, and the names that it has.
USUAL = MappingProxyType({"prm": ("prm",), "fc": CLASSIFIER})

# Kind of weights -> their file in a run's folder.
OF_RUN = MappingProxyType({"raw": WEIGHTS, "average": AVERAGE})


def read_init(experiment: Experiment) -> dict[LeafPath, jax.Array]:
    """The arrays of init.file that the network starts with; {} without a file.

    Returns:
        Path of a leaf -> its array; the leaves of init.new are not among them.

    Raises:
        FileNotFoundError: there is no such file, or no weights in the folder.
        ValueError: it is no file of weights, or has not those of init.weights; init.new
            names no part of the network; or the network and the file differ elsewhere.
    """
    init, model = experiment.config.init, experiment.config.model.name
    if init.file is None:
        return {}
    shapes = experiment.abstract_state.variables
    parts = _parts(init.new, torch_entries(flatten(shapes)), model)
    arrays = _read(Path(init.file), init.weights)
    try:
        found = from_state_dict(experiment.model, arrays, into=shapes, new=parts)
    except MismatchError as error:
        rule = f"{init.file} must fit {model}"
        advice = _advice(error.names, model, init.new)
        problems = list(zip(error.names, error.problems, strict=True))
        raise MismatchError(rule, problems, advice, error.kind) from None
    wanted = flatten(shapes)
    return {
        path: leaf.astype(wanted[path].dtype)
        for path, leaf in flatten(found).items()
        if isinstance(leaf, jax.Array)  # of what is new there is but a shape
    }


def _read(path: Path, kind: str) -> dict[str, np.ndarray]:
    """The arrays of a file or a run's folder; says which, if it has two kinds."""
    contents = _of_run(path, kind) if path.is_dir() else _of_file(path, kind)
    if contents.which:
        (other,) = OF_RUN.keys() - {kind}
        say(f"{path}: {contents.which}; --init.weights {other} takes those")
    return contents.arrays


def read_about(init: Init) -> About:
    """What init.file says of the inputs and outputs of its network, if it does.

    Of a network whose classifier starts anew its classes are not known.
    """
    path = Path(init.file or "")
    file = path / OF_RUN[init.weights] if path.is_dir() else path
    own = file.suffix == ".safetensors" and file.is_file() and safetensors.is_own(file)
    about = safetensors.read_about(file) if own else UNKNOWN
    return about._replace(class_names=()) if {*init.new} & {*CLASSIFIER} else about


def _of_run(folder: Path, kind: str) -> Contents:
    files = {k: folder / name for k, name in OF_RUN.items()}
    if not files["raw"].is_file():
        raise FileNotFoundError(_no_weights(folder))
    if not files[kind].is_file():
        raise FileNotFoundError(
            f"init.weights is average, and {folder} has no {OF_RUN[kind]}: its run "
            "kept no average (--optim.ema). Take --init.weights raw."
        )
    (other,) = files.keys() - {kind}
    beside = OF_RUN[other] if files[other].is_file() else None
    arrays = _of_safetensors(files[kind])
    return Contents(arrays, OF_RUN[kind], beside, kind == "average")


def _no_weights(folder: Path) -> str:
    if not (folder / CONFIG).is_file():
        return (
            f"init.file must be a run's folder or a file of weights: {folder} has "
            f"neither {CONFIG} nor {WEIGHTS}. Is the path right?"
        )
    return (
        f"init.file must be the folder of a run that has finished: {folder} has no "
        f"{WEIGHTS} yet. Let its fit go on to the end; or write what is saved, python "
        f"-m train export CONFIG --workdir {folder}, and take --init {folder}/export."
    )


def _of_file(path: Path, kind: str) -> Contents:
    if not path.is_file():
        raise FileNotFoundError(
            "init.file must be a run's folder or a file of weights, .pth or "
            f".safetensors: {path} is not there. The public MobileNetV2 is fetched by "
            f"`make weights`, into {SAMPLES.path}."
        )
    if path.suffix != ".safetensors":
        return read_contents(path, average=kind == "average")
    if kind == "average":
        raise ValueError(
            f"init.weights is average, and {path} has one kind of weights alone. Take "
            f"--init.weights raw. (The average of a run is in {OF_RUN[kind]}.)"
        )
    return Contents(_of_safetensors(path), path.name, None, False)


def _of_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays by PyTorch's names, whoever wrote the file."""
    if safetensors.is_own(path):
        return to_state_dict(*safetensors.load(path))
    return safetensors.read_tensors(path)


def _parts(new: Sequence[str], names: Iterable[str], model: str) -> tuple[str, ...]:
    """The parts of names that init.new stands for, each of which the network has."""
    words = {word for name in names for word in name.split(".")[:-1]}
    parts: list[str] = []
    for part in new:
        meant = CLASSIFIER if part in CLASSIFIER else (part,)
        if not _some(names, meant):
            raise _no_part(part, model, sorted(w for w in words if not w.isdigit()))
        parts += meant
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
    theirs = tuple(word for part in fresh for word in USUAL[part])
    if all(has_part(name, theirs) for name in names):
        return f"To start these anew: --init.new {','.join([*new, *fresh])}."
    return (
        "Is the file one of this network? Check --model.name and its options. Parts "
        "that should start anew go in --init.new, such as prm,fc."
    )


def _some(names: Iterable[str], parts: tuple[str, ...]) -> bool:
    return any(has_part(name, parts) for name in names)


def _plain(model: str) -> str:
    prefix, _, rest = model.partition("_")
    return rest if prefix in PREFIXES else model


def has_saved(workdir: epath.Path) -> bool:
    """Whether a run's folder has a state to go on from."""
    return any_process(bool(Steps(workdir / "checkpoints").usable()))


def uses_file(config: Config) -> bool:
    """Whether the network is init.file's, and not that of a run which started there."""
    if config.init.file is None:
        return False
    workdir = workdir_of(config)
    return not (has_saved(workdir) and started_from(workdir, config))


def first_state(experiment: Experiment, given: dict[LeafPath, jax.Array]) -> TrainState:
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
