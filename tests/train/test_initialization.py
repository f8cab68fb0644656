"""`--init FILE --init.new prm,fc`: what the first state has of the file."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.run import REPO, TINY
from support.weights import write_weights

from prm_flax.interop.shapes import flatten
from train.cli import load_config, main
from train.config import Init
from train.experiment import build
from train.initialization import first_state, read_init

STEM = {"stem": "3x3_stride2"}


# File -> network and classes. That of tiny.py is PRM-ResNet-14 for ten.
FILES = {
    "plain.pth": ("resnet14", 10),
    "plain.safetensors": ("resnet14", 10),
    "three.pth": ("resnet14", 3),
    "prm.pth": ("prm_resnet14", 10),
    "deep.pth": ("resnet20", 10),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of the files, and what is in each."""
    folder = tmp_path_factory.mktemp("weights")
    content = {}
    for name, (model, classes) in FILES.items():
        options = {"num_classes": classes, **STEM}
        options |= {"groups": 8} if model.startswith("prm") else {}
        content[name] = write_weights(folder / name, model, 1, **options)
    return folder, content


@pytest.fixture
def files(written):
    return written[0]


def experiment(file, *new, model="prm_resnet14", **changes):
    config = load_config(REPO / TINY)
    groups = config.model.groups if model.startswith("prm") else None
    network = dataclasses.replace(config.model, name=model, groups=groups)
    init = Init(None if file is None else str(file), new)
    return build(dataclasses.replace(config, model=network, init=init, **changes))


def start(*args, **how):
    """The experiment, its first state."""
    e = experiment(*args, **how)
    return e, first_state(e, read_init(e))


def logits(e, state):
    images, _ = e.input.sample(8)
    return np.asarray(e.predict_step(jax.device_get(state), {"image": images}))


@pytest.mark.parametrize(
    "name, model",
    [
        ("plain.pth", "resnet14"),
        ("plain.safetensors", "resnet14"),
        ("prm.pth", "prm_resnet14"),
    ],
)
def test_a_file_of_the_same_network_is_taken_whole(written, name, model, capsys):
    folder, content = written
    _, state = start(folder / name, model=model)
    jax.tree.map(np.testing.assert_array_equal, state.variables, content[name])
    assert capsys.readouterr().out == f"weights: {folder / name}\n"


def test_prms_are_put_in_and_the_outputs_stay(files):
    want = logits(*start(files / "plain.pth", model="resnet14"))
    e, state = start(files / "plain.pth", "prm")
    assert np.abs(logits(e, state) - want).max() <= 1e-5 * np.std(want)
    fresh, drawn = flatten(state.params), flatten(e.init().params)
    for path in (path for path in fresh if path[-2] == "prm"):
        np.testing.assert_array_equal(fresh[path], drawn[path])


@pytest.mark.parametrize("word", ["fc", "classifier"])
def test_a_classifier_of_other_classes_starts_anew(files, word):
    e, state = start(files / "three.pth", word, model="resnet14")
    drawn, given = e.init(), read_init(e)
    for name in ("kernel", "bias"):
        ours, fresh = state.params["fc"][name], drawn.params["fc"][name]
        np.testing.assert_array_equal(ours, fresh)
    stem = ("params", "conv1", "kernel")
    np.testing.assert_array_equal(state.params["conv1"]["kernel"], given[stem])
    assert not np.array_equal(drawn.params["conv1"]["kernel"], given[stem])


def test_the_state_is_as_announced_and_can_be_trained(files):
    """Also where averages are kept, which must not share memory with the weights."""
    optim = dataclasses.replace(load_config(REPO / TINY).optim, ema=0.9)
    e, state = start(files / "plain.pth", "prm", optim=optim)
    announced = e.abstract_state
    assert jax.tree.structure(state) == jax.tree.structure(announced)

    def same(leaf, shape):
        assert (leaf.shape, leaf.dtype) == (shape.shape, shape.dtype)
        assert leaf.sharding.is_equivalent_to(shape.sharding, leaf.ndim)

    jax.tree.map(same, state, announced)
    jax.tree.map(np.testing.assert_array_equal, state.ema, state.variables)
    batch = next(e.input.train(0, 1))
    state = e.train_step(state, e.put({k: batch[k] for k in ("image", "label")}))
    assert int(state.step) == 1 and bool(jnp.isfinite(state.params["fc"]["bias"]).all())


def test_without_a_file_it_is_drawn():
    e, state = start(None)
    jax.tree.map(np.testing.assert_array_equal, state.params, e.init().params)


# File, parts, network, words of the message.
WRONG = (
    ("plain.pth", "", "prm_resnet14", "To start these anew: --init.new prm."),
    ("plain.pth", "", "prm_resnet14", "of a network without PRM; 36 problems:\n"),
    ("plain.pth", "", "prm_resnet14", "expected shape (1, 2, 1, 1)\n  and 31 more\n"),
    ("three.pth", "", "resnet14", "of another number of classes (3, not 10); 2 prob"),
    ("three.pth", "", "resnet14", "misshapen: fc.weight"),
    ("three.pth", "", "resnet14", "--init.new fc."),
    ("three.pth", "", "prm_resnet14", "--init.new prm,fc."),
    ("three.pth", "prm", "prm_resnet14", "--init.new prm,fc."),
    ("plain.pth", "prm", "resnet14", "no prm. Take --model.name prm_resnet14"),
    ("prm.pth", "", "resnet14", "The file has prm: --model.name prm_resnet14."),
    ("plain.pth", "layer9", "resnet14", "Unknown part of resnet14 in init.new"),
    ("deep.pth", "", "resnet14", "unexpected: layer1.2.conv1.weight"),
    ("deep.pth", "", "resnet14", "of another depth (is it resnet20?)"),
    ("deep.pth", "", "resnet14", "Is the file one of this network?"),
    ("none.pth", "", "resnet14", "none.pth is not there"),
    ("text.pth", "", "resnet14", "it is no file of torch.save"),
    ("cut.safetensors", "", "resnet14", "must be a complete safetensors file"),
)


@pytest.mark.parametrize("name, new, model, words", WRONG)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    files, tmp_path, capsys, name, new, model, words
):
    (files / "text.pth").write_text("no weights")
    whole = (files / "plain.safetensors").read_bytes()
    (files / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    flags = ["--workdir", str(tmp_path / "run"), "--init", str(files / name)]
    flags += ["--init.new", *([new] if new else []), "--model.name", model]
    flags += [] if model.startswith("prm") else ["--model.groups", "None"]
    assert main(["fit", TINY, *flags]) == 2
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error, error
    assert not (tmp_path / "run").exists()
