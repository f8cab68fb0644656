"""The step that is compiled is the one that `fit` runs, traced for other devices."""

import dataclasses

import jax
import pytest
from support.run import REPO, TINY

from train import sharding
from train.cli import load_config
from train.experiment import build
from train.preflight import compile as compiling
from train.preflight.chips import parse_topology
from train.preflight.compile import NEEDED, UNITS, build_step, prepare, with_batch
from train.preflight.flops import flops
from train.tasks.classification_setup import SHAPES, fake_input

FOUR = parse_topology("v5e:2x2")


@pytest.fixture
def four_devices(monkeypatch):
    """This machine's four in the place of chips that are not there."""
    monkeypatch.setattr(compiling, "devices_of", lambda topology: jax.devices()[:4])
    # Lowered is enough to look at, and compiling takes a minute.
    monkeypatch.setattr(
        compiling, "compile_traced", lambda mesh, traced: (traced.lower(), None)
    )


def tiny(**changes):
    return dataclasses.replace(load_config(REPO / TINY), **changes)


def test_the_step_is_that_of_fit(four_devices):
    config = tiny()
    experiment = build(config)
    traced = experiment.train_step.trace(
        experiment.abstract_state, compiling._batch(experiment)
    )
    made = build_step(config, FOUR, config.batch_size // 4)
    same = made.compiled.as_text() == traced.lower().as_text()
    assert same  # not compared in the assertion, which would look for the difference
    assert made.flops == flops(traced.jaxpr.jaxpr) // 4
    assert made.steps_per_epoch == experiment.steps_per_epoch


def test_the_state_is_donated_and_the_batch_shared(four_devices):
    config = tiny()
    (state, batch), _ = build_step(config, FOUR, 8).compiled.args_info
    assert all(leaf.donated for leaf in jax.tree.leaves(state))
    assert not any(leaf.donated for leaf in batch.values())
    assert batch["image"].shape == (32, *fake_input(config).image_shape)
    assert (batch["image"].dtype, batch["label"].dtype) == ("uint8", "int32")


WRONG = {
    "statistics": ({"model": {"batch_norm": 3}}, "multiple of model.batch_norm"),
    "images": ({"batch": 300}, "must not exceed the training images"),
    "pmap": ({"parallel": "pmap"}, "--parallel jit"),
    "stem": ({"model": {"stem": "3x4"}}, "Unknown stem"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_config_is_checked_first(four_devices, what):
    changes, words = WRONG[what]
    config = tiny(parallel=changes.get("parallel", "jit"))
    model = dataclasses.replace(config.model, **changes.get("model", {}))
    config = dataclasses.replace(config, model=model)
    with pytest.raises(ValueError, match=words):
        build_step(config, FOUR, changes.get("batch", 8))


def test_a_compiler_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(compiling, "COMPILERS", {"tpu": "no_such.package"})
    with pytest.raises(
        ValueError, match=r"no_such.package.*pip install '\.\[preflight\]'"
    ):
        prepare(FOUR)


@pytest.mark.parametrize("source", SHAPES)
def test_known_sets_are_not_opened(source):
    config = tiny()
    data = dataclasses.replace(config.data, source=source, root="nowhere")
    images = fake_input(dataclasses.replace(config, data=data))
    assert images.batch_size == config.batch_size
    assert images.train_images in (1_970, 60_000, 1_281_167)


def test_other_sets_are_opened():
    config = tiny()
    real = build(config).input
    images = fake_input(config)
    assert images.image_shape == real.image_shape
    assert images.train_images == real.train_images
    assert len(images.class_names) == len(real.class_names)


def test_the_batch_is_of_all_devices():
    config = with_batch(tiny(), 16, 12)
    assert (config.batch_size, config.eval_batch_size) == (192, 192)


MESSAGES = {
    "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory "
    "space hbm. Used 22.50G of 15.75G hbm. Exceeded hbm capacity by 6.75G.": 22.5,
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
    "temporaries (77.53G) exceeds available HBM (15.75G).": 77.53,
}


@pytest.mark.parametrize("message", MESSAGES)
def test_what_a_program_would_have_needed(message):
    found = NEEDED.search(message)
    assert float(found[1]) * UNITS[found[2]] == MESSAGES[message] * 2**30


def test_a_program_without_room_is_no_error():
    class NoRoom:
        def lower(self):
            raise jax.errors.JaxRuntimeError(next(iter(MESSAGES)))

    mesh = sharding.make_mesh(jax.devices()[:1])
    assert compiling.compile_traced(mesh, NoRoom()) == (None, int(22.5 * 2**30))
