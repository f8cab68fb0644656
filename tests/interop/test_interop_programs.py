"""State dicts as PyTorch's programs make them: wrapped, with scalars, timm's names."""

import functools

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from interop.support import assert_same, variables_of

from prm_flax import create_model, list_models
from prm_flax.interop.matching import clean
from prm_flax.interop.names import torch_entries
from prm_flax.interop.shapes import make_template
from prm_flax.interop.timm import TABLE, from_timm
from prm_flax.interop.torch import from_state_dict, to_state_dict

PREFIXES = (
    "module.",
    "_orig_mod.",
    "model.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "model.module._orig_mod.model.",
)


@functools.cache
def names_of(name):
    """PyTorch's names of a network."""
    return list(torch_entries(make_template(create_model(name)).shapes))


def assert_cleaned(state_dict, weights):
    """What is left are the weights, by their own names."""
    cleaned = clean(state_dict, weights)
    assert cleaned.keys() == weights.keys()
    assert all(cleaned[name] is array for name, array in weights.items())


class TestWrappers:
    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_their_prefixes_are_dropped(self, weights, prefix):
        counters = {"bn1.num_batches_tracked": np.array(3)}
        wrapped = {prefix + name: a for name, a in (weights | counters).items()}
        assert_cleaned(wrapped, weights)

    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_counters_need_not_bear_them(self, weights, prefix):
        wrapped = {prefix + name: array for name, array in weights.items()}
        # That of AveragedModel, and of a norm.
        wrapped |= {"n_averaged": np.array(3), "bn1.num_batches_tracked": np.ones(1)}
        assert_cleaned(wrapped, weights)

    def test_new_parts_are_named_without_them(self, model, variables, weights):
        del weights["fc.weight"], weights["fc.bias"]
        wrapped = {f"module.model.{name}": array for name, array in weights.items()}
        loaded = from_state_dict(model, wrapped, into=variables, new=["fc"])
        assert_same(loaded, variables)

    @pytest.mark.parametrize("prefix", ["net.", "encoder.", "modules.", "module"])
    def test_other_prefixes_are_not(self, weights, prefix):
        wrapped = {prefix + name: array for name, array in weights.items()}
        assert clean(wrapped, weights) == wrapped

    @pytest.mark.parametrize("own", ["model", "module"])
    def test_a_prefix_of_the_network_s_own_stays(self, own):
        class Inner(nn.Module):
            @nn.compact
            def __call__(self, x, train=False):
                return nn.Conv(4, (3, 3), use_bias=False, name="conv1")(x)

        class Outer(nn.Module):
            @nn.compact
            def __call__(self, x, train=False):
                return Inner(name=own)(x)

        array = np.arange(108, dtype=np.float32).reshape(4, 3, 3, 3)
        kernel = jnp.asarray(array.transpose(2, 3, 1, 0))
        for prefix in ("", "_orig_mod.", "module._orig_mod." if own == "model" else ""):
            loaded = from_state_dict(Outer(), {f"{prefix}{own}.conv1.weight": array})
            assert_same(loaded, {"params": {own: {"conv1": {"kernel": kernel}}}})


class TestScalars:
    def test_are_left_out(self, model, variables, weights):
        for k, scalar in enumerate([3, 0.5, True, None, "text", np.float64(2)]):
            weights |= {f"epoch{k}": scalar, f"layer1.epoch{k}": np.array(scalar)}
        assert_same(from_state_dict(model, weights), variables)

    def test_wherever_they_stand(self, weights):
        scalars = {"module.steps": 3, "epoch": np.array(4), "fc.epoch": None}
        wrapped = {f"module.{name}": array for name, array in weights.items()}
        assert_cleaned(scalars | wrapped, weights)
        assert_cleaned(wrapped | scalars, weights)

    def test_but_not_in_the_place_of_a_weight(self, model, weights):
        weights["fc.bias"] = 3.0
        line = r"misshapen: fc\.bias, expected \(10,\), received \(\)"
        with pytest.raises(ValueError, match=line):
            from_state_dict(model, weights)

    def test_arrays_are_not_left_out(self, weights):
        beside = weights | {"epoch": np.ones(1)}
        assert_cleaned(beside, beside)
        assert "epoch" in clean(beside, weights)


