"""Small networks and their weights in both forms; a place to write files."""

import pytest
from interop.support import variables_of

from prm_flax import create_model
from prm_flax.interop.torch import to_state_dict

# Collectors of docstring examples would import PyTorch with it.
collect_ignore = ["data/make_fixtures.py"]


@pytest.fixture(scope="module")
def model():
    return create_model("prm_resnet14", num_classes=10, groups=8)


@pytest.fixture(scope="module")
def variables(model):
    return variables_of(model)


@pytest.fixture(scope="module")
def converted(model, variables):
    return to_state_dict(model, variables)


@pytest.fixture
def weights(converted):
    """Arrays of PyTorch's names, for a test to change."""
    return {name: array.copy() for name, array in converted.items()}


@pytest.fixture(scope="module")
def plain():
    return create_model("resnet14", num_classes=10)


@pytest.fixture(scope="module")
def plain_weights(plain):
    return to_state_dict(plain, variables_of(plain, seed=1))


@pytest.fixture
def write(tmp_path):
    def write(content: bytes):
        path = tmp_path / "weights.pth"
        path.write_bytes(content)
        return path

    return write
