"""Cascade R-CNN: counts, stages, and what is frozen."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.detectors import BUCKETS, CLASSES, NARROW, SIZES, alone, images, small

from prm_flax import complexity
from prm_flax.detection import create_detector, list_detectors, trainable
from prm_flax.detection.roi_head import STAGES
from prm_flax.interop.torch import from_state_dict, to_state_dict

# All parameters: those that Table 4 counts, and stem and stage 1 with their modules.
FROZEN = 9_536 + 215_808
PARAMETERS = {
    "resnet50": 69_169_422 + FROZEN,
    "gc_resnet50": 71_942_766,
    "prm_resnet50": 69_172_789 + FROZEN + 3 * 259,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_of_table_4(name):
    """The paper's tables test what is trained, and multiply-adds."""
    got = complexity(create_detector(f"cascade_rcnn_{name}"), (64, 64))
    assert got.parameters == PARAMETERS[name]


def test_any_network_of_the_zoo_is_a_backbone():
    for name in ("cascade_rcnn_prm_mobilenet_v2", "cascade_rcnn_gc_resnet50"):
        assert name in list_detectors()
    assert create_detector("cascade_rcnn_mnasnet1_0").strides == (4, 8, 16, 32, 64)
    assert create_detector("cascade_rcnn_resnet50").strides == (4, 8, 16, 32, 64)


@functools.cache
def program():
    """(variables, images, sizes, boxes) -> objectness, levels, stages."""
    model, variables = small("cascade_rcnn")

    @jax.jit
    def run(variables, images, sizes, boxes):
        outputs, levels = model.apply(variables, images, sizes)
        stages = model.apply(variables, levels, sizes, boxes, method="stages")
        again = model.apply(variables, images, sizes, boxes, method="stages")
        return outputs, levels, stages, again

    return functools.partial(run, variables)


BOXES = jnp.array([[[0.0, 0, 20, 30], [5, 5, 60, 28], [-3, 2, 70, 80], [9, 9, 9, 9]]])


def of_batch(bucket):
    return program()(images(bucket), SIZES, jnp.repeat(BOXES, len(SIZES), 0))


@pytest.mark.parametrize(
    "bucket", [BUCKETS[0], *(pytest.param(b, marks=pytest.mark.slow) for b in BUCKETS)]
)
def test_an_image_is_what_it_is_in_a_batch_of_one(bucket, x64):
    outputs, levels, stages, _ = of_batch(bucket)
    i = 2
    want = program()(*alone(i), BOXES)
    near = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)
    for got, own in zip(
        jax.tree.leaves((outputs, levels)), jax.tree.leaves(want[:2]), strict=True
    ):
        rows, columns = own.shape[1:3]
        near(got[i, :rows, :columns], own[0])
    jax.tree.map(lambda got, own: near(got[i], own[0]), stages, want[2])


def test_levels_are_taken_in_the_place_of_images(x64):
    _, _, stages, again = of_batch(BUCKETS[0])
    jax.tree.map(np.testing.assert_array_equal, stages, again)


def test_a_stage_s_boxes_are_clipped_to_the_image(x64):
    *_, stages, _ = of_batch(BUCKETS[0])
    assert len(stages) == len(STAGES)
    for stage in stages:
        assert stage.logits.shape == (3, 4, CLASSES + 1)
        assert (stage.boxes >= 0).all()
        assert (stage.boxes <= np.tile(SIZES[:, ::-1], 2)[:, None]).all()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("prm_resnet18", "gc_resnet18")
    ],
)
def test_stem_and_stage_1_are_frozen_their_modules_too(name):
    model, variables = small("cascade_rcnn", name, jnp.float32)
    x = jnp.asarray(images((64, 96))[:1], jnp.float32)

    @jax.jit
    @jax.grad
    def gradients(params):
        both = variables | {"params": params}
        outputs, levels = model.apply(both, x)
        stages = model.apply(
            both, levels, None, BOXES.astype(jnp.float32), method="stages"
        )
        leaves = jax.tree.leaves((outputs, [s[:2] for s in stages]))
        return sum(jnp.square(leaf).sum() for leaf in leaves)

    found = gradients(variables["params"])
    # Of GC's softmax a bias changes nothing, and so gets no gradient anyway.
    moved = jax.tree_util.tree_map_with_path(
        lambda path, leaf: bool(jnp.any(leaf)) or "conv_mask" in str(path), found
    )
    flags = trainable(model, variables["params"])
    frozen = jax.tree.map(lambda moves, trains: moves == trains, moved, flags)
    wrong = [p for p, same in jax.tree_util.tree_leaves_with_path(frozen) if not same]
    assert {jax.tree_util.keystr(p) for p in wrong} <= {
        "['backbone']['layer1_0']['gc']['conv_mask']['kernel']",
        "['backbone']['layer1_0']['gc']['conv_mask']['bias']",
    }


def test_the_first_dense_layer_is_the_reference_s_channels_first():
    """(c, y, x) flattened there, (y x, c) here."""
    model, variables = small("cascade_rcnn", "resnet18", jnp.float32)
    weights = to_state_dict(model, variables)
    flat = weights["roi_head.bbox_head.1.shared_fcs.0.weight"]
    narrow = NARROW["cascade_rcnn"]
    assert flat.shape == (narrow["hidden"], narrow["channels"] * 49)
    own = variables["params"]["roi_head"]["bbox_head_1"]["shared_fcs_0"]["kernel"]
    assert flat[5, 3 * 49 + 8] == own[8, 3, 5]
    back = from_state_dict(model, weights)
    jax.tree.map(np.testing.assert_array_equal, back["params"], variables["params"])
