"""`read_pth`: from a path to named arrays."""

import logging
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from prm_flax.interop.pth.archive import Archive
from prm_flax.interop.pth.arrays import to_arrays
from prm_flax.interop.pth.entries import choose, weights_of
from prm_flax.interop.pth.legacy import LEGACY_MAGICS, open_legacy
from prm_flax.interop.pth.zipped import ZIP_MAGIC, open_zip

_log = logging.getLogger(__name__)


class Contents(NamedTuple):
    """Weights by PyTorch's names, and where they stood.

    Attributes:
        arrays: by name.
        entry: the part of the file, or of a run's folder, that was read.
        other: the part with the averaged weights if raw ones were read, with the raw
            ones if averaged were; None if there is one kind alone.
        average: whether the averaged ones were read.
    """

    arrays: dict[str, np.ndarray]
    entry: str
    other: str | None
    average: bool

    @property
    def which(self) -> str:
        """Which of two kinds of weights was read; "" if there is one alone."""
        if self.other is None:
            return ""
        kinds = ("averaged", "raw") if self.average else ("raw", "averaged")
        return (
            f"the {kinds[0]} weights ({self.entry}) are read, not the {kinds[1]} ones "
            f"({self.other})"
        )


def read_pth(
    path: str | os.PathLike[str], *, average: bool = False
) -> dict[str, np.ndarray]:
    """Reads a file of `torch.save` without PyTorch, and runs nothing that is in it.

    Both formats are read, the legacy one and zip, with pickle protocols 2 to 5. Of a
    checkpoint the state dict is taken (entry "state_dict", "model_state_dict" or
    "model"); a file that has averaged weights, too (such as "model_ema" or
    "state_dict_ema"), says in the log which are read. Numbers and text among the
    tensors are left out, so are all objects that are no tensors. Whatever a file
    claims, reading it takes at most six times its size of memory and some 600 MiB.

    Args:
        path: of a file holding a state dict, or a checkpoint with one.
        average: read the averaged weights.

    Returns:
        Arrays by PyTorch's names, as they stand in the file: bfloat16 is that of
        `ml_dtypes`, batch counters are included, "module." is kept.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: the file is none of `torch.save`, is damaged or cut off, holds no
            state dict or none of averages, or has another object in the place of a
            weight.

    Example:
        >>> from prm_flax import create_model
        >>> from prm_flax.interop.torch import from_state_dict, read_pth
        >>> def load(path):
        ...     return from_state_dict(create_model("resnet50"), read_pth(path))

    Reference: `torch/serialization.py` of PyTorch, which writes both formats.
    """
    contents = read_contents(path, average=average)
    if contents.which:
        advice = f"average={not average} takes those"
        _log.warning("%s: %s; %s.", os.fspath(path), contents.which, advice)
    return contents.arrays


def read_contents(path: str | os.PathLike[str], *, average: bool = False) -> Contents:
    """`read_pth` that tells where the weights stood, instead of the log.

    Example:
        >>> from prm_flax.interop.pth import read_contents
        >>> def which(path):
        ...     return read_contents(path).which
    """
    data = Path(path).read_bytes()
    try:
        archive = _open(data)
        chosen = choose(archive.value, average)
        tensors = weights_of(chosen.value)
        arrays = to_arrays(tensors, archive, len(data))
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)} cannot be read: {error}") from error
    return Contents(arrays, chosen.entry, chosen.other, average)


def _open(data: bytes) -> Archive:
    if data.startswith(ZIP_MAGIC):
        return open_zip(data)
    if data.startswith(LEGACY_MAGICS):
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
