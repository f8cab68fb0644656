"""What ends one process of several is told as what it is."""

import jax
import pytest

from train import distributed
from train.checkpoints.store import CheckpointError
from train.config import Config
from train.distributed import LostProcessError, joined

CONFIG = Config(name="run", distributed=True)


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """A run of one process, which has nobody to meet."""
    monkeypatch.setattr(distributed, "meet", lambda config: None)
    monkeypatch.setattr(jax.distributed, "shutdown", lambda: None)


def gone():
    raise jax.errors.JaxRuntimeError("connection closed by peer")


def saving_when_it_is_gone():
    try:
        gone()
    finally:
        raise CheckpointError("step 3 could not be saved")


def saved_by_one_alone():
    try:
        gone()
    except jax.errors.JaxRuntimeError as error:
        raise CheckpointError("step 3 could not be saved") from error


@pytest.mark.parametrize("end", [gone, saving_when_it_is_gone, saved_by_one_alone])
def test_a_process_that_is_lost_is_named_whatever_comes_after(end):
    with pytest.raises(LostProcessError) as caught, joined(CONFIG):
        end()
    assert "another process of the run is lost" in str(caught.value)


def test_an_error_of_its_own_stays_what_it_is():
    with pytest.raises(CheckpointError, match="no room"), joined(CONFIG):
        raise CheckpointError("no room")
