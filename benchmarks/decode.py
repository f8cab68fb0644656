"""Images a second of one core: this project's training decode and TensorFlow's.

How to run it and what it printed: README.md beside this file.
"""

import argparse
import io
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SIZE, AREA, ASPECT = 224, (0.1, 1.0), (0.8, 1.25)
MOST_PIXELS = 100_000_000
ONE_AFTER_THE_OTHER = 200  # pictures of one timing

# A timing: (the JPEGs, their random words) -> seconds of processor time, of all
# threads: on one core that is what a picture costs, whatever else the machine does.
Timing = Callable[[list[bytes], list[np.ndarray]], float]


def main() -> None:
    """Measure all ways in turn, as often as asked, and print the medians."""
    flags = parse()
    # Before any library starts threads: they inherit it.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    files = list(read(flags.folder) if flags.folder else synthetic(flags.quality))
    if not files:
        sys.exit(f"{flags.folder}: a folder with .jpg or .JPEG files is expected")
    files = [files[i % len(files)] for i in range(ONE_AFTER_THE_OTHER)]
    mean = sum(map(len, files)) / len(files) / 1000
    print(f"{len(set(files))} JPEGs of {mean:.0f} kB on average, to {SIZE} x {SIZE}")
    ways = this_project() | (tensorflow() if not flags.alone else {})
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for epoch in range(flags.repeats + 1):
        words = draw(epoch)
        for name, timing in ways.items():
            seconds = timing(files, words)
            if epoch:  # the first round warms caches and compiles
                rates[name].append(len(files) / seconds)
    show({name: statistics.median(values) for name, values in rates.items()}, rates)


def parse() -> argparse.Namespace:
    """Read the flags."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="JPEGs; without it, made-up ones")
    parser.add_argument("--quality", type=int, default=92, help="of made-up JPEGs")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--alone", action="store_true", help="without TensorFlow")
    return parser.parse_args()


def read(folder: Path) -> Iterator[bytes]:
    """Give the JPEGs of a folder."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".jpg", ".jpeg"):
            yield path.read_bytes()


def synthetic(quality: int, count: int = 20) -> Iterator[bytes]:
    """Make photo-like 500x375 JPEGs: noise that falls off as 1 / frequency."""
    down, across = np.fft.fftfreq(375)[:, None, None], np.fft.fftfreq(500)[:, None]
    frequency = np.maximum(np.hypot(down, across), 1 / 500)
    for seed in range(count):
        noise = np.random.default_rng(seed).normal(size=(375, 500, 3))
        waves = np.fft.fft2(noise, axes=(0, 1)) / frequency**1.1
        colours = np.fft.ifft2(waves, axes=(0, 1)).real @ MIX
        levels = 128 + 50 * colours / colours.std()
        picture = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=quality)
        yield stream.getvalue()


# Photographs vary far more in brightness than in colour.
MIX = np.array([[1.0, 1.0, 1.0], [0.2, 0.0, -0.2], [0.1, -0.2, 0.1]])


def draw(epoch: int) -> list[np.ndarray]:
    """Draw the words of an epoch's crops, the same for all ways."""
    from train.data.images.crops import CROP_WORDS
    from train.data.rng import words_at

    places = range(ONE_AFTER_THE_OTHER)
    return [words_at(0, epoch, "crop", i, CROP_WORDS) for i in places]


def this_project() -> dict[str, Timing]:
    """Bytes to uint8, as the training input does it."""
    from train.data.images.crops import random_resized_crop

    def timing(files: list[bytes], words: list[np.ndarray]) -> float:
        start = time.process_time()
        for data, draws in zip(files, words, strict=True):
            random_resized_crop(
                *(data, draws),
                size=SIZE,
                area=AREA,
                aspect=ASPECT,
                max_pixels=MOST_PIXELS,
            )
        return time.process_time() - start

    return {"this project": timing}


def tensorflow() -> dict[str, Timing]:
    """Bytes to float32: decode_and_crop_jpeg, resize, flip; each in two ways."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    def example(data, box, flip, antialias):
        tf.io.extract_jpeg_shape(data)
        image = tf.image.decode_and_crop_jpeg(data, box, channels=3)
        image = tf.image.resize(image, (SIZE, SIZE), antialias=antialias)
        return tf.cond(flip, lambda: tf.reverse(image, [1]), lambda: image)

    def pipeline(function) -> Timing:
        def timing(files: list[bytes], words: list[np.ndarray]) -> float:
            data = tf.data.Dataset.from_tensor_slices((files, *boxes(files, words)))
            options = tf.data.Options()
            options.threading.private_threadpool_size = 1
            # Twice, and timed from the middle: the first half starts the pipeline.
            pictures = iter(data.repeat(2).map(function).with_options(options))
            for _ in files:
                next(pictures)
            start = time.process_time()
            for _ in pictures:
                pass
            return time.process_time() - start

        return timing

    def calls(function) -> Timing:
        kinds = ([], tf.string), ([4], tf.int32), ([], tf.bool)
        signature = [tf.TensorSpec(*kind) for kind in kinds]
        compiled = tf.function(function, input_signature=signature)

        def timing(files: list[bytes], words: list[np.ndarray]) -> float:
            arguments = list(zip(files, *boxes(files, words), strict=True))
            start = time.process_time()
            for data, box, flip in arguments:
                compiled(data, box, flip).numpy()
            return time.process_time() - start

        return timing

    def plain(data, box, flip):
        return example(data, box, flip, antialias=False)

    def smooth(data, box, flip):
        return example(data, box, flip, antialias=True)

    return {
        "TensorFlow in tf.data": pipeline(plain),
        "TensorFlow in tf.data, antialias=True": pipeline(smooth),
        "TensorFlow called from Python": calls(plain),
        "TensorFlow called from Python, antialias=True": calls(smooth),
    }


def boxes(files: list[bytes], words: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Give TensorFlow this project's crops and flips, so that both do the same."""
    from train.data.images.containers import read_header
    from train.data.images.crops import crop_box
    from train.data.rng import unit

    found, flips = [], []
    for data, draws in zip(files, words, strict=True):
        header, numbers = read_header(data, MOST_PIXELS), unit(draws).tolist()
        found.append(crop_box(header.height, header.width, numbers, AREA, ASPECT))
        flips.append(numbers[-1] < 0.5)
    return np.array(found, np.int32), np.array(flips)


def show(medians: dict[str, float], rates: dict[str, list[float]]) -> None:
    """Print a line for each way."""
    first = next(iter(medians.values()))
    for name, rate in medians.items():
        spread = f"{min(rates[name]):.0f} to {max(rates[name]):.0f}"
        ratio = (
            "" if math.isclose(rate, first) else f"; this project {first / rate:.2f} x"
        )
        print(f"{name}: {rate:.0f} images a second of one core ({spread}){ratio}")


if __name__ == "__main__":
    main()
