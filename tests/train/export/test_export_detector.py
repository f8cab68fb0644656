"""An exported detector finds the network's boxes, with jax and nothing of ours."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.detectors import CLASSES, NARROW

from prm_flax.detection import create_detector, detect
from train.export.command import export
from train.export.interface import interface_of
from train.export.weights import TrainedNetwork
from train.tasks.task import normalize

SHAPE = (64, 64, 3)
# Runs in an empty folder.
ALONE = """
import sys
sys.path.insert(0, sys.argv[1])

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("flax", "prm_flax", "train", "optax"):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
import numpy as np
from load import load
call, about = load(sys.argv[1])
given = np.load(sys.argv[2])
np.savez(sys.argv[3], **call(given["images"], given["sizes"]))
"""


@pytest.fixture(scope="module")
def network():
    """A detector whose scores are not all below what is found."""
    kind = "retinanet_prm_resnet14"
    options = {"num_classes": CLASSES, "groups": 4, "stem": "imagenet"}
    options |= NARROW["retinanet"] | {"depth": 1}
    images = jnp.zeros((1, *SHAPE))
    abstract = jax.eval_shape(
        create_detector(kind, **options).init, jax.random.key(0), images
    )
    drawn = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(drawn.standard_normal(leaf.shape) * 0.05, leaf.dtype),
        abstract,
    )
    stats = jax.tree.map(jnp.ones_like, variables["batch_stats"])
    classes = tuple(f"class {k}" for k in range(CLASSES))
    return TrainedNetwork(
        kind,
        options,
        {"params": variables["params"], "batch_stats": stats},
        (0.5,),
        (0.25,),
        SHAPE,
        classes,
    )


def test_it_runs_with_jax_alone(network, tmp_path):
    export(network, tmp_path / "out")
    drawn = np.random.default_rng(5)
    images = drawn.integers(0, 256, (2, *SHAPE), np.uint8)
    sizes = np.array([[64, 64], [40, 50]], np.int32)
    np.savez(tmp_path / "given.npz", images=images, sizes=sizes)
    paths = [tmp_path / name for name in ("out", "given.npz", "found.npz")]
    command = [sys.executable, "-c", ALONE, *map(str, paths)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    model = create_detector(network.name, **network.options)
    ready = normalize(images, network.mean, network.std)
    want = detect(model, network.variables, ready, sizes)
    found = np.load(tmp_path / "found.npz")
    assert want.valid.any()
    np.testing.assert_array_equal(found["labels"], want.labels)
    np.testing.assert_allclose(found["scores"], want.scores, atol=1e-5)
    np.testing.assert_allclose(found["boxes"], want.boxes, atol=1e-3)
    about = json.loads((tmp_path / "out/export.json").read_text())
    assert about["input"]["images"]["shape"] == ["b", *SHAPE]
    assert about["class_names"] == list(network.class_names)


def test_a_program_of_other_boxes_is_told(network):
    kind = interface_of(network)
    (arguments,) = [kind.draw(np.random.default_rng(0), 1, network)]
    want = kind.function(network, False)(*arguments)
    moved = {**want, "boxes": want["boxes"] + 1}
    assert kind.difference(want, want) == ""
    assert "its boxes to 0.01 pixels" in kind.difference(moved, want)


def test_a_detector_is_not_folded(network, tmp_path):
    with pytest.raises(ValueError, match="folded in classifiers"):
        export(network, tmp_path / "out", fold=True)
    assert not (tmp_path / "out").exists()
