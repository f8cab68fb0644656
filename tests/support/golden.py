"""The golden files in this library's layout. `tests/golden/README.md` explains them.

PRM_GOLDEN names another folder with files of the same kinds: all that are there are
tried, also those that otherwise wait for `make test-all`.
"""

import functools
import hashlib
import json
import os
import zlib
from collections.abc import Collection, Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
import pytest
from support import networks

from prm_flax import PRMParams
from prm_flax.interop.names import LAYOUTS, Entry, torch_entries
from prm_flax.interop.shapes import flatten, unflatten

PUBLIC = Path(__file__).parents[1] / "golden" / "public"
GIVEN = os.environ.get("PRM_GOLDEN")
FOLDER = Path(GIVEN) if GIVEN else PUBLIC
# Networks' files of another kind: of systems that this project does not have.
RELATED = ("net_nonlocal*", "net_aa_*", "net_lr_*")


class Golden(NamedTuple):
    """One file: its arrays as stored, PyTorch's layout, and its meta."""

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays called prefix/NAME, by NAME."""
        return {
            name.removeprefix(f"{prefix}/"): array
            for name, array in self.arrays.items()
            if name.startswith(f"{prefix}/")
        }


def names(kind: str, *but: str) -> list[str]:
    """The files that match a pattern, but no other ones, without .npz."""
    found = sorted(path.stem for path in FOLDER.glob(f"{kind}.npz"))
    found = [name for name in found if not any(fnmatch(name, each) for each in but)]
    # A folder of somebody's own need not have all kinds.
    assert found or GIVEN, f"no golden file is called {kind}"
    return found


def parameters(names: Iterable[str], later: Collection[str]) -> list[Any]:
    """Files as a test's parameters, some of the project's own for `make test-all`."""
    waits = [] if GIVEN else [pytest.mark.slow]
    return [pytest.param(n, marks=waits if n in later else []) for n in names]


def all_but(quick: Collection[str], names: Iterable[str]) -> list[Any]:
    """Files as a test's parameters, all but the quick ones for `make test-all`."""
    names = list(names)
    return parameters(names, set(names) - set(quick))


def counts() -> dict[str, Any]:
    """Parameters and multiply-adds by network, of counts.json."""
    path = FOLDER / "counts.json"
    if GIVEN and not path.exists():
        return {}
    return json.loads(path.read_text())


@functools.cache
def load(name: str) -> Golden:
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = dict(file)
    return Golden(arrays, json.loads(str(arrays.pop("meta"))))


def to_nhwc(image: np.ndarray) -> np.ndarray:
    return np.moveaxis(image, 1, -1)


def prm_params(arrays: dict[str, np.ndarray]) -> PRMParams:
    """The six arrays of a PRM (or their gradients) by PyTorch's names."""
    axes = PRMParams(alpha=1, beta=1, lam=1, xi=1, theta=1, d=0)

    def leaf(name: str, count: int) -> np.ndarray:
        layout = LAYOUTS[name, count]
        return layout.from_torch(arrays[layout.name], (-1,) * count)

    return PRMParams(*map(leaf, PRMParams._fields, axes))


def entries(module: nn.Module, image: tuple[int, int, int]) -> dict[str, Entry]:
    """A module's leaves by PyTorch's names, for images (h, w, c)."""
    return torch_entries(flatten(networks.shapes(module, image, train=False)[0]))


def leaves(named: dict[str, Entry], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Arrays (or gradients) by PyTorch's names as the module's variables."""
    return unflatten(
        {
            named[name].path: named[name].layout.from_torch(array, named[name].shape)
            for name, array in arrays.items()
        }
    )


def state_dict(file: Golden) -> dict[str, np.ndarray]:
    """The parameters of a network file, by meta.rule, float32."""
    shapes = zip(file.arrays["names"], file.arrays["shapes"], strict=True)
    salt = file.meta["salt"]
    return {str(name): by_rule(str(name), json.loads(s), salt) for name, s in shapes}


# Last part of a PRM's or SGE's name -> the value made from the normal numbers n.
_GATE_RULE = {
    "weight": lambda n: 0.5 * n,
    "bias": lambda n: 1 + 0.2 * n,
    "one": lambda n: 1 + 0.2 * n,
    "zero": lambda n: 0.5 * n,
    "theta": lambda n: 0.3 + 0.1 * abs(n),
    "scale": lambda n: 1 + 0.2 * abs(n),
}
_STATISTICS_RULE = {
    "running_mean": lambda n: 0.1 * n,
    "running_var": lambda n: 1 + 0.2 * abs(n),
}
_NORM_RULE = {"weight": lambda n: 1 + 0.1 * n, "bias": lambda n: 0.1 * n}


def by_rule(name: str, shape: list[int], salt: str) -> np.ndarray:
    """A parameter of a network file, by meta.rule, float32."""
    n = normal(salt + name, shape)
    last = name.rpartition(".")[2]
    if ".prm." in name or ".sge." in name:
        value = _GATE_RULE[last](n)
    elif last in _STATISTICS_RULE:
        value = _STATISTICS_RULE[last](n)
    elif n.ndim in (2, 4):
        value = n * np.sqrt(2 / np.prod(shape[1:]))
    else:
        value = _NORM_RULE[last](n)
    return value.astype(np.float32)


def normal(name: str, shape: list[int]) -> np.ndarray:
    """The normal numbers of a name (with its salt before it)."""
    return np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)


def images(file: Golden) -> np.ndarray:
    """The input of a network file, (b, h, w, 3) float32, its checksum confirmed."""
    meta = file.meta
    shape = (meta["batch"], 3, meta["height"], meta["width"])
    generator = np.random.RandomState(meta["input_seed"])
    x = generator.standard_normal(shape).astype(np.float32)
    assert hashlib.sha256(x.tobytes()).hexdigest() == meta["input_check"]["sha256"]
    return to_nhwc(x)


def cotangent(file: Golden) -> np.ndarray:
    """r of a train file: the loss is sum(logits·r)."""
    generator = np.random.RandomState(file.meta["input_seed"] + 1)
    return generator.standard_normal(file.arrays["logits"].shape)


def step_data(file: Golden, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (b, h, w, 3) float32 and labels of one step of a trajectory file."""
    meta = file.meta
    generator = np.random.RandomState(meta["data_seed"] + step)
    shape = (meta["batch"], 3, meta["height"], meta["width"])
    x = generator.standard_normal(shape).astype(np.float32)
    return to_nhwc(x), generator.randint(0, 1000, size=meta["batch"])
