"""Detectors' networks against the numbers of a public detection library."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import golden
from support import golden_detectors as files

from prm_flax.detection.levels import own_sizes
from prm_flax.detection.roi_head import Pyramid
from prm_flax.interop.torch import from_state_dict, to_state_dict

RETINANET = golden.names("det_net_retinanet_*")
CASCADE = golden.names("det_net_cascade_*")
QUICK = {
    "det_net_retinanet_prm_resnet50_128x160_b2",
    "det_net_cascade_prm_resnet50_128x160_b2",
}
PARAMETERS = golden.all_but(QUICK, RETINANET + CASCADE)
# Arrays' first part -> at most so far from what float32 computes.
FLOAT32 = {"boxes_out": 5e-4}


@functools.cache
def network(name):
    model = files.detector(name)
    return model, from_state_dict(model, files.state_dict(name))


@functools.cache
def computed(name, dtype):
    """All that a file has of a network, by the file's names, in the file's layout."""
    model, variables = network(name)
    cast = functools.partial(jnp.asarray, dtype=dtype)
    run = {"retinanet": retinanet, "cascade": cascade}
    run = run[golden.load(name).meta["detector"]]
    images = cast(golden.images(golden.load(name)))
    proposals = golden.load(name).under("proposals")
    boxes = cast(np.stack(files.of_images(golden.load(name), "proposals") or [[]]))
    assert bool(proposals) == bool(boxes.size)
    made = jax.jit(functools.partial(run, model))
    return made(jax.tree.map(cast, variables), images, boxes)


def retinanet(model, variables, images, _):
    found = means(model.apply(variables, images, method="pyramid")[0], "fpn_mean/level")
    return found | dense(model.apply(variables, images), "")


def cascade(model, variables, images, boxes):
    outputs, levels = model.apply(variables, images)
    found = means(levels, "fpn_mean/level") | dense(outputs, "rpn_")
    stages = model.apply(variables, levels, None, boxes, method="stages")
    for k, stage in enumerate(stages):
        align = Pyramid(
            levels[:-1],
            model.strides[:-1],
            None,
            own_sizes(None, len(images), images.shape[1:3], images.dtype),
        )
        features = align.features(boxes)[..., :32].mean((2, 3))
        found[f"roi_feature_mean/stage{k}"] = features.reshape(-1, 32)
        found[f"logits/stage{k}"] = stage.logits.reshape(-1, stage.logits.shape[-1])
        found[f"deltas/stage{k}"] = stage.deltas.reshape(-1, 4)
        found[f"boxes_out/stage{k}"] = stage.boxes.reshape(-1, 4)
        boxes = stage.boxes
    return found


def means(levels, prefix):
    return {f"{prefix}{k}": x[..., :32].mean((1, 2)) for k, x in enumerate(levels)}


def dense(outputs, prefix):
    """The maps with channels first, some every seventh number only."""
    found = {}
    for kind, maps in (("cls", outputs.logits), ("reg", outputs.deltas)):
        for k, x in enumerate(maps):
            x = jnp.moveaxis(x.reshape(*x.shape[:3], -1), -1, 1)
            found[f"{prefix}{kind}/level{k}"] = x
            found[f"{prefix}{kind}_every7/level{k}"] = x.ravel()[::7]
    return found


def arrays_of(name, dtype):
    """What came, what is right, and the latter's name."""
    got, wanted = computed(name, dtype), golden.load(name).arrays
    given = {"names", "shapes", *(n for n in wanted if n.startswith("proposals/"))}
    stages = {n for n in wanted if n.startswith("stage/")}
    for key in wanted.keys() - given - stages:
        yield np.asarray(got[key]), wanted[key], key


@pytest.mark.parametrize("name", PARAMETERS)
def test_outputs_float64(name, x64):
    for got, want, key in arrays_of(name, jnp.float64):
        at_most = 1e-9 * want.std()
        np.testing.assert_allclose(got, want, rtol=0, atol=at_most, err_msg=key)


@pytest.mark.parametrize("name", golden.all_but((), RETINANET + CASCADE))
def test_outputs_float32(name):
    for got, want, key in arrays_of(name, jnp.float32):
        at_most = FLOAT32.get(key.split("/")[0], 1e-4)
        np.testing.assert_allclose(got, want, rtol=0, atol=at_most, err_msg=key)


@pytest.mark.parametrize("name", PARAMETERS)
def test_stages_of_the_backbone_float64(name, x64):
    """What a detector sees are the classifier's features."""
    model, variables = network(name)
    cast = functools.partial(jnp.asarray, dtype=jnp.float64)
    own = {kind: jax.tree.map(cast, v["backbone"]) for kind, v in variables.items()}
    file = golden.load(name)
    found = jax.jit(model.backbone.apply)(own, cast(golden.images(file)))
    for layer, want in file.under("stage").items():
        got = found[layer.replace("layer", "stage")][..., :32].mean((1, 2))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-9 * want.std())


@pytest.mark.parametrize("name", PARAMETERS)
def test_weights_come_back_by_the_reference_s_names(name):
    model, variables = network(name)
    weights = files.state_dict(name)
    back = to_state_dict(model, variables)
    assert back.keys() == weights.keys()
    for each, want in weights.items():
        np.testing.assert_array_equal(back[each], want)
