"""Every module on every kind of mesh has the values that it has on one device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from support.matrix import assert_near
from support.networks import one_block_a_stage, random_variables
from support.subjects import NETWORKS, SUBJECTS, subject

from prm_flax import list_models

pytestmark = pytest.mark.usefixtures("x64")
MODULES = [name for name in SUBJECTS if name not in NETWORKS]
IMAGES, WHOLE = PartitionSpec("d"), PartitionSpec()
SPLITS = {
    "images": IMAGES,
    "rows": PartitionSpec(None, "d"),
    "columns": PartitionSpec(None, None, "d"),
    "channels": PartitionSpec(None, None, None, "d"),
    "images and rows": PartitionSpec("d", "e"),
    "images and columns": PartitionSpec("d", None, "e"),
    "rows over both axes": PartitionSpec(None, ("d", "e")),
}
# For every module at each change; PRM has them all.
FEW = ("images", "rows", "channels", "images and columns")
# Their 1×1 convolutions would have to add over devices, which Flax does not ask for.
NO_CHANNELS = ("gc", "sk")


def quick(*names):
    """Subjects as a test's parameters; but for these and the modules they wait."""
    few = [name for name in NETWORKS if name not in names]
    return [
        pytest.param(name, marks=pytest.mark.slow if name in few else ())
        for name in SUBJECTS
    ]


def known(name):
    """The subject, and its gradients on one device."""
    s = subject(name)
    return s, s.gradients


def mesh_of(*sizes, kind=AxisType.Auto):
    names = ("d", "e")[: len(sizes)]
    devices = jax.devices()[: np.prod(sizes)]
    return jax.make_mesh(sizes, names, (kind,) * len(sizes), devices=devices)


def put(mesh, spec, tree):
    return jax.device_put(tree, NamedSharding(mesh, spec))


@pytest.mark.parametrize(
    ("name", "check_vma"),
    [
        pytest.param(n, c, marks=() if c or n in ("linen", "se") else pytest.mark.slow)
        for n in SUBJECTS
        for c in (True, False)
    ],
)
def test_shard_map(name, check_vma):
    """Gradients of the map."""
    s, want = known(name)

    def own(variables, x):
        return jax.lax.psum(s.loss(variables, x), "d")

    total = jax.shard_map(
        own,
        mesh=mesh_of(2),
        in_specs=(WHOLE, IMAGES),
        out_specs=WHOLE,
        check_vma=check_vma,
    )
    assert_near(jax.jit(jax.grad(total, (0, 1)))(*s.inputs), want)


@pytest.mark.parametrize("name", quick())
def test_gradients_inside_a_shard_map(name):
    """With the variation checked, the parameters' gradients are added by jax itself."""
    s, want = known(name)
    inside = jax.shard_map(
        jax.grad(s.loss, (0, 1)),
        mesh=mesh_of(2),
        in_specs=(WHOLE, IMAGES),
        out_specs=(WHOLE, IMAGES),
    )
    assert_near(jax.jit(inside)(*s.inputs), want)


@pytest.mark.parametrize("name", MODULES)
def test_a_shard_map_over_one_of_two_axes(name):
    s, want = known(name)
    mesh = mesh_of(2, 2, kind=AxisType.Explicit)
    inside = jax.shard_map(
        jax.grad(s.loss, (0, 1)),
        in_specs=(WHOLE, IMAGES),
        out_specs=(WHOLE, IMAGES),
        axis_names={"d"},
    )
    with jax.set_mesh(mesh):
        x = put(mesh, PartitionSpec("d", "e"), s.inputs[1])
        assert_near(jax.jit(inside)(put(mesh, WHOLE, s.inputs[0]), x), want)


@pytest.mark.parametrize("name", quick("prm network"))
def test_pmap(name):
    s, (want, want_x) = known(name)

    def own(variables, x):
        of_variables, of_x = jax.grad(s.loss, (0, 1))(variables, x)
        return jax.lax.psum(of_variables, "d"), of_x

    run = jax.pmap(own, "d", in_axes=(None, 0), devices=jax.devices()[:2])
    got, got_x = jax.block_until_ready(run(s.inputs[0], s.inputs[1][:, None]))
    assert_near((jax.tree.map(lambda leaf: leaf[1], got), got_x[:, 0]), (want, want_x))


