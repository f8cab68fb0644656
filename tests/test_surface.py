"""What a user meets first: the names, the import, the examples."""

import doctest
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import prm_flax
from prm_flax import attention

PUBLIC = {
    "PRM",
    "PRMMaps",
    "PRMParams",
    "complexity",
    "create_model",
    "list_models",
    "recalibrate",
}
HEAVY = {
    "clu",
    "grain",
    "matplotlib",
    "optax",
    "orbax",
    "PIL",
    "tensorflow",
    "tensorflow_datasets",
    "torch",
}
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(prm_flax.__path__, "prm_flax.")
)
# With Flax's own imports made first, what is new is the library's doing.
NEW_MODULES = """
import json, sys
import jax, flax.linen, flax.nnx, flax.traverse_util
before = set(sys.modules)
import prm_flax, prm_flax.nnx
new = set(sys.modules) - before
rooms = {name for name in new if name.startswith("prm_flax.")}
print(json.dumps(sorted({name.partition(".")[0] for name in new} | rooms)))
"""


def test_public_names():
    subpackages = {"errors", *(name.split(".")[1] for name in MODULES)}
    names = {name for name in vars(prm_flax) if not name.startswith("_")}
    assert names - subpackages == PUBLIC
    assert prm_flax.__version__


def test_the_import_is_light():
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", NEW_MODULES],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    new = set(json.loads(done.stdout))
    assert "prm_flax" in new
    assert not new & HEAVY
    # Commands of their own.
    assert not new & {"prm_flax.figures", "prm_flax.paper"}


COMPARED = ("SE", "GE", "CBAM", "SK", "GC", "SGE")


def test_the_compared_modules_are_public():
    names = {name for name in vars(attention) if name[0].isupper()}
    assert names == set(COMPARED)


@pytest.mark.parametrize(
    "public",
    [
        prm_flax.PRM,
        *(getattr(prm_flax, n) for n in sorted(PUBLIC) if n[0].islower()),
        *(getattr(attention, name) for name in COMPARED),
    ],
)
def test_public_functions_have_examples(public):
    assert ">>> " in public.__doc__


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    said = []
    for test in doctest.DocTestFinder().find(module):
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)
