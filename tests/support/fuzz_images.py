"""Damages good files at random and decodes them: `python -m support.fuzz_images 2000`.

Prints a line of JSON: how many gave pixels and were refused, what was wrong with the
others, and the peak of resident memory.
"""

import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from support.good_images import GOOD
from support.images import MAX_PIXELS

from train.data.images.crops import CROP_WORDS, random_resized_crop
from train.data.images.decode import BadImage, decode
from train.data.rng import words_at

SEEDS = tuple(case.data for case in GOOD if len(case.data) < 100_000)


def flip_bits(data: bytearray, random: np.random.Generator) -> bytearray:
    for place in random.integers(0, len(data), random.integers(1, 20)):
        data[place] ^= 1 << random.integers(8)
    return data


def cut(data: bytearray, random: np.random.Generator) -> bytearray:
    return data[: random.integers(len(data))]


def splice(data: bytearray, random: np.random.Generator) -> bytearray:
    other = SEEDS[random.integers(len(SEEDS))]
    return data[: random.integers(len(data))] + other[random.integers(len(other)) :]


def leave_out(data: bytearray, random: np.random.Generator) -> bytearray:
    start, end = sorted(random.integers(0, len(data), 2))
    return data[:start] + data[end:]


def scramble_start(data: bytearray, random: np.random.Generator) -> bytearray:
    """Random bytes in the header, behind the magic."""
    end = min(len(data), 200)
    for place in random.integers(min(8, end - 1), end, random.integers(1, 8)):
        data[place] = random.integers(256)
    return data


MUTATIONS = (flip_bits, cut, splice, leave_out, scramble_start)


def attempt(read: Callable[[], np.ndarray]) -> str:
    """What came: "pixels", "refused" or what is wrong."""
    try:
        pixels = read()
    except BadImage:
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    right = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    few = 0 < pixels.shape[0] * pixels.shape[1] <= MAX_PIXELS
    return "pixels" if right and few else f"{pixels.dtype} {pixels.shape}"


def peak_megabytes() -> float:
    """Of this program's own memory: getrusage's peak starts at that of the parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kilobytes) / 1000


def main(count: int) -> None:
    random = np.random.default_rng(0)
    outcomes = Counter[str]()
    for number in range(count):
        seed = SEEDS[number % len(SEEDS)]
        mutation = MUTATIONS[number // len(SEEDS) % len(MUTATIONS)]
        data = bytes(mutation(bytearray(seed), random))
        words = words_at(0, 0, "fuzz", number, CROP_WORDS)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            outcomes[attempt(lambda: decode(data, max_pixels=MAX_PIXELS))] += 1  # noqa: B023
            crop = attempt(
                lambda: random_resized_crop(data, words, size=32, max_pixels=MAX_PIXELS)  # noqa: B023
            )
        if caught or crop not in ("pixels", "refused"):
            outcomes[f"{number}: {crop}, {[str(w.message) for w in caught]}"] += 1
    known = {name: outcomes.pop(name, 0) for name in ("pixels", "refused")}
    found = {**known, "wrong": list(outcomes), "peak_megabytes": peak_megabytes()}
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
