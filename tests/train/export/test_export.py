"""What is exported gives the network's logits, with jax and nothing of ours."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.run import TINY, run, uninterrupted

from prm_flax import create_model
from prm_flax.interop import safetensors
from train.cli import load_config, main
from train.draws import evaluate
from train.experiment import build
from train.export.command import export
from train.export.load import load
from train.export.program import PLATFORMS, check_program
from train.export.weights import TrainedNetwork
from train.tasks.task import normalize

SHAPE = (12, 12, 1)
FORBIDDEN = ("flax", "prm_flax", "train", "optax", "safetensors", "jaxtyping")

# Runs in an empty folder; the batches are of sizes never exported by name.
ALONE = f"""
import json, sys
sys.path.insert(0, sys.argv[1])

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {FORBIDDEN!r}:
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
import numpy as np
from load import load
call, about = load(sys.argv[1])
images = np.load(sys.argv[2])
np.save(sys.argv[3], np.concatenate([call(images[:1]), call(images[1:])]))
assert not set({FORBIDDEN!r}) & set(sys.modules)
"""


def network(**options):
    options = {"num_classes": 3, "stem": "3x3"} | options
    model = create_model("prm_resnet14", **options)
    images = jnp.zeros((1, *SHAPE))
    variables = evaluate(lambda: model.init(jax.random.key(0), images))
    classes = ("a", "b", "c")
    return TrainedNetwork(
        "prm_resnet14", options, variables, (0.5,), (0.25,), SHAPE, classes
    )


def logits(given, images):
    model = create_model(given.name, **given.options)
    ready = normalize(images, given.mean, given.std)
    return jax.jit(model.apply)(given.variables, ready)


@pytest.mark.parametrize("fold", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_runs_with_jax_alone(fold, tmp_path):
    given = network()
    export(given, tmp_path / "out", fold=fold)
    images = np.random.default_rng(5).integers(0, 256, (6, *SHAPE), np.uint8)
    np.save(tmp_path / "images.npy", images)
    arguments = [tmp_path / "out", tmp_path / "images.npy", tmp_path / "logits.npy"]
    command = [sys.executable, "-c", ALONE, *map(str, arguments)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    want = np.asarray(logits(given, images))
    got = np.load(tmp_path / "logits.npy")
    assert np.abs(got - want).max() <= 1e-5 * want.std()


def test_the_files(tmp_path):
    given = network()
    export(given, tmp_path)
    export(given, tmp_path, fold=True)  # replaces them
    assert {path.name for path in tmp_path.iterdir()} == {
        "model.safetensors",
        "model.stablehlo",
        "export.json",
        "load.py",
    }
    about = json.loads((tmp_path / "export.json").read_text())
    assert about["input"] == {"shape": ["b", *SHAPE], "dtype": "uint8"}
    assert about["class_names"] == ["a", "b", "c"]
    assert about["batch_norm_folded"]
    _, variables = safetensors.load(tmp_path / "model.safetensors")
    jax.tree.map(np.testing.assert_array_equal, variables, given.variables)
    program = (tmp_path / "model.stablehlo").read_bytes()
    assert jax.export.deserialize(bytearray(program)).platforms == PLATFORMS
    assert load(tmp_path)[1] == about


def test_a_program_of_other_logits_is_refused(tmp_path):
    given = network()
    export(given, tmp_path)
    program = (tmp_path / "model.stablehlo").read_bytes()
    with pytest.raises(RuntimeError, match="must give the network's logits"):
        check_program(program, lambda images: 1.001 * logits(given, images), given)


def test_half_precision_is_exported_but_not_folded(tmp_path):
    given = network(dtype=jnp.bfloat16)
    with pytest.raises(ValueError, match="float32, not bfloat16"):
        export(given, tmp_path / "none", fold=True)
    assert not (tmp_path / "none").exists()
    export(given, tmp_path)


def test_a_trained_run_is_exported_and_used(tmp_path):
    folder = tmp_path / "out"
    done = run("export", "--workdir", uninterrupted(), "--output", folder)
    assert done.code == 0, done.err
    assert str(folder / "model.stablehlo") in done.out
    call, about = load(folder)
    images, _ = build(load_config(Path(TINY))).input.sample(20)
    weights = uninterrupted() / "model.safetensors"
    model, variables = safetensors.load(weights)
    want = jax.jit(model.apply)(variables, normalize(images, (0.5,), (0.5,)))
    want = np.asarray(want)
    assert np.abs(call(images) - want).max() <= 1e-5 * want.std()
    assert about["model"] == "prm_resnet14" and len(about["class_names"]) == 10
    kept = safetensors.load(folder / "model.safetensors")[1]
    jax.tree.map(np.testing.assert_array_equal, kept, variables)


WRONG = {
    "no average": (["--average", "True"], "optim.ema is 0. Leave --average out"),
    "no run": (["--workdir", "nowhere"], "no run in nowhere. Train first"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input(what, capsys, tmp_path):
    flags, words = WRONG[what]
    command = ["export", TINY, *flags, "--output", str(tmp_path / "out")]
    assert main(command) != 0
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
