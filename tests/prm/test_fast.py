"""Which form of PRM runs where; a network with kernels is the same network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh

from prm_flax import PRM, complexity, create_model
from prm_flax.layers.device import Device, portable
from prm_flax.nnx import PRM as NNXPRM
from prm_flax.prm import fast

DEVICES = {
    "v5e": Device("tpu", "TPU v5 lite"),
    "v6e": Device("tpu", "TPU v6 lite"),
    "h100": Device("gpu", "NVIDIA H100 80GB HBM3"),
}


def features(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


@pytest.fixture
def one_device(monkeypatch):
    """As if there were one device, of the kind that is asked for."""

    def set_(device: Device):
        monkeypatch.setattr(fast, "device", lambda: device)
        monkeypatch.setattr(fast, "_shares", lambda x: 1)

    return set_


@pytest.fixture(params=["tpu", "gpu"])
def kernel(request, monkeypatch):
    """A platform's kernel in every PRM that it fits, run step by step on the CPU."""
    real = fast.BY_PLATFORM[request.param]
    stepwise = real._replace(
        platform="cpu",
        forward=lambda *arguments: real.forward(*arguments[:-1], True),
        backward=lambda *arguments: real.backward(*arguments[:-1], True),
    )
    taken = []

    def choose(x, groups, runs=1):
        if x.ndim != 4 or not real.fits(x.shape, x.dtype.itemsize, groups, runs):
            return None
        taken.append(x.shape)
        return stepwise

    monkeypatch.setattr(fast, "choose", choose)
    return taken


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("size", [(56, 256), (28, 512), (14, 1024), (7, 2048)])
def test_the_maps_of_resnet50_have_kernels(one_device, name, size):
    one_device(DEVICES[name])
    hw, c = size
    x = features(32, hw, hw, c, dtype=jnp.bfloat16)
    assert fast.choose(x, 64, runs=1) is fast.BY_PLATFORM[DEVICES[name].platform]


@pytest.mark.parametrize(
    ("device", "x"),
    [
        (Device("cpu", "cpu"), features(8, 7, 7, 64)),
        (Device("gpu", "AMD MI300X"), features(8, 7, 7, 64)),
        (Device("tpu", "TPU v4"), features(8, 7, 7, 64)),
        (DEVICES["h100"], features(7, 7, 64)),
        (DEVICES["h100"], features(8, 7, 7, 48)),
        (DEVICES["v5e"], features(8, 200, 334, 256, dtype=jnp.bfloat16)),
    ],
    ids=[
        "a CPU",
        "another GPU",
        "a small TPU",
        "one image",
        "odd groups",
        "a large map",
    ],
)
def test_everywhere_else_the_definition_runs(one_device, device, x):
    one_device(device)
    assert fast.choose(x, 16) is None


def test_float64_has_no_kernel(one_device, x64):
    one_device(DEVICES["h100"])
    assert fast.choose(features(8, 7, 7, 64, dtype=jnp.float64), 16) is None


def test_portable_programs_have_none():
    with portable():
        assert fast.choose(features(8, 7, 7, 64), 16) is None


def test_several_devices_without_a_mesh_have_none(monkeypatch):
    monkeypatch.setattr(fast, "device", lambda: DEVICES["h100"])
    assert jax.device_count() > 1
    assert fast.choose(features(8, 7, 7, 64), 16) is None


@pytest.mark.parametrize(
    ("images", "runs", "found"),
    [(8, 1, True), (8, 4, True), (8, 2, False), (6, 1, False)],
)
def test_a_mesh_shares_images_and_whole_runs(monkeypatch, images, runs, found):
    monkeypatch.setattr(fast, "device", lambda: DEVICES["h100"])
    with jax.set_mesh(Mesh(np.array(jax.devices()[:4]), ("data",))):
        assert (fast.choose(features(images, 7, 7, 64), 16, runs) is not None) == found


def test_the_option_turns_kernels_off(kernel):
    x = jnp.ones((2, 4, 4, 16))
    for prm in (PRM(4, kernel="xla"), PRM(4)):
        prm.apply(prm.init(jax.random.key(0), x), x)
    for choice in ("xla", "auto"):
        NNXPRM(4, kernel=choice, rngs=nnx.Rngs(0))(x)
    assert kernel == [x.shape] * 2


@pytest.mark.parametrize("make", [PRM, functools.partial(NNXPRM, rngs=nnx.Rngs(0))])
def test_an_unknown_choice_names_the_nearest(make):
    with pytest.raises(ValueError, match="xla"):
        prm = make(4, kernel="xl")
        prm.init(jax.random.key(0), jnp.ones((2, 4, 4, 16)))


def small(**options):
    """One block a stage has every way a PRM is called in."""
    return create_model("prm_resnet14", 5, **options).clone(depths=(1, 1, 1))


def loss_and_gradients(x, **options):
    model = small(groups=16, batch_norm=8, **options)
    variables = model.init(jax.random.key(0), x)
    # λ = 0 at the start would leave most of a PRM without a part.
    variables = jax.tree_util.tree_map_with_path(_stirred, variables)

    @jax.jit
    def run(params, x):
        def loss(params, x):
            y, new = model.apply(
                {**variables, "params": params}, x, train=True, mutable=["batch_stats"]
            )
            return (y * jnp.arange(5.0)).sum(), new

        return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, x)

    return run(variables["params"], x)


def _stirred(path, leaf):
    if path[-1].key not in ("alpha", "lam"):
        return leaf
    return leaf + 0.1 * jnp.arange(1.0, 1.0 + leaf.size)


# Eight images a run: a TPU's block holds images of one run.
def test_a_network_with_kernels_is_the_same_network(kernel):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(16, 16, 16, 3)), jnp.float32)
    got = loss_and_gradients(x)
    assert kernel
    want = loss_and_gradients(x, kernel="xla")
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        a, b = np.float64(a), np.float64(b)
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-3 * (1e-2 + np.abs(b).max()))


def test_who_watches_sees_the_layers(kernel):
    x = jnp.ones((2, 16, 16, 3))
    model = small(groups=4)
    variables = model.init(jax.random.key(0), x)
    _, state = model.apply(
        variables, x, mutable=["intermediates"], capture_intermediates=True
    )
    assert "maps" in state["intermediates"]["layer1_0"]["prm"]
    assert "__call__" in state["intermediates"]["layer1_0"]["bn2"]
    assert complexity(model, (16, 16)) and not kernel
