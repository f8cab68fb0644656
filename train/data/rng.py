"""Random numbers that are a function of their name: there is no state to save."""

import hashlib
from functools import lru_cache

import numpy as np

# Words that one index may have: the same for all, so that no two indices overlap.
WORDS_PER_INDEX = 256
_WORDS_PER_COUNT = 4  # Philox 4x64 makes four words from each value of its counter


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
    return np.random.Philox(key=_key(seed, epoch, stream)).random_raw(count)


def words_at(seed: int, epoch: int, stream: str, index: int, count: int) -> np.ndarray:
    """Draw the words of one index of a named stream, without those before it.

    They are words 256 * `index` onwards of `words(seed, epoch, stream, ...)`, reached
    by setting the generator's counter: in 10 µs, whatever the index.

    Args:
        seed: the run's seed.
        epoch: the pass over the data.
        stream: what the numbers are for; use one name with `words` or `words_at`.
        index: which image, from 0 to 2**56.
        count: how many words, at most 256.

    Returns:
        uint64 (count,), uniform over all values.

    Raises:
        ValueError: `index` or `count` is out of range.
    """
    if not 0 <= count <= WORDS_PER_INDEX or not 0 <= index <= 2**56:
        raise ValueError(
            f"an index from 0 to 2**56 has up to {WORDS_PER_INDEX} words: got index "
            f"{index} and {count} words; draw more from a second stream"
        )
    counter = index * (WORDS_PER_INDEX // _WORDS_PER_COUNT)
    generator = np.random.Philox(key=_key(seed, epoch, stream), counter=counter)
    return generator.random_raw(count)


def unit(random_words: np.ndarray) -> np.ndarray:
    """Turn random words into numbers of the unit interval.

    Args:
        random_words: uint64 (n,).

    Returns:
        float64 (n,), at least 0 and below 1: the top 53 bits as a fraction, each
        exact.
    """
    return (random_words >> np.uint64(11)) * 2.0**-53


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


def _key(seed: int, epoch: int, stream: str) -> int:
    name = hashlib.sha256(f"{seed}/{epoch}/{stream}".encode()).digest()
    return int.from_bytes(name[:16], "little")


# A few epochs: training is in one, its prefetching may be in the next.
@lru_cache(maxsize=4)
def order(seed: int, epoch: int, images: int) -> np.ndarray:
    """The order in which an epoch visits the images.

    Args:
        seed: the run's seed.
        epoch: the pass over the data.
        images: n, how many there are.

    Returns:
        int32 (n,), each of 0..n-1 once; read-only, shared by all who ask.
    """
    shuffled = np.argsort(words(seed, epoch, "order", images), kind="stable")
    shuffled = shuffled.astype(np.int32)
    shuffled.flags.writeable = False
    return shuffled
