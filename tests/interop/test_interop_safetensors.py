"""One file says which model it is for, and holds its weights or is not written."""

import os
import shutil
import stat
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors as library
from flax.traverse_util import flatten_dict
from interop.support import assert_same, variables_of
from safetensors.numpy import save as to_bytes

from prm_flax import create_model
from prm_flax.interop.report import MismatchError
from prm_flax.interop.safetensors import is_own, load, read_tensors, save

NAME = "prm_resnet14"
OPTIONS = {"num_classes": 10, "groups": 8}


def contents(path):
    with library.safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def rewrite(path, tensors=(), remove=(), **metadata):
    """Changes a file in a way that `save` would not."""
    held, described = contents(path)
    held = {n: a for n, a in (held | dict(tensors)).items() if n not in remove}
    described = {k: v for k, v in (described | metadata).items() if v is not None}
    path.write_bytes(to_bytes(held, described))


@pytest.fixture(scope="module")
def written(tmp_path_factory, variables):
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save(path, NAME, OPTIONS, variables)
    return path


@pytest.fixture
def path(written, tmp_path):
    """A copy, for a test to damage."""
    return shutil.copy(written, tmp_path / written.name)


class TestRoundTrip:
    def test_model_and_variables(self, path, model, variables):
        loaded_model, loaded = load(path)
        assert loaded_model == model
        assert_same(loaded, variables)

    @pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
    def test_narrow_dtypes(self, tmp_path, model, dtype):
        ours = variables_of(model, dtype=dtype)
        save(str(tmp_path / "w"), NAME, OPTIONS, ours)
        assert_same(load(str(tmp_path / "w"))[1], ours)

    def test_float64_under_x64(self, tmp_path, model):
        with jax.enable_x64(True):
            ours = variables_of(model, dtype=np.float64)
            save(tmp_path / "w", NAME, OPTIONS, ours)
            assert_same(load(tmp_path / "w")[1], ours)

    def test_colour_images(self, tmp_path, model):
        ours = variables_of(model, channels=3)
        save(tmp_path / "w", NAME, OPTIONS, ours)
        assert_same(load(tmp_path / "w")[1], ours)

    @pytest.mark.parametrize(
        "option",
        [
            {"dtype": jnp.bfloat16},
            {"dtype": np.dtype(np.float32), "param_dtype": jnp.float32},
            {"dtype": None, "dropout": 0.25, "batch_norm": 32},
            {"stem": "3x3_stride2", "zero_init": True, "dropout": np.float32(0.5)},
            {"similarity": "cosine", "position": False},
        ],
        ids=str,
    )
    def test_options(self, tmp_path, option):
        options = OPTIONS | option
        model = create_model(NAME, **options)
        save(tmp_path / "w", NAME, options, variables_of(model))
        assert load(tmp_path / "w")[0] == model


class TestFile:
    def test_names_are_paths(self, path, variables):
        tensors, _ = contents(path)
        assert tensors.keys() == {"/".join(p) for p in flatten_dict(variables)}
        np.testing.assert_array_equal(
            tensors["params/layer1_0/conv1/kernel"],
            variables["params"]["layer1_0"]["conv1"]["kernel"],
        )

    def test_metadata(self, path):
        assert contents(path)[1] == {
            "format": "prm_flax",
            "format_version": "1",
            "model": NAME,
            "options": '{"num_classes": 10, "groups": 8}',
        }

    def test_equal_weights_give_equal_bytes(self, tmp_path, path, variables):
        for k in range(8):  # the library's own order would differ within a few calls
            save(tmp_path / f"again{k}", NAME, OPTIONS, variables)
            assert (tmp_path / f"again{k}").read_bytes() == path.read_bytes()

    def test_nothing_else_is_left_and_others_may_read_it(self, path):
        assert os.listdir(path.parent) == [path.name]
        mask = os.umask(0)
        os.umask(mask)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask

    def test_an_old_file_is_replaced(self, path, model):
        ours = variables_of(model, dtype=jnp.bfloat16)
        save(path, NAME, OPTIONS, ours)
        assert_same(load(path)[1], ours)

    def test_an_old_file_survives_a_write_that_fails(
        self, path, model, variables, monkeypatch
    ):
        def no_space(_descriptor):
            raise OSError("no space left")

        monkeypatch.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match="no space left"):
            save(path, NAME, OPTIONS, variables_of(model, dtype=jnp.bfloat16))
        assert os.listdir(path.parent) == [path.name]
        assert_same(load(path)[1], variables)


