"""Arrays of the tensors a file describes, every claim held against its bytes."""

import math
from collections.abc import Mapping

import numpy as np

from prm_flax.interop.pth.archive import Archive
from prm_flax.interop.pth.records import Tensor

# Tensors may share numbers (tied or expanded weights), so that arrays need more memory
# than the file. Beyond this factor it is an attack, or no state dict.
MAX_EXPANSION = 4


def to_arrays(
    tensors: Mapping[str, Tensor], archive: Archive, file_bytes: int
) -> dict[str, np.ndarray]:
    """Reads the numbers of the tensors.

    Args:
        tensors: by name.
        archive: gives the storages' bytes.
        file_bytes: size of the file, which bounds the memory that is taken.

    Returns:
        Contiguous arrays that own their memory, by the same names.

    Raises:
        ValueError: a storage is missing or of another size than claimed, a tensor
            reaches beyond its storage, or all together are too large.
    """
    needed = sum(_count(t) * t.storage.dtype.itemsize for t in tensors.values())
    if needed > MAX_EXPANSION * file_bytes:
        raise ValueError(
            f"its tensors unfold to {needed} bytes, more than {MAX_EXPANSION} times "
            f"the file's {file_bytes}. Save contiguous copies of expanded tensors."
        )
    storages = {t.storage.key: t.storage for t in tensors.values()}
    numbers = {key: archive.read(storage) for key, storage in storages.items()}
    return {
        name: _array(name, tensor, numbers[tensor.storage.key])
        for name, tensor in tensors.items()
    }


def _count(tensor: Tensor) -> int:
    return math.prod(tensor.shape)


def _array(name: str, tensor: Tensor, numbers: bytes | memoryview) -> np.ndarray:
    """A copy of a strided view; `np.ndarray` checks the bounds a second time."""
    item = tensor.storage.dtype.itemsize
    if _count(tensor) == 0:
        return np.empty(tensor.shape, tensor.storage.dtype)
    axes = list(zip(tensor.shape, tensor.strides, strict=True))
    last = tensor.offset + sum((size - 1) * stride for size, stride in axes)
    if last >= tensor.storage.size:
        raise ValueError(
            f"tensor {name!r} reaches number {last} of storage "
            f"{tensor.storage.key[:100]!r}, which has {tensor.storage.size}."
        )
    view = np.ndarray(
        tensor.shape,
        np.uint8 if tensor.storage.dtype == bool else tensor.storage.dtype,
        buffer=numbers,
        offset=tensor.offset * item,
        strides=[stride * item if size > 1 else item for size, stride in axes],
    )
    # A byte other than 0 and 1 is no bool to NumPy: compare instead of reinterpreting.
    is_bool = tensor.storage.dtype == bool
    return np.not_equal(view, 0, order="C") if is_bool else view.copy("C")
