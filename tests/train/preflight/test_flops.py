"""Operations of a traced program: by hand, and as XLA counts them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from prm_flax import complexity, create_model
from train.preflight.flops import flops


def count(function, *shapes):
    arguments = [jnp.zeros(shape) for shape in shapes]
    return flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def test_a_product():
    assert count(lambda x, y: x @ y, (3, 5), (5, 7)) == 2 * 3 * 5 * 7


def test_products_of_a_batch():
    assert count(lambda x, y: x @ y, (2, 3, 5), (2, 5, 7)) == 2 * 2 * 3 * 5 * 7


def test_the_rest_is_not_counted():
    assert count(lambda x: jnp.exp(x).sum() + x.max(), (3, 5)) == 0


def test_a_loop_counts_as_often_as_it_runs():
    def function(x, y):
        return lax.scan(lambda total, _: (total @ y, None), x, None, length=6)[0]

    assert count(function, (3, 5), (5, 5)) == 6 * 2 * 3 * 5 * 5


def test_of_branches_the_largest_counts():
    def function(x, y):
        return lax.cond(x[0, 0] > 0, lambda: x @ y, lambda: x)

    assert count(function, (3, 5), (5, 5)) == 2 * 3 * 5 * 5


def test_recomputed_products_count_again():
    def loss(x, y):
        return jax.checkpoint(lambda x: jnp.sin(jnp.sin(x @ y) @ y))(x).sum()

    plain, again = 2 * 2, 2 * 2 + 1  # the last product's result is not needed again
    one = 2 * 3 * 5 * 5
    counted = count(jax.grad(loss), (3, 5), (5, 5))
    assert plain * one <= counted <= (again + 1) * one


def test_a_padded_convolution_leaves_its_padding_out():
    def function(x, kernel):
        return lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    # 3 taps at 4 places, one of them outside at either end: 10 of 12, twice.
    assert count(function, (2, 4, 4, 3), (3, 3, 3, 5)) == 2 * 2 * 3 * 5 * 10 * 10


CONVOLUTIONS = {
    "plain": {},
    "strided": {"window_strides": (2, 2)},
    "dilated": {"rhs_dilation": (2, 2)},
    "groups": {"feature_group_count": 4},
    "valid": {"padding": "VALID", "window_strides": (2, 3)},
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_and_gradients_as_xla_counts_them(name):
    options = {"window_strides": (1, 1), "padding": "SAME"} | CONVOLUTIONS[name]
    groups = options.get("feature_group_count", 1)
    x, kernel = np.ones((2, 9, 8, 8), "f"), np.ones((3, 3, 8 // groups, 12), "f")

    def loss(x, kernel, y):
        return jnp.vdot(convolve(x, kernel), y)

    def convolve(x, kernel):
        return lax.conv_general_dilated(
            x, kernel, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options
        )

    y = np.ones(jax.eval_shape(convolve, x, kernel).shape, "f")
    for function in (
        lambda x, kernel, y: convolve(x, kernel),
        jax.value_and_grad(loss, argnums=0),
        jax.value_and_grad(loss, argnums=1),
    ):
        traced = jax.jit(function).trace(x, kernel, y)
        got = flops(traced.jaxpr.jaxpr)
        want = traced.lower().cost_analysis()["flops"]
        # XLA also counts what is not a convolution: here sums over y at most.
        assert got <= want <= got + 3 * y.size


def test_a_network_against_its_multiply_adds():
    """Less: `complexity` counts padding, and nothing needs the images' gradient."""
    model = create_model("prm_resnet14", 10, stem="3x3_stride2", groups=8)
    images = jnp.zeros((2, 28, 28, 1))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)

    def loss(params, stats, images):
        return model.apply({"params": params, "batch_stats": stats}, images).sum()

    traced = jax.jit(jax.value_and_grad(loss)).trace(
        variables["params"], variables["batch_stats"], images
    )
    macs = complexity(model, (28, 28, 1)).macs
    assert 0.75 < flops(traced.jaxpr.jaxpr) / (2 * 3 * 2 * macs) < 1
