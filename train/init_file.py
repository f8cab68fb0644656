"""`--init FILE --init.new prm,fc`: what a file of weights gives a network."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path as File
from types import MappingProxyType

import jax
import numpy as np

from prm_flax.backbones.registry import PREFIXES
from prm_flax.errors import unknown
from prm_flax.interop import safetensors
from prm_flax.interop.kinds import CLASSIFIER, has_part
from prm_flax.interop.names import torch_entries
from prm_flax.interop.report import MismatchError
from prm_flax.interop.shapes import Path, flatten
from prm_flax.interop.torch import from_state_dict, read_pth, to_state_dict
from train.build import Experiment
from train.data import samples

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
    init, model = experiment.config.init, experiment.config.model.name
    if init.file is None:
        return {}
    shapes = experiment.abstract_state.variables
    parts = _parts(init.new, torch_entries(flatten(shapes)), model)
    arrays = _read(File(init.file))
    try:
        found = from_state_dict(experiment.model, arrays, into=shapes, new=parts)
    except MismatchError as error:
        rule = f"{init.file} must fit {model}"
        advice = _advice(error.names, model, init.new)
        raise ValueError(report(rule, error.problems, advice)) from None
    wanted = flatten(shapes)
    return {
        path: leaf.astype(wanted[path].dtype)
        for path, leaf in flatten(found).items()
        if isinstance(leaf, jax.Array)  # of what is new there is but a shape
    }


def _read(file: File) -> dict[str, np.ndarray]:
    if not file.is_file():
        raise FileNotFoundError(
            f"init.file must be a file of weights, .pth or .safetensors: {file} is not "
            "there. The public MobileNetV2 is fetched by `make weights`, into "
            f"{samples.folder()}."
        )
    return READERS.get(file.suffix, read_pth)(file)


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
