"""`read_pth` reads what PyTorch writes. The files beside came from PyTorch itself."""

import pickle
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from prm_flax.interop.torch import read_pth

DATA = Path(__file__).parent / "data"
FORMATS = ("legacy", "zip")

pytestmark = pytest.mark.parametrize("form", FORMATS)


@pytest.fixture
def tensors(form):
    return read_pth(DATA / f"tensors_{form}.pth")


def test_every_kind_of_tensor_has_the_values_pytorch_saved(tensors):
    with np.load(DATA / "tensors.npz") as expected:
        assert list(tensors) == expected.files
        for name in expected.files:
            values = tensors[name].astype(expected[name].dtype)
            np.testing.assert_array_equal(values, expected[name], strict=True)


@pytest.mark.parametrize(
    "name",
    ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8"],
)
def test_a_dtype_is_kept(tensors, name):
    assert tensors[name].dtype == np.dtype(name)


def test_bool_and_bfloat16_are_kept(tensors):
    assert tensors["bool"].dtype == np.bool_
    assert tensors["bfloat16"].dtype == jnp.bfloat16


def test_views_come_as_contiguous_arrays_of_their_own(tensors):
    for array in tensors.values():
        assert array.flags.c_contiguous
        assert array.flags.owndata
        assert array.flags.writeable
    assert tensors["transposed"].shape == (6, 4)
    assert tensors["offset"].shape == (3, 3)
    assert tensors["expanded"].shape == (3, 2)


def test_shapes_without_axes_and_without_numbers(tensors):
    assert tensors["scalar"].shape == ()
    assert tensors["empty"].shape == (0, 3)


def test_the_state_dict_of_a_checkpoint_is_taken(form):
    # Beside it: an epoch, text, a float, an integer beyond 64 bits, an optimizer.
    weights = read_pth(DATA / f"checkpoint_{form}.pth")
    with np.load(DATA / "checkpoint.npz") as expected:
        assert list(weights) == expected.files
        assert "module.1.num_batches_tracked" in weights
        for name in expected.files:
            np.testing.assert_array_equal(weights[name], expected[name], strict=True)


def test_a_path_may_be_a_string(form):
    assert read_pth(str(DATA / f"tensors_{form}.pth"))


def test_a_missing_file_is_reported_as_python_does(form, tmp_path):
    with pytest.raises(FileNotFoundError):
        read_pth(tmp_path / f"{form}.pth")


def test_python_s_pickle_is_never_asked(form, monkeypatch):
    def refuse(*_arguments, **_options):
        raise AssertionError("pickle ran")

    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    assert read_pth(DATA / f"tensors_{form}.pth")
