"""Random numbers that are a function of their name: there is no state to save."""

import hashlib

import numpy as np


def words(seed: int, epoch: int, stream: str, count: int) -> np.ndarray:
    """Draw the first words of a named stream.

    The words come straight from the counter-based Philox generator: word i does not
    depend on `count`, and numpy promises the same words in every release, which it
    does not for distributions and permutations.

    Args:
        seed: the run's seed.
        epoch: the pass over the data.
        stream: what the numbers are for; streams are independent of each other.
        count: how many words.

    Returns:
        uint64 (count,), uniform over all values.
    """
    name = hashlib.sha256(f"{seed}/{epoch}/{stream}".encode()).digest()
    key = int.from_bytes(name[:16], "little")
    return np.random.Philox(key=key).random_raw(count)


def below(bound: int, random_words: np.ndarray) -> np.ndarray:
    """Scale random words to integers, each equally likely up to 1 part in 2**32.

    Args:
        bound: one more than the largest result, at most 2**31.
        random_words: uint64 (n,).

    Returns:
        int32 (n,), from 0 to `bound` - 1.
    """
    half = np.uint64(32)
    return (((random_words >> half) * np.uint64(bound)) >> half).astype(np.int32)
