"""What one process of a run knows, known to all; each calls these at the same place."""

import hashlib

import jax
import numpy as np
from jax.experimental import multihost_utils

NONE = -1  # where only a number can be sent


def any_process(here: bool) -> bool:
    """Whether it is so in one of the processes."""
    if jax.process_count() == 1:
        return here
    return bool(np.any(multihost_utils.process_allgather(np.asarray(here))))


def same_everywhere(text: str) -> bool:
    """Whether all processes have the same text."""
    if jax.process_count() == 1:
        return True
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    of_all = np.asarray(multihost_utils.process_allgather(digest))
    return bool((of_all == of_all[0]).all())


def from_first(number: int | None) -> int | None:
    """The first process's number, at least 0, or None."""
    if jax.process_count() == 1:
        return number
    sent = multihost_utils.broadcast_one_to_all(
        np.asarray(NONE if number is None else number)
    )
    return None if int(sent) == NONE else int(sent)
