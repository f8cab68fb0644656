"""PyTorch's names, shapes and layouts, there and back."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import freeze
from interop.support import assert_same, shapes_of, variables_of

from prm_flax import create_model
from prm_flax.interop.torch import from_state_dict, to_state_dict

GOLDEN = Path(__file__).parents[1] / "golden" / "public"
NETWORKS = (
    "resnet50",
    "prm_resnet18",
    "prm_resnet50",
    "prm_mobilenet_v2",
    "prm_mnasnet1_0",
    *(f"{module}_resnet50" for module in ("se", "ge", "cbam", "sk", "gc", "sge")),
)


@pytest.mark.parametrize("network", NETWORKS)
def test_names_and_shapes_are_the_official_ones(network):
    model = create_model(network)
    empty = jax.tree.map(
        lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes_of(model)
    )
    ours = {name: a.shape for name, a in to_state_dict(model, empty).items()}
    with np.load(GOLDEN / f"net_{network}_64x64_b2_eval.npz") as file:
        shapes = [tuple(json.loads(str(shape))) for shape in file["shapes"]]
        official = dict(zip(map(str, file["names"]), shapes, strict=True))
    assert ours == official


class TestLayout:
    def test_convolution(self, weights, variables):
        kernel = variables["params"]["layer2_0"]["conv1"]["kernel"]
        weight = weights["layer2.0.conv1.weight"]
        assert weight.shape == (32, 16, 3, 3)
        assert weight[5, 7, 0, 2] == kernel[0, 2, 7, 5]

    def test_dense(self, weights, variables):
        kernel = variables["params"]["fc"]["kernel"]
        assert weights["fc.weight"].shape == (10, 64)
        assert weights["fc.weight"][3, 40] == kernel[40, 3]

    def test_norm(self, weights, variables):
        leaf = variables["params"]["layer2_0"]["downsample_1"]
        statistics = variables["batch_stats"]["layer2_0"]["downsample_1"]
        for name, array in {
            "weight": leaf["scale"],
            "bias": leaf["bias"],
            "running_mean": statistics["mean"],
            "running_var": statistics["var"],
        }.items():
            found = weights[f"layer2.0.downsample.1.{name}"]
            np.testing.assert_array_equal(found, array)

    def test_prm(self, weights, variables):
        leaf = variables["params"]["layer1_1"]["prm"]
        for name, ours, shape in [
            ("zero", "alpha", (1, 8, 1)),
            ("one", "beta", (1, 8, 1)),
            ("weight", "lam", (1, 8, 1, 1)),
            ("bias", "xi", (1, 8, 1, 1)),
            ("theta", "theta", (1, 2, 1, 1)),
            ("scale", "d", (1,)),
        ]:
            found = weights[f"layer1.1.prm.{name}"]
            np.testing.assert_array_equal(found, leaf[ours].reshape(shape), strict=True)

    def test_arrays_are_contiguous_owned_and_writeable(self, converted):
        for array in converted.values():
            assert array.flags.c_contiguous
            assert array.flags.owndata
            assert array.flags.writeable


class TestRoundTrip:
    def test_variables(self, model, variables, weights):
        assert_same(from_state_dict(model, weights), variables)

    def test_state_dict(self, model, weights):
        again = to_state_dict(model, from_state_dict(model, weights))
        assert list(again) == list(weights)
        for name, array in weights.items():
            np.testing.assert_array_equal(again[name], array, strict=True)

    @pytest.mark.parametrize("name", ["mobilenet_v2", "mnasnet1_0"])
    def test_other_families(self, name):
        model = create_model(f"prm_{name}", num_classes=7)
        ours = variables_of(model, channels=3)
        assert_same(from_state_dict(model, to_state_dict(model, ours)), ours)

    @pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
    def test_a_floating_dtype_is_kept(self, model, dtype):
        ours = variables_of(model, dtype=dtype)
        weights = to_state_dict(model, ours)
        assert all(array.dtype == dtype for array in weights.values())
        assert_same(from_state_dict(model, weights), ours)

    def test_float64_is_kept_under_x64_and_is_float32_otherwise(self, model, weights):
        doubles = {name: array.astype(np.float64) for name, array in weights.items()}
        with jax.enable_x64(True):
            leaves = jax.tree.leaves(from_state_dict(model, doubles))
            assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float64)}
        leaves = jax.tree.leaves(from_state_dict(model, doubles))
        assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float32)}

    def test_frozen_variables(self, model, variables, weights):
        frozen = to_state_dict(model, freeze(variables))
        np.testing.assert_array_equal(frozen["fc.weight"], weights["fc.weight"])

    @pytest.mark.parametrize("channels", [1, 3, 5])
    def test_any_number_of_input_channels(self, plain, channels):
        ours = variables_of(plain, channels)
        assert_same(from_state_dict(plain, to_state_dict(plain, ours)), ours)


class TestVariables:
    def test_are_plain_dictionaries_of_two_collections_of_jax_arrays(
        self, model, weights
    ):
        loaded = from_state_dict(model, weights)
        assert type(loaded) is dict
        assert loaded.keys() == {"params", "batch_stats"}
        assert type(loaded["params"]["layer1_0"]) is dict
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(loaded))

    def test_run(self, model, weights):
        image = jnp.ones((2, 28, 28, 1))
        loaded = from_state_dict(model, weights)
        assert jax.eval_shape(model.apply, loaded, image).shape == (2, 10)

    def test_do_not_share_memory_with_the_state_dict(self, model, weights):
        loaded = from_state_dict(model, weights)
        before = np.array(loaded["params"]["fc"]["bias"])
        weights["fc.bias"][:] = 7
        np.testing.assert_array_equal(loaded["params"]["fc"]["bias"], before)


class TestCountersAndPrefix:
    def test_every_norm_has_a_counter_on_demand(self, model, variables, weights):
        counted = to_state_dict(model, variables, counters=True)
        added = counted.keys() - weights.keys()
        norms = {re.sub("running_mean$", "", n) for n in weights if "running_mean" in n}
        assert added == {f"{norm}num_batches_tracked" for norm in norms}
        assert all(counted[name].shape == () for name in added)
        assert all(counted[name].dtype == np.int64 for name in added)

    def test_counters_are_ignored(self, model, variables):
        counted = to_state_dict(model, variables, counters=True)
        assert_same(from_state_dict(model, counted), variables)

    def test_a_prefix_of_all_names_is_dropped(self, model, variables):
        counted = to_state_dict(model, variables, counters=True)
        parallel = {f"module.{name}": array for name, array in counted.items()}
        assert_same(from_state_dict(model, parallel), variables)

    def test_a_prefix_of_some_names_is_not(self, model, weights):
        weights["module.fc.bias"] = weights.pop("fc.bias")
        with pytest.raises(ValueError, match=r"unexpected: module\.fc\.bias"):
            from_state_dict(model, weights)