# By hand, from timm's mobilenetv2_100 and from torchvision's mobilenet_v2.
SAME = {
    "conv_stem.weight": "features.0.0.weight",
    "bn1.running_var": "features.0.1.running_var",
    "blocks.0.0.conv_dw.weight": "features.1.conv.0.0.weight",
    "blocks.0.0.bn1.bias": "features.1.conv.0.1.bias",
    "blocks.0.0.conv_pw.weight": "features.1.conv.1.weight",
    "blocks.0.0.bn2.weight": "features.1.conv.2.weight",
    "blocks.1.0.conv_pw.weight": "features.2.conv.0.0.weight",
    "blocks.1.0.bn1.weight": "features.2.conv.0.1.weight",
    "blocks.1.1.conv_dw.weight": "features.3.conv.1.0.weight",
    "blocks.2.0.bn2.running_mean": "features.4.conv.1.1.running_mean",
    "blocks.3.3.conv_pwl.weight": "features.10.conv.2.weight",
    "blocks.4.0.bn3.bias": "features.11.conv.3.bias",
    "blocks.5.2.conv_pwl.weight": "features.16.conv.2.weight",
    "blocks.6.0.conv_pw.weight": "features.17.conv.0.0.weight",
    "conv_head.weight": "features.18.0.weight",
    "bn2.bias": "features.18.1.bias",
    "classifier.weight": "classifier.1.weight",
    "classifier.bias": "classifier.1.bias",
}


class TestTimm:
    def test_names_written_by_hand(self):
        assert list(from_timm(SAME, names_of("mobilenet_v2"))) == list(SAME.values())

    def test_the_table_has_every_module_once(self):
        ours = names_of("mobilenet_v2")
        modules = list(dict.fromkeys(name.rpartition(".")[0] for name in ours))
        assert sorted(TABLE.values()) == sorted(modules)
        assert len(set(TABLE.values())) == len(TABLE) == 105

    def test_every_name_comes_back(self):
        back = {ours: theirs for theirs, ours in TABLE.items()}
        for name in names_of("mobilenet_v2"):
            module, _, leaf = name.rpartition(".")
            theirs = {f"{back[module]}.{leaf}": 1}
            assert from_timm(theirs, names_of("mobilenet_v2")) == {name: 1}

    def test_weights_by_timm_s_names_are_taken(self):
        model = create_model("mobilenet_v2", num_classes=7)
        ours = variables_of(model, channels=3)
        back = {module: theirs for theirs, module in TABLE.items()}
        theirs = {}
        for name, array in to_state_dict(model, ours, counters=True).items():
            module, _, leaf = name.rpartition(".")
            theirs[f"module.{back[module]}.{leaf}"] = array
        assert_same(from_state_dict(model, theirs), ours)

    def test_a_network_with_prm_has_the_same_places_for_them(self):
        own = names_of("prm_mobilenet_v2")
        assert list(from_timm(SAME, own)) == list(SAME.values())

    @pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
    def test_its_resnets_have_our_names(self, depth):
        ours = dict.fromkeys(names_of(f"resnet{depth}"))
        assert from_timm(ours, ours) == ours
        assert {"conv1.weight", "fc.bias", "layer1.1.conv2.weight"} <= ours.keys()
        assert "layer2.0.downsample.1.running_var" in ours

    def test_no_name_of_any_network_is_taken_for_one_of_timm_s(self):
        for name in ("prm_mobilenet_v2", "mnasnet1_0", "se_resnet14", "sk_resnet14"):
            assert name in list_models()
            ours = dict.fromkeys(names_of(name))
            assert from_timm(ours, ours) == ours
