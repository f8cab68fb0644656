"""Several processes of one run: how they meet, agree, and end together."""

import contextlib
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from train.config import Config
from train.last_words import last_words
from train.meeting import meet
from train.validate import check_config

# Bytes of an error that are told to the other processes.
TOLD = 4096


class FirstProcessError(RuntimeError):
    """What the first process does for all of them failed there."""


class LostProcessError(RuntimeError):
    """What the processes compute together failed, above all as one of them is gone."""


@contextlib.contextmanager
def joined(config: Config) -> Iterator[None]:
    """Among the other processes of the run; entered before the first use of a device.

    Cloud TPU, Slurm, Open MPI and Kubernetes tell jax who they are, or the config does.

    Raises:
        ValueError: nothing tells who they are, or they cannot meet there.
        LostProcessError: what they compute together failed inside.
    """
    if not config.distributed:
        yield
        return
    check_config(config)
    meet(config)
    number, count = jax.process_index(), jax.process_count()
    lost = (
        f"process {number} of {count} was ended from within: above all when another "
        "process of the run is lost. The same command, on all machines, goes on from "
        "the last checkpoint."
    )
    with last_words(f"error: {lost}"):
        try:
            yield
        except Exception as error:
            if _is_of_jax(error):
                raise LostProcessError(f"{lost} {error}") from error
            raise
        jax.distributed.shutdown()


def _is_of_jax(error: BaseException | None) -> bool:
    """Whether jax ended it, or what was still to be done when jax had."""
    while error is not None:
        if isinstance(error, jax.errors.JaxRuntimeError):
            return True
        error = error.__cause__ or error.__context__
    return False


def on_first(action: Callable[[], object]) -> None:
    """Runs an action on the first process while the others wait; its error is theirs.

    Raises:
        FirstProcessError: on the others, if the action failed.
    """
    if jax.process_count() == 1:
        action()
        return
    failure = None
    if jax.process_index() == 0:
        try:
            action()
        except Exception as error:
            failure = error
    told = _tell(str(failure) or type(failure).__name__ if failure else "")
    if failure is not None:
        raise failure
    if told:
        raise FirstProcessError(f"the first process of the run failed: {told}")


def _tell(text: str) -> str:
    """The first process's text, on all."""
    raw = text.encode(errors="backslashreplace")[:TOLD].ljust(TOLD, b"\0")
    sent = multihost_utils.broadcast_one_to_all(np.frombuffer(raw, np.uint8))
    return np.asarray(sent).tobytes().rstrip(b"\0").decode(errors="replace")