class TestSaveRefuses:
    """Always before anything is written."""

    @pytest.fixture(autouse=True)
    def nothing_written(self, tmp_path):
        yield
        assert os.listdir(tmp_path) == []

    def test_variables_of_another_model(self, tmp_path, variables):
        with pytest.raises(ValueError, match="misshapen: params/fc/bias") as caught:
            save(tmp_path / "w", NAME, OPTIONS | {"num_classes": 7}, variables)
        assert "misshapen: params/fc/kernel" in str(caught.value)

    def test_leaves_that_are_no_floating_numbers(self, tmp_path, variables):
        integers = jax.tree.map(lambda leaf: leaf.astype(jnp.int8), variables)
        with pytest.raises(MismatchError, match="not floating: ") as caught:
            save(tmp_path / "w", NAME, OPTIONS, integers)
        line = "not floating: params/fc/bias, received dtype int8"
        assert line in caught.value.problems

    @pytest.mark.parametrize(
        "value", [lambda channels, stage: None, create_model, int, [1], {"a": 1}, b"x"]
    )
    def test_an_option_that_cannot_be_stored(self, tmp_path, variables, value):
        with pytest.raises(ValueError, match=r"to be stored, got recalibration="):
            save(tmp_path / "w", "resnet14", {"recalibration": value}, variables)

    def test_unknown_names_with_create_model_s_own_error(self, tmp_path, variables):
        with pytest.raises(ValueError, match=r"Unknown model 'prm_resnet15'.*resnet14"):
            save(tmp_path / "w", "prm_resnet15", OPTIONS, variables)
        with pytest.raises(ValueError, match=r"'group'.*'groups'"):
            save(tmp_path / "w", NAME, {"group": 8}, variables)


class TestLoadRefuses:
    def test_differences_all_in_one_error(self, path):
        changed = {
            "params/fc/bias": np.zeros(7, np.float32),
            "params/extra": np.zeros(2, np.float32),
            "params/bn1/scale": np.zeros(16, np.int32),
        }
        rewrite(path, changed, remove=["params/bn1/bias"])
        with pytest.raises(ValueError, match="4 problems") as caught:
            load(path)
        for line in [
            "missing: params/bn1/bias, expected shape (16,)",
            "unexpected: params/extra, received shape (2,)",
            "misshapen: params/fc/bias, expected (10,), received (7,)",
            "not floating: params/bn1/scale",
            str(path),
        ]:
            assert line in str(caught.value)

    @pytest.mark.parametrize(
        "metadata",
        [{"format": None}, {"format": "pt"}, {"format_version": "2"}],
    )
    def test_another_format(self, path, metadata):
        rewrite(path, **metadata)
        with pytest.raises(ValueError, match=r"format 'prm_flax' of version '1'"):
            load(path)

    def test_a_file_without_metadata(self, path):
        path.write_bytes(to_bytes({"w": np.zeros(3)}))
        with pytest.raises(ValueError, match=r"found \(None, None\)"):
            load(path)

    @pytest.mark.parametrize(
        "options",
        [
            None,
            "",
            "{",
            "[1]",
            '{"groups": [8]}',
            '{"dtype": {"dtype": "float3"}}',
            '{"dtype": {"dtype": []}}',
            '{"dtype": {}}',
            "[" * 100_000,
        ],
        ids=lambda text: str(text)[:40],
    )
    def test_damaged_options(self, path, options):
        rewrite(path, options=options)
        with pytest.raises(ValueError, match="damaged metadata"):
            load(path)

    def test_unknown_names_with_create_model_s_own_error(self, path):
        rewrite(path, model="prm_resnet15")
        with pytest.raises(ValueError, match="Unknown model 'prm_resnet15'"):
            load(path)
        rewrite(path, model=NAME, options='{"group": 8}')
        with pytest.raises(ValueError, match=r"'group'.*'groups'"):
            load(path)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"<html>not found</html>",
            struct.pack("<Q", 2**62) + b"{}",
            struct.pack("<Q", 10**9) + b"{}",
            struct.pack("<Q", 2) + b"[]",
            struct.pack("<Q", 2) + b"{]",
        ],
        ids=["empty", "page", "giant", "large", "list", "broken"],
    )
    def test_another_kind_of_file(self, path, content):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="must be a complete safetensors file"):
            load(path)

    def test_a_file_that_is_cut_off(self, path):
        content = path.read_bytes()
        for length in (4, 8, 100, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:length])
            with pytest.raises(ValueError, match="must be a complete safetensors file"):
                load(path)

    def test_whose_a_file_is_can_be_asked(self, path, tmp_path):
        assert is_own(path)
        rewrite(path, format_version="2")
        assert is_own(path)  # of a newer library, which `load` says
        for metadata in ({"format": "pt"}, None):
            (tmp_path / "theirs").write_bytes(to_bytes({"w": np.ones(3)}, metadata))
            assert not is_own(tmp_path / "theirs")
        path.write_bytes(b"<html>")
        with pytest.raises(ValueError, match="must be a complete safetensors file"):
            is_own(path)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "none.safetensors")


class TestReadTensors:
    """Of other programs' files, by the names that are in them."""

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool"])
    def test_arrays_come_as_they_are(self, tmp_path, dtype):
        arrays = {"conv1.weight": np.arange(6).reshape(2, 3).astype(jnp.dtype(dtype))}
        (tmp_path / "w").write_bytes(to_bytes(arrays, {"format": "pt"}))
        [(name, array)] = read_tensors(tmp_path / "w").items()
        assert name == "conv1.weight"
        np.testing.assert_array_equal(array, arrays[name], strict=True)

    def test_a_file_that_is_cut_off(self, path):
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(ValueError, match="must be a complete safetensors file"):
            read_tensors(path)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            read_tensors(tmp_path / "none.safetensors")
