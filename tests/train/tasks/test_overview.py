"""What a run says of its parameters."""

import jax
import jax.numpy as jnp

from prm_flax import create_model
from train.tasks.metrics import parameter_line, parameter_table


def test_every_parameter_is_in_the_table_and_counted_once():
    model = create_model("prm_resnet14", 10, groups=8)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 28, 28, 1)))
    params = shapes["params"]
    table, line = parameter_table(params), parameter_line(params)
    assert "layer1_0/prm/alpha" in table and "Total: 175,180" in table
    modules = dict(part.rsplit(" ", 1) for part in line.split(", "))
    assert modules.keys() == params.keys()
    assert sum(int(size.replace(",", "")) for size in modules.values()) == 175_180