@pytest.mark.parametrize("name", quick("prm network"))
def test_a_mesh_of_auto_axes(name):
    s, want = known(name)
    mesh = mesh_of(2)
    inputs = put(mesh, WHOLE, s.inputs[0]), put(mesh, IMAGES, s.inputs[1])
    with jax.set_mesh(mesh):
        assert_near(jax.jit(jax.grad(s.loss, (0, 1)))(*inputs), want)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        pytest.param(n, s, marks=() if s in FEW or n == "linen" else pytest.mark.slow)
        for n in MODULES
        for s in SPLITS
    ],
)
def test_a_mesh_of_explicit_axes(name, split):
    s, want = known(name)
    mesh, spec = mesh_of(2, 2, kind=AxisType.Explicit), SPLITS[split]

    @jax.jit
    def run(variables, x):
        return s.apply(variables, x), jax.grad(s.loss, (0, 1))(variables, x)

    with jax.set_mesh(mesh):
        inputs = put(mesh, WHOLE, s.inputs[0]), put(mesh, spec, s.inputs[1])
        if split == "channels" and name in NO_CHANNELS:
            with pytest.raises(Exception, match="out_sharding"):
                run(*inputs)
            return
        y, got = run(*inputs)
    x_type = jax.typeof(inputs[1]).sharding
    assert jax.typeof(y).sharding == jax.typeof(got[1]).sharding == x_type
    assert_near(got, want)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_on_a_mesh_of_explicit_axes(name):
    s, want = known(name)
    mesh = mesh_of(2, 2, kind=AxisType.Explicit)
    with jax.set_mesh(mesh):
        inputs = put(mesh, WHOLE, s.inputs[0]), put(mesh, IMAGES, s.inputs[1])
        got = jax.jit(jax.grad(s.loss, (0, 1)))(*inputs)
    assert jax.typeof(got[1]).sharding.spec[0] == "d"
    assert_near(got, want)


@pytest.mark.parametrize("name", ["prm_resnet14", "sge_resnet14"])
def test_training_on_a_mesh_of_explicit_axes(name):
    """Gradients, statistics of runs and the drawn zeros are those of one device."""
    model = one_block_a_stage(name, 5, groups=2, batch_norm=2, dropout=0.5)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8, 8, 3)))
    variables = random_variables(model, x.shape[1:], jnp.float64)

    def loss(params, rest, x):
        y, new = model.apply(
            {"params": params, "batch_stats": rest}, x, train=True,
            mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)},
        )  # fmt: skip
        return jnp.square(y).sum(), new

    run = jax.jit(jax.grad(loss, (0, 2), has_aux=True))
    inputs = variables["params"], variables["batch_stats"]
    want = run(*inputs, x)
    mesh = mesh_of(2, 2, kind=AxisType.Explicit)
    with jax.set_mesh(mesh):
        got = run(*put(mesh, WHOLE, inputs), put(mesh, IMAGES, x))
    assert_near(got, want)


def networks():
    """Each kind of block and each module once at each change."""
    for name in list_models():
        quick = name.startswith("prm_") or name.endswith("resnet18")
        yield pytest.param(name, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize("name", list(networks()))
def test_types_of_every_network_on_a_mesh_of_explicit_axes(name):
    """Initialisation, training and inference: logits are split as images are."""
    model = one_block_a_stage(name, 8, batch_norm=2)
    mesh = mesh_of(2, 2, kind=AxisType.Explicit)
    with jax.set_mesh(mesh):
        split = NamedSharding(mesh, IMAGES)
        x = jax.ShapeDtypeStruct((4, 64, 64, 3), jnp.float32, sharding=split)
        variables = jax.eval_shape(model.init, jax.random.key(0), x)

        def loss(params, rest, x):
            y, new = model.apply(
                {"params": params, **rest}, x, train=True, mutable=["batch_stats"],
                rngs={"dropout": jax.random.key(0)},
            )  # fmt: skip
            return y.sum(), new

        params, rest = variables["params"], {"batch_stats": variables["batch_stats"]}
        gradients, new = jax.eval_shape(
            jax.grad(loss, (0, 2), has_aux=True), params, rest, x
        )
        logits = jax.eval_shape(model.apply, variables, x)
    for got, like in ((new, rest), (gradients[0], params)):
        jax.tree.map(assert_whole, got, like)
    assert gradients[1].sharding.spec[0] == logits.sharding.spec[0] == "d"


def assert_whole(got, like):
    """Of that shape and dtype, and not split."""
    assert (got.shape, got.dtype) == (like.shape, like.dtype)
    assert not any(got.sharding.spec)
