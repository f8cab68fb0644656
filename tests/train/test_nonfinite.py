"""What is said of a bad step: the layer where it began, and the images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.bad_nets import (
    FarApart,
    NanGradient,
    NoClassThree,
    Overflows,
    poisoned,
    with_pixel,
)
from support.nets import (
    OPTIMIZER,
    Net,
    batch,
    new_state,
    prepare,
    task,
    train_step,
)

from prm_flax import create_model
from train import sharding
from train.nonfinite import layers_in_order, make_diagnosis
from train.state import init_state
from train.tasks.mixup import make_mix

FIRST_INDEX = 100


def to_float(images):
    return prepare(images, jnp.float32)


def numbered(images):
    rows = len(images["label"])
    return images | {"index": np.arange(FIRST_INDEX, FIRST_INDEX + rows)}


def after_step(model, images, ready=to_float, state=None):
    """The state after a step with the images, and what the diagnosis says of it."""
    state = new_state(model) if state is None else state
    step = jax.jit(train_step(model, OPTIMIZER, ready))
    after = step(state, images)
    return after, make_diagnosis(task(model, ready))(after, numbered(images))


def bright(*rows):
    images = batch(0)
    image = images["image"] // 2
    image[list(rows)] = 255
    return images | {"image": image}


def test_poisoned_images_are_named():
    model = Net()
    images = with_pixel(batch(0), 3, 12)
    after, message = after_step(model, images, poisoned(model))
    assert int(after.bad_step) == 1
    assert message == (
        "step 1: the loss is not finite; the prepared images are not finite; "
        "images: 103, 112"
    )


@pytest.mark.parametrize("remat", [False, True])
def test_the_first_bad_layer_is_named_with_its_images(remat):
    """Batch norm spoils the other images of a run after it."""
    net = Overflows(remat=remat)
    kernel = new_state(net).params["block"]["z"]["kernel"]
    state = new_state(net)
    params = state.params | {
        "block": state.params["block"]
        | {"z": {"kernel": jnp.full_like(kernel, 1.0), "bias": jnp.zeros(4)}}
    }
    after, message = after_step(net, bright(2, 9), state=state.replace(params=params))
    assert int(after.bad_step) == 1
    assert message == (
        "step 1: the loss is not finite; first bad layer: block/middle (output); "
        "images: 102, 109"
    )


@pytest.mark.parametrize(
    "model, place",
    [(NoClassThree(), "first bad layer: the network (output)"), (FarApart(), None)],
)
def test_a_loss_that_depends_on_the_label_names_those_images(model, place):
    images = batch(0)
    after, message = after_step(model, images)
    assert int(after.bad_step) == 1
    rows = np.flatnonzero(images["label"] == 3)
    assert 0 < len(rows) < 8
    assert message == (
        f"step 1: the loss is not finite{'; ' + place if place else ', the logits are'}"
        f"; images: {', '.join(str(FIRST_INDEX + row) for row in rows)}"
    )


def test_a_bad_gradient_names_the_layer_it_comes_from():
    after, message = after_step(NanGradient(), batch(0))
    assert int(after.bad_step) == 1
    assert message == (
        "step 1: the loss is finite; first bad layer: fragile (gradient); "
        "images: all 16"
    )


def test_a_bad_running_statistic_is_named():
    """A channel far out: its variance overflows, its output is the bias."""
    state = new_state(Net())
    first = state.params["Conv_0"]["kernel"].at[..., 2].mul(1e30)
    params = state.params | {"Conv_0": {**state.params["Conv_0"], "kernel": first}}
    after, message = after_step(Net(), batch(0), state=state.replace(params=params))
    assert int(after.bad_step) == 1
    assert message == "step 1: the loss is finite; not finite: BatchNorm_0/var"


def test_parameters_that_were_not_finite_are_named():
    state = new_state(Net())
    params = state.params | {
        "Dense_0": {**state.params["Dense_0"], "bias": jnp.full(5, jnp.nan)}
    }
    _, message = after_step(Net(), batch(0), state=state.replace(params=params))
    assert message == "step 1: not finite before it: params/Dense_0/bias"


def test_a_step_that_is_finite_again_says_so():
    message = make_diagnosis(task(Net(), to_float))(
        new_state(Net()), numbered(batch(0))
    )
    assert message.startswith("step 1: loss and gradients are finite when they are")


def test_many_images_are_counted():
    model, rows = Net(), range(10)
    _, message = after_step(model, with_pixel(batch(0), *rows), poisoned(model))
    assert message.endswith("images: 100, 101, 102, 103, 104, 105, 106, 107 and 2 more")


def test_mixed_images_are_named_with_their_partners():
    model, mix = Net(), make_mix(0.4, 0.0)
    images = with_pixel(batch(0), 6)
    step = train_step(model, OPTIMIZER, poisoned(model), mix=mix)
    after = jax.jit(step)(new_state(model), images)
    diagnose = make_diagnosis(task(model, poisoned(model), mix=mix))
    assert diagnose(after, numbered(images)).endswith("images: 106, 107")


def test_it_takes_a_state_and_a_batch_on_several_devices():
    mesh, model = sharding.make_mesh(), Net()
    images = with_pixel(batch(0), 5)
    step = sharding.jit_train_step(mesh, train_step(model, OPTIMIZER, poisoned(model)))
    placed = sharding.put_batch(mesh, images)
    after = step(sharding.put_state(mesh, new_state(model)), placed)
    message = make_diagnosis(task(model, poisoned(model)))(
        after, placed | {"index": numbered(images)["index"]}
    )
    assert message.endswith("images: 105")


@pytest.mark.parametrize("remat", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_prm_inside_a_network_is_named(remat):
    model = create_model("prm_resnet14", 5, stem="3x3", remat=remat)
    model = model.clone(depths=(1, 1, 1))
    state = jax.jit(lambda: init_state(task(model), OPTIMIZER, 0))()
    params = jax.tree.map(lambda a: a, state.params)
    prm = params["layer2_0"]["prm"]
    prm["alpha"] = jnp.full_like(prm["alpha"], 3e38)
    _, message = after_step(model, batch(0), state=state.replace(params=params))
    assert "first bad layer: layer2_0/prm (output)" in message


def test_layers_come_in_the_order_of_the_computation():
    order = layers_in_order(
        task(Overflows(remat=True), to_float),
        new_state(Overflows()).variables,
        batch(0),
    )
    assert order == ["block/z", "block/middle", "block/a", "block", "last", ""]
