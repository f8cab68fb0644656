"""Detectors' losses, assignments and gradients against a public detection library's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import golden
from support import golden_detectors as files

from prm_flax.detection import detection_loss, retinanet, rpn, trainable
from prm_flax.detection.dense import DenseOutputs
from prm_flax.detection.levels import own_sizes
from prm_flax.detection.matching import UNUSED
from prm_flax.detection.objective import Assignment
from prm_flax.detection.roi_head import STAGES, choose
from prm_flax.interop.torch import from_state_dict, to_state_dict

FILES = golden.names("det_loss_*")
CASCADE = [n for n in FILES if golden.load(n).meta["detector"] == "cascade"]
RETINANET = [n for n in FILES if n not in CASCADE]
NO_EXTENTS = (None,) * 5


@functools.cache
def computed(name, dtype, frozen=True):
    """The total, the losses, and the gradients by PyTorch's names."""
    file, model = golden.load(name), files.detector(name)
    if not frozen:
        model = model.clone(backbone=model.backbone.clone(frozen_stages=0))
    cast = functools.partial(jnp.asarray, dtype=dtype)
    variables = from_state_dict(model, files.state_dict(name))
    variables = jax.tree.map(cast, variables)
    images, targets = cast(golden.images(file)), files.targets(file)
    targets = targets._replace(boxes=cast(targets.boxes))
    given = files.of_images(file, "proposals")
    proposals = cast(np.stack(given)) if given else None

    @jax.jit
    def run(variables, images, targets, proposals):
        def loss(params):
            both = variables | {"params": params}
            total, losses, statistics = detection_loss(
                model,
                both,
                images,
                None,
                targets,
                None,
                sampling="all",
                proposals=proposals,
            )
            return total, (losses, statistics)

        return jax.value_and_grad(loss, has_aux=True)(variables["params"])

    (total, (losses, statistics)), gradients = run(
        variables, images, targets, proposals
    )
    jax.tree.map(np.testing.assert_array_equal, statistics, variables["batch_stats"])
    return total, losses, to_state_dict(model, variables | {"params": gradients})


def wanted_losses(file):
    """By name: those of levels summed."""
    return {
        name: array.sum()
        for name, array in file.arrays.items()
        if name.split("/")[-1].startswith("loss_") and name != "loss_total"
    }


def assert_losses(name, dtype, relative):
    file = golden.load(name)
    total, losses, _ = computed(name, dtype)
    np.testing.assert_allclose(total, file.arrays["loss_total"], relative)
    wanted = wanted_losses(file)
    assert losses.keys() == wanted.keys()
    for each, want in wanted.items():
        np.testing.assert_allclose(losses[each], want, relative, err_msg=each)


@pytest.mark.parametrize("name", FILES)
def test_losses_float64(name, x64):
    assert_losses(name, jnp.float64, 1e-9)


@pytest.mark.parametrize("name", golden.all_but((), FILES))
def test_losses_float32(name):
    assert_losses(name, jnp.float32, 1e-5)


@pytest.mark.parametrize("name", FILES)
def test_gradients_float64(name, x64):
    file, (_, _, gradients) = golden.load(name), computed(name, jnp.float64)
    for each, want in file.under("grad").items():
        near = 1e-9 * np.abs(want).max()
        np.testing.assert_allclose(gradients[each], want, 1e-9, near, err_msg=each)


def assert_norms(name, dtype, relative):
    file, (_, _, gradients) = golden.load(name), computed(name, dtype)
    for each, want in zip(
        file.arrays["trainable"], file.arrays["grad_norms"], strict=True
    ):
        got = np.linalg.norm(np.asarray(gradients[str(each)], np.float64))
        np.testing.assert_allclose(got, want, relative, err_msg=str(each))


@pytest.mark.parametrize("name", FILES)
def test_norms_of_the_gradients_float64(name, x64):
    assert_norms(name, jnp.float64, 1e-8)


@pytest.mark.parametrize("name", golden.all_but((), FILES))
def test_norms_of_the_gradients_float32(name):
    assert_norms(name, jnp.float32, 5e-3)


@pytest.mark.parametrize("name", FILES)
def test_what_the_reference_does_not_train_gets_no_gradient(name, x64):
    file, (_, _, gradients) = golden.load(name), computed(name, jnp.float64)
    trained = set(map(str, file.arrays["trainable"]))
    statistics = {n for n in gradients if ".running_" in n}
    frozen = gradients.keys() - trained - statistics
    assert any(".layer1.0." in each for each in frozen)
    assert not any(gradients[each].any() for each in frozen)
    assert trained_by_us(name) == trained


def trained_by_us(name):
    model = files.detector(name)
    variables = from_state_dict(model, files.state_dict(name))
    flags = jax.tree.map(
        lambda leaf, flag: np.full(leaf.shape, flag, np.float32),
        variables["params"],
        trainable(model, variables["params"]),
    )
    named = to_state_dict(model, variables | {"params": flags})
    return {n for n, flag in named.items() if flag.all() and ".running_" not in n}


@pytest.mark.parametrize("name", golden.all_but((), FILES))
def test_what_the_frozen_stage_would_get(name, x64):
    file = golden.load(name)
    total, _, gradients = computed(name, jnp.float64, frozen=False)
    np.testing.assert_allclose(total, file.arrays["loss_total"], 1e-9)
    for each, want in file.under("grad_stage1").items():
        near = 1e-9 * np.abs(want).max()
        np.testing.assert_allclose(gradients[each], want, 1e-9, near, err_msg=each)


def shapes_of(name):
    """What the head says, without numbers, and the images' sizes."""
    file, model = golden.load(name), files.detector(name)
    x = golden.images(file)
    variables = from_state_dict(model, files.state_dict(name))
    found = jax.eval_shape(model.apply, variables, x)
    outputs = found if isinstance(found, DenseOutputs) else found[0]
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), outputs)
    return zeros, model.strides, own_sizes(None, len(x), x.shape[1:3], jnp.float64)


def assert_assigned(got, want):
    """The files count objects from 1: background is 0, ignored -1, unused -2."""
    got = np.asarray(got)
    np.testing.assert_array_equal(np.where(got == UNUSED, -2, got + 1), want)


@pytest.mark.parametrize("name", RETINANET)
def test_assignment(name, x64):
    file = golden.load(name)
    outputs, strides, _ = shapes_of(name)
    _, got = retinanet.assigned(outputs, strides, NO_EXTENTS, files.targets(file))
    assert_assigned(got, np.stack(files.of_images(file, "assigned")))


@pytest.mark.parametrize("name", CASCADE)
def test_assignment_of_proposals(name, x64):
    file = golden.load(name)
    outputs, strides, sizes = shapes_of(name)
    targets = files.targets(file)
    _, got = rpn.assigned(outputs, strides, NO_EXTENTS, sizes, targets)
    assert_assigned(got, np.stack(files.of_images(file, "rpn_assigned")))


@pytest.mark.parametrize("name", CASCADE)
def test_assignment_of_stages(name, x64):
    file = golden.load(name)
    targets = files.targets(file)
    for k, rule in enumerate(STAGES):
        boxes = jnp.stack(files.of_images(file, f"stage_rois/stage{k}"))
        valid = jnp.ones(boxes.shape[:2], bool)
        got = choose(boxes, valid, targets, rule.overlap, Assignment(), k)
        added = targets.valid.shape[1]
        assert not got.proposed[:, :added].any()
        wanted = np.stack(files.of_images(file, f"assigned/stage{k}"))
        assert_assigned(got.matched[:, added:], wanted)
