"""What a state dict must hold, what may be new, and how the rest is reported."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from interop.support import assert_same, variables_of

from prm_flax.interop.torch import MismatchError, from_state_dict, to_state_dict


class TestNew:
    def test_new_parts_come_from_fresh_variables(
        self, model, variables, plain, plain_weights
    ):
        loaded = from_state_dict(
            model, plain_weights, into=variables, new=("prm", "fc")
        )
        theirs = from_state_dict(plain, plain_weights)
        for path, leaf in flatten_dict(loaded).items():
            source = variables if {"prm", "fc"} & set(path) else theirs
            np.testing.assert_array_equal(leaf, flatten_dict(source)[path])

    def test_entries_of_new_parts_are_ignored_whatever_they_are(
        self, model, variables, weights
    ):
        weights["fc.weight"] = np.zeros((1000, 2048))
        weights["layer9.prm.zero"] = np.zeros(3)
        loaded = from_state_dict(model, weights, into=variables, new=["prm", "fc"])
        assert_same(loaded, variables)

    @pytest.mark.parametrize("new", ["fc", ("fc",), ("fc.weight", "fc.bias")])
    def test_a_part_is_a_whole_part_of_the_dotted_name(
        self, model, variables, weights, new
    ):
        other = {name: a for name, a in weights.items() if not name.startswith("fc.")}
        assert_same(from_state_dict(model, other, into=variables, new=new), variables)
        with pytest.raises(ValueError, match=r"missing: fc\.weight"):
            from_state_dict(model, other, into=variables, new=("f",))

    def test_new_needs_into(self, model, weights):
        with pytest.raises(ValueError, match=r"new=\('fc',\) needs into="):
            from_state_dict(model, weights, new=("fc",))

    def test_into_must_be_of_the_model(self, model, weights, plain):
        with pytest.raises(ValueError, match=r"into= .*\n.*missing: .*prm/"):
            from_state_dict(model, weights, into=variables_of(plain), new=("prm",))

    def test_into_decides_the_input_channels(self, model, weights):
        colour = variables_of(model, channels=3)
        with pytest.raises(
            ValueError,
            match=r"conv1\.weight, expected \(16, 3, 3, 3\), received \(16, 1, 3, 3\)",
        ):
            from_state_dict(model, weights, into=colour)
        loaded = from_state_dict(model, weights, into=colour, new=("conv1",))
        assert loaded["params"]["conv1"]["kernel"].shape == (3, 3, 3, 16)


class TestErrors:
    def test_one_error_lists_all(self, model, weights):
        del weights["layer1.0.prm.theta"], weights["bn1.running_var"]
        weights["extra.weight"] = np.zeros(3)
        weights["fc.weight"] = np.zeros((1000, 64))
        weights["fc.bias"] = np.array(["text"] * 10)
        with pytest.raises(ValueError, match="5 problems") as caught:
            from_state_dict(model, weights)
        for line in [
            "missing: layer1.0.prm.theta, expected shape (1, 2, 1, 1)",
            "missing: bn1.running_var, expected shape (16,)",
            "unexpected: extra.weight, received shape (3,)",
            "misshapen: fc.weight, expected (10, 64), received (1000, 64)",
            "not real numbers: fc.bias, received dtype <U4",
            'new=("prm", "fc")',
        ]:
            assert line in str(caught.value)

    @pytest.mark.parametrize(
        "dtype", [object, bool, np.complex64, "S3", "datetime64[s]"]
    )
    def test_what_is_no_real_number_is_refused(self, model, weights, dtype):
        weights["fc.bias"] = np.zeros(10).astype("int64").astype(dtype)
        with pytest.raises(ValueError, match=r"not real numbers: fc\.bias"):
            from_state_dict(model, weights)

    def test_integers_take_the_dtype_of_the_parameters(self, model, weights):
        weights["fc.bias"] = np.arange(10)
        loaded = from_state_dict(model, weights)["params"]["fc"]["bias"]
        assert loaded.dtype == jnp.float32

    @pytest.mark.parametrize("shape", [(), (16,), (16, 3, 3), (1, 16, 3, 3)])
    def test_a_first_convolution_of_another_shape(self, model, weights, shape):
        weights["conv1.weight"] = np.zeros(shape)
        with pytest.raises(ValueError, match=r"misshapen: conv1\.weight"):
            from_state_dict(model, weights)

    def test_no_weights_at_all(self, model, weights):
        with pytest.raises(ValueError, match=f"{len(weights)} problems"):
            from_state_dict(model, {})

    def test_variables_of_another_model(self, model, plain):
        with pytest.raises(ValueError, match=r"missing: params/layer1_0/prm/alpha"):
            to_state_dict(model, variables_of(plain))

    def test_variables_without_collections_or_with_more(self, model, variables):
        with pytest.raises(MismatchError) as caught:
            to_state_dict(model, variables["params"])
        problems = caught.value.problems
        assert any(line.startswith("unexpected: conv1/kernel") for line in problems)
        with pytest.raises(ValueError, match="unexpected: intermediates/"):
            to_state_dict(model, variables | {"intermediates": {"maps": jnp.ones(2)}})

    def test_variables_that_are_no_floating_numbers(self, model, variables):
        integers = jax.tree.map(lambda leaf: leaf.astype(jnp.int32), variables)
        with pytest.raises(
            MismatchError, match=r"not floating: .*, received"
        ) as caught:
            to_state_dict(model, integers)
        line = "not floating: params/fc/bias, received dtype int32"
        assert line in caught.value.problems
