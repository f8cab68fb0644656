"""WEIGHTS of the commands: our file, a run's folder, or a PyTorch program's file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from prm_flax import runs
from prm_flax.backbones.registry import create_model
from prm_flax.interop import safetensors
from prm_flax.interop.insert import insert_prm
from prm_flax.interop.kinds import has_part
from prm_flax.interop.matching import clean
from prm_flax.interop.metadata import UNKNOWN, About
from prm_flax.interop.shapes import SAMPLE, flatten, make_template, unflatten
from prm_flax.interop.torch import from_state_dict, read_pth
from prm_flax.prm.functional import INITIALIZERS

ENDINGS = (".safetensors", ".pth", ".pt")
# The last layer's bias in PyTorch's names: as long as there are classes.
CLASSIFIERS = ("fc.bias", "classifier.1.bias", "classifier.bias")


class Weights(NamedTuple):
    """A network with its weights.

    Attributes:
        title: what a picture calls it.
        model: the network.
        variables: its parameters and batch statistics.
        config: the options of its run, by dotted name; {} outside a run's folder.
        fresh: whether its PRMs are untrained.
        about: what its inputs and outputs mean, as far as the file says.
    """

    title: str
    model: nn.Module
    variables: Mapping[str, Any]
    config: Mapping[str, Any]
    fresh: bool = False
    about: About = UNKNOWN

    @property
    def channels(self) -> int:
        """Of the images that the network takes."""
        template = make_template(self.model)
        return flatten(self.variables)[template.stem].shape[template.axis]


def backbone_of(weights: Weights) -> Weights | None:
    """The backbone of a detector, with its weights; None for a classifier."""
    backbone = getattr(weights.model, "backbone", None)
    if backbone is None:
        return None
    parts = {kind: tree["backbone"] for kind, tree in weights.variables.items()}
    return weights._replace(model=backbone, variables=parts)


def read_weights(
    path: Path, name: str | None = None, ddof: int | None = None, fresh: bool = False
) -> Weights:
    """Reads a network.

    Args:
        path: of a .safetensors file of this library, of the folder of a run, or of a
            .pth or .safetensors file with the names of the authors' program,
            torchvision or timm.
        name: as for `create_model`; for files of other programs, which do not say it.
        ddof: PRM's, for files of other programs.
        fresh: the file is of the plain network and gets fresh PRMs, which leave its
            outputs as they are, see `interop.insert`.

    Raises:
        ValueError: path is none of these or damaged, `name` is missing, or does not go
            with a file that says what it is, or the weights are another network's.
        OSError: the file cannot be read.
    """
    if not path.is_dir() and path.suffix not in ENDINGS:
        raise ValueError(
            "WEIGHTS must be the folder of a run or end in .safetensors, .pth or .pt, "
            f"got {path}."
        )
    if path.is_dir() or _is_own(path):
        if name is not None or ddof is not None or fresh:
            raise ValueError(
                "--model, --ddof and --fresh-prm are for files of other programs: "
                f"{path} says itself what network it is. Leave them out."
            )
        return _own(path)
    if name is None:
        raise ValueError(
            f"{path} does not say what network it is of: add --model NAME, such as "
            "--model mobilenet_v2."
        )
    return _foreign(path, name, ddof, fresh)


def _is_own(path: Path) -> bool:
    _require(path)
    return path.suffix == ENDINGS[0] and safetensors.is_own(path)


def _own(path: Path) -> Weights:
    file = path / runs.WEIGHTS if path.is_dir() else path
    _require(file, "Is the path right, and has the run ended?")
    # Another file of a run, such as that of averaged weights, belongs to it, too.
    in_run = path.is_dir() or (path.parent / runs.CONFIG).is_file()
    config = runs.read_config(file.parent) if in_run else {}
    model, variables = safetensors.load(file)
    title = str(config.get("name") or file.stem)
    about = safetensors.read_about(file)
    return Weights(title, model, variables, config, about=about)


def _require(path: Path, advice: str = "Is the path right?") -> None:
    if not path.is_file():
        raise ValueError(
            f"WEIGHTS must be a file of weights: {path} is not there. {advice}"
        )


def _foreign(path: Path, name: str, ddof: int | None, fresh: bool) -> Weights:
    read = safetensors.read_tensors if path.suffix == ENDINGS[0] else read_pth
    arrays = clean(read(path))
    counts = [len(arrays[layer]) for layer in CLASSIFIERS if layer in arrays]
    options = {} if ddof is None else {"ddof": ddof}
    model = create_model(name, num_classes=counts[0] if counts else 1000, **options)
    if not fresh:
        return Weights(name, model, from_state_dict(model, arrays), {})
    if not name.startswith("prm_"):
        raise ValueError(
            f"--fresh-prm puts PRMs into a network, got {name}: take --model "
            f"prm_{name}."
        )
    if any(has_part(part, ("prm",)) for part in arrays):
        raise ValueError(
            f"--fresh-prm is for a file without PRM: {path} has its own. Leave it out."
        )
    variables = from_state_dict(model, arrays, into=_fresh(model), new=("prm",))
    variables = insert_prm(model, variables, (*SAMPLE, 3))
    return Weights(f"{name}, fresh PRMs", model, variables, {}, fresh=True)


def _fresh(model: nn.Module) -> dict[str, Any]:
    """Shapes of all leaves, arrays of PRM's: `model.init` alone takes seconds."""
    leaves: dict[Any, Any] = dict(make_template(model).shapes)
    for k, (path, leaf) in enumerate(leaves.items()):
        if path[-2] == "prm":
            key = jax.random.fold_in(jax.random.key(0), k)
            leaves[path] = INITIALIZERS[path[-1]](key, leaf.shape, leaf.dtype)
    return unflatten(leaves)
