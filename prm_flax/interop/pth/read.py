"""`read_pth`: from a path to named arrays."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from prm_flax.interop.pth.archive import Archive
from prm_flax.interop.pth.arrays import to_arrays
from prm_flax.interop.pth.legacy import LEGACY_MAGIC, open_legacy
from prm_flax.interop.pth.records import Tensor
from prm_flax.interop.pth.zipped import ZIP_MAGIC, open_zip

# Training programs save the state dict in a dictionary, under one of these names.
WRAPPERS = ("state_dict", "model_state_dict", "model")


def read_pth(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a file of `torch.save` without PyTorch, and runs nothing that is in it.

    Both formats are read, the legacy one and zip. Of a checkpoint the state dict is
    taken (entry "state_dict", "model_state_dict" or "model"). Whatever a file claims,
    reading it takes at most six times its size of memory and some 600 MiB.

    Args:
        path: of a file holding a state dict, or a checkpoint with one.

    Returns:
        Arrays by PyTorch's names, as they stand in the file: bfloat16 is that of
        `ml_dtypes`, batch counters are included, "module." is kept.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: the file is none of `torch.save`, is damaged or cut off, asks for
            Python objects, or holds no state dict.

    Example:
        >>> from prm_flax import create_model
        >>> from prm_flax.interop.torch import from_state_dict, read_pth
        >>> def load(path):
        ...     return from_state_dict(create_model("resnet50"), read_pth(path))

    Reference: `torch/serialization.py` of PyTorch, which writes both formats.
    """
    data = Path(path).read_bytes()
    try:
        archive = _open(data)
        return to_arrays(_state_dict(archive.value), archive, len(data))
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)} cannot be read: {error}") from error


def _open(data: bytes) -> Archive:
    if data.startswith(ZIP_MAGIC):
        return open_zip(data)
    if data.startswith(LEGACY_MAGIC):
        return open_legacy(data)
    raise ValueError(f"it is no file of torch.save: {_likely(data)}")


def _likely(data: bytes) -> str:
    start = data[:512].lstrip().lower()
    if not data:
        return "it is empty. Download it again."
    if start.startswith(b"<"):
        return "it begins like a web page. Download the file itself, not its page."
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS. Run `git lfs pull`."
    return f"it begins with {data[:8]!r}. Check where it came from."


def _state_dict(value: Any) -> dict[str, Tensor]:
    found = _unwrap(value)
    if type(found) is not dict or not found:
        raise ValueError(f"it holds no state dict but {_kind(found)}.")
    wrong = [_entry(k, v) for k, v in found.items() if not _is_weight(k, v)]
    if wrong:
        raise ValueError(
            "a state dict has names and tensors only, this one also "
            f"{', '.join(wrong[:20])}. In PyTorch: torch.save(model.state_dict(), path)"
        )
    return found


def _unwrap(value: Any) -> Any:
    if type(value) is dict:
        for name in WRAPPERS:
            if type(value.get(name)) is dict:
                return value[name]
    return value


def _is_weight(name: Any, value: Any) -> bool:
    return type(name) is str and type(value) is Tensor


def _entry(name: Any, value: Any) -> str:
    return f"{str(name)[:100]!r} ({_kind(value)})"


def _kind(value: Any) -> str:
    if isinstance(value, dict) and not value:
        return "an empty dictionary"
    return f"a {type(value).__name__}"
