"""Three steps of a detector's training against a public detection library's."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import golden
from support import golden_detectors as files

from prm_flax.detection import detection_loss, trainable
from prm_flax.interop.torch import from_state_dict, to_state_dict

FILES = golden.names("det_traj_*")
LATER = golden.all_but((), FILES)


class Trained(NamedTuple):
    """Before each update and after the last, but for the norms; arrays by name."""

    totals: np.ndarray
    parts: np.ndarray
    gradient_norms: np.ndarray
    arrays: dict[str, np.ndarray]


@functools.cache
def trained(name, dtype):
    file, model = golden.load(name), files.detector(name)
    meta = file.meta
    assert not meta["nesterov"]
    assert meta["clipping"] is None
    cast = functools.partial(jnp.asarray, dtype=dtype)
    images, targets = cast(golden.images(file)), files.targets(file)
    targets = targets._replace(boxes=cast(targets.boxes))
    weights = files.state_dict(name)
    variables = jax.tree.map(cast, from_state_dict(model, weights))
    tx = optax.chain(
        optax.add_decayed_weights(meta["weight_decay"]),
        optax.sgd(meta["lr"], meta["momentum"]),
    )

    @jax.jit
    def losses_and_gradients(params):
        def loss(params):
            both = variables | {"params": params}
            total, losses, _ = detection_loss(model, both, images, None, targets, None)
            return total, jnp.stack([losses["loss_cls"], losses["loss_bbox"]])

        return jax.value_and_grad(loss, has_aux=True)(params)

    params, found = variables["params"], []
    tx = optax.masked(tx, trainable(model, params))
    state = tx.init(params)
    for _ in range(meta["steps"]):
        (total, parts), gradients = losses_and_gradients(params)
        found.append((total, parts, optax.tree.norm(gradients)))
        updates, state = tx.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    (total, _), _ = losses_and_gradients(params)
    totals, parts, norms = zip(*found, strict=True)
    arrays = to_state_dict(model, variables | {"params": params})
    return Trained(np.array([*totals, total]), np.array(parts), np.array(norms), arrays)


@pytest.mark.parametrize("name", LATER)
def test_losses(name, x64):
    file, own = golden.load(name), trained(name, jnp.float64)
    np.testing.assert_allclose(own.totals, file.arrays["losses"], 1e-9)
    np.testing.assert_allclose(own.parts, file.arrays["losses_parts"], 1e-8)
    np.testing.assert_allclose(own.gradient_norms, file.arrays["grad_norm_total"], 1e-8)


@pytest.mark.parametrize("name", LATER)
def test_final_parameters(name, x64):
    file, own = golden.load(name), trained(name, jnp.float64)
    for each, want in zip(
        file.arrays["parameter_names"], file.arrays["final_norms"], strict=True
    ):
        got = np.linalg.norm(own.arrays[str(each)])
        np.testing.assert_allclose(got, want, 1e-9, err_msg=str(each))
    for each, want in file.under("final").items():
        np.testing.assert_allclose(own.arrays[each], want, 1e-8, err_msg=each)


@pytest.mark.parametrize("name", LATER)
def test_float32(name):
    file, own = golden.load(name), trained(name, jnp.float32)
    np.testing.assert_allclose(own.totals, file.arrays["losses"], 1e-4)
    for each, want in zip(
        file.arrays["parameter_names"], file.arrays["final_norms"], strict=True
    ):
        got = np.linalg.norm(own.arrays[str(each)].astype(np.float64))
        np.testing.assert_allclose(got, want, 1e-5, err_msg=str(each))
