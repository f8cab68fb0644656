"""The compared modules against the numbers of their public programs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import golden

from prm_flax.attention import CBAM, GC, GE, SE, SGE
from prm_flax.backbones.blocks import Bottleneck
from prm_flax.interop.shapes import flatten
from prm_flax.layers.basic import Layers


def block(meta):
    """SK's files are of a whole bottleneck."""
    return Bottleneck(
        meta["planes"],
        meta["stride"],
        stage=1,
        layers=Layers(None, jnp.float32, "global", 0.9, 1e-5),
        recalibration=None,
        slot="sk",
        selective=True,
        zero_init=False,
    )


MODULES = {
    "SE": lambda meta: SE(meta["reduction"]),
    "GE": lambda meta: GE(meta["extent"]),
    "CBAM": lambda meta: CBAM(meta["reduction"]),
    "SK": block,
    "GC": lambda meta: GC(meta["shape_nchw"][1] // meta["planes"]),
    "SGE": lambda meta: SGE(meta["groups"]),
}
FILES = [
    name
    for prefix in ("se", "ge", "cbam", "sk", "gc", "sge")
    for name in golden.names(f"{prefix}_*")
]


@functools.cache
def module_of(name):
    """The module, and its leaves by PyTorch's names."""
    meta = golden.load(name).meta
    _, channels, h, w = meta["shape_nchw"]
    module = MODULES[meta["module"]](meta)
    return module, golden.entries(module, (h, w, channels))


def computed(name, dtype):
    """y, gradients of sum(y·r) in the variables and x, and the new statistics."""
    file = golden.load(name)
    module, named = module_of(name)
    tree = golden.leaves(named, file.under("param") | file.under("buffer"))
    x, r = (golden.to_nhwc(file.arrays[each]) for each in ("x", "r"))

    @jax.jit
    def run(tree, x, r):
        def call(tree, x):
            train = file.meta["train"]
            return module.apply(tree, x, train=train, mutable=["batch_stats"])

        y, pull, new = jax.vjp(call, tree, x, has_aux=True)
        return y, *pull(r), new

    return run(*jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (tree, x, r)))


def assert_near(got, want):
    """1e-10, or what arrays that are stored as float32 can tell."""
    exact = want.dtype == np.float64
    near = {"rtol": 0, "atol": 1e-10} if exact else {"rtol": 1e-6, "atol": 1e-6}
    np.testing.assert_allclose(got, want, **near)


def flat(tree, named):
    """Leaves by PyTorch's names, in PyTorch's layout."""
    leaves = flatten(tree)
    return {
        name: entry.layout.to_torch(np.asarray(leaves[entry.path]))
        for name, entry in named.items()
        if entry.path in leaves
    }


@pytest.mark.parametrize("name", FILES)
def test_float64(name, x64):
    file, (_, named) = golden.load(name), module_of(name)
    y, gradients, grad_x, new = computed(name, jnp.float64)
    assert_near(y, golden.to_nhwc(file.arrays["y"]))
    assert_near(grad_x, golden.to_nhwc(file.arrays["grad_x"]))
    gradients, new = flat(gradients, named), flat(new, named)
    for each, want in file.under("grad").items():
        assert_near(gradients[each], want)
    for each, want in file.under("buffer_after").items():
        assert_near(new[each], want)


@pytest.mark.parametrize("name", FILES)
def test_float32(name):
    file, (_, named) = golden.load(name), module_of(name)
    y, gradients, grad_x, _ = computed(name, jnp.float32)
    want = golden.to_nhwc(file.arrays["y"])
    np.testing.assert_allclose(y, want, rtol=2e-5, atol=2e-5)
    loose = 1e-4 if name.startswith(("gc_", "sk_")) else 2e-5
    near = functools.partial(np.testing.assert_allclose, rtol=loose, atol=loose)
    near(grad_x, golden.to_nhwc(file.arrays["grad_x"]))
    gradients = flat(gradients, named)
    for each, want in file.under("grad").items():
        near(gradients[each], want)
