"""A public detection library's training, step by step by the program's own step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import golden
from support import golden_detectors as files

from prm_flax.interop.torch import from_state_dict, to_state_dict
from train.config import DetectionOptim
from train.optim import make_optimizer, of_trainable
from train.state import init_state
from train.step import make_train_step
from train.tasks.detection import TRUTH, Detection

FILES = golden.names("det_traj_*")


@pytest.mark.parametrize("name", golden.parameters(FILES, FILES))
def test_the_programs_step_is_the_librarys(name, x64):
    file, model = golden.load(name), files.detector(name)
    meta = file.meta
    images, targets = golden.images(file), files.targets(file)
    cast = functools.partial(jnp.asarray, dtype=jnp.float64)
    task = Detection(model, normalize=lambda x: x, padded_to=(images.shape[1:3],))
    optim = DetectionOptim(
        peak_lr=meta["lr"], momentum=meta["momentum"], weight_decay=meta["weight_decay"]
    )
    optimizer = of_trainable(
        make_optimizer(optim, lambda step: meta["lr"]), task.trainable
    )
    weights = jax.tree.map(cast, from_state_dict(model, files.state_dict(name)))
    state = jax.jit(lambda: init_state(task, optimizer, 0))()
    state = state.replace(**weights, opt_state=optimizer.init(weights["params"]))
    b = len(images)
    batch = dict(zip(TRUTH, map(jnp.asarray, targets), strict=True)) | {
        "image": cast(images),
        "size": jnp.array([images.shape[1:3]] * b, jnp.int32),
        "scale": jnp.ones((b, 2)),
        "index": jnp.arange(b, dtype=jnp.int32),
        "mask": jnp.ones(b),
    }
    batch["boxes"] = cast(batch["boxes"])
    step, losses = jax.jit(make_train_step(task, optimizer)), []
    for _ in range(meta["steps"]):
        state = step(state.replace(metrics=task.empty()), batch)
        losses.append(float(state.metrics.compute()["loss"]))
    # Metrics are kept in float32.
    np.testing.assert_allclose(losses, file.arrays["losses"][:-1], 1e-6)
    found = to_state_dict(model, jax.device_get(state.variables))
    for each, want in zip(
        file.arrays["parameter_names"], file.arrays["final_norms"], strict=True
    ):
        got = np.linalg.norm(found[str(each)])
        np.testing.assert_allclose(got, want, 1e-9, err_msg=str(each))
