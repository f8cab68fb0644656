"""PRM as products of matrices: where it is taken, and what its program holds."""

import jax
import jax.numpy as jnp
from support import prm_cases as cases

from prm_flax import recalibrate
from prm_flax.layers.device import Device
from prm_flax.prm import fast
from prm_flax.prm.kernels import products


def test_a_module_takes_it_on_a_tpu_alone(monkeypatch):
    x = jnp.ones((1, 2, 2, 4))
    assert fast.form("auto", x) is not products.recalibrate
    monkeypatch.setattr(fast, "device", lambda: Device("tpu", "TPU v5 lite"))
    assert fast.form("auto", x) is products.recalibrate
    assert fast.form("xla", x) is recalibrate


def test_its_derivative_has_no_scatter():
    x = jax.ShapeDtypeStruct((2, 14, 14, 64), jnp.float32)
    params = jax.eval_shape(lambda: cases.as_jax(cases.params(0, 16), jnp.float32))

    def program(form):
        gradient = jax.grad(lambda x, params: form(x, params).sum(), (0, 1))
        return jax.jit(gradient).lower(x, params).as_text()

    ours = program(products.recalibrate)
    assert "stablehlo.scatter" not in ours
    assert "stablehlo.dot_general" in ours
    assert "stablehlo.scatter" in program(recalibrate)


def test_groups_that_fill_a_register_are_the_definition():
    x = jax.ShapeDtypeStruct((2, 6, 6, 256), jnp.float32)

    def products_of(groups):
        params = jax.eval_shape(
            lambda: cases.as_jax(cases.params(0, groups), "float32")
        )
        text = jax.jit(products.recalibrate).lower(x, params).as_text()
        return text.count("stablehlo.dot_general")

    assert products_of(2) == 0
    assert products_of(4) > 0
