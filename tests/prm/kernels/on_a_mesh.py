"""Compiles a network's gradient for four chips that are not there; prints as JSON.

A process of its own: it must not look for the chips, and not know any other.
"""

import json
import re
import sys
from collections import Counter

from train.preflight.chips import parse_topology
from train.preflight.compile import devices_of, prepare

KERNEL = re.compile(r'custom_call_target="(tpu_custom_call|__gpu\$xla\.gpu\.triton)"')
COLLECTIVE = re.compile(
    r" (all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute)"
    r"(?:-start)?\("
)


def compiled(topology: str, kind: str) -> str:
    """The program's text, of images shared among both axes of a mesh."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

    from prm_flax import create_model

    chips = np.array(devices_of(parse_topology(topology))).reshape(2, 2)
    mesh = Mesh(chips, ("data", "model"), axis_types=(AxisType[kind],) * 2)
    network = create_model("prm_resnet14", 10, groups=16, batch_norm=8)
    network = network.clone(depths=(1, 1, 1))

    def on(spec, tree):
        where = NamedSharding(mesh, spec)
        return jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=where), tree
        )

    def loss(params, rest, x):
        variables = {"params": params, **rest}
        y, new = network.apply(variables, x, train=True, mutable=["batch_stats"])
        return jnp.square(y).sum(), new

    with jax.set_mesh(mesh):
        x = jax.ShapeDtypeStruct((64, 32, 32, 3), jnp.float32)
        x = on(PartitionSpec(("data", "model")), x)
        shapes = jax.eval_shape(lambda x: network.init(jax.random.key(0), x), x)
        variables = on(PartitionSpec(), shapes)
        inputs = variables.pop("params"), variables, x
        return jax.jit(jax.grad(loss, has_aux=True)).lower(*inputs).compile().as_text()


if __name__ == "__main__":
    prepare(parse_topology(sys.argv[1]))
    text = compiled(*sys.argv[1:])
    found = {
        "kernels": len(KERNEL.findall(text)),
        "collectives": Counter(COLLECTIVE.findall(text)),
    }
    print(json.dumps(found))
