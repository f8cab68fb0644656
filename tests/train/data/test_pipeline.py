"""Batches: random access, every image once, nothing that depends on who asks when."""

import gc
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from train.data.prefetch import prefetch
from train.data.records.arrays import ArraySource, TrainBatches, eval_batches


def numbered(images: int) -> ArraySource:
    """Images that show their own number, all of one class."""
    pixels = np.arange(images, dtype=np.uint8)[:, None, None, None]
    return ArraySource(
        np.broadcast_to(pixels, (images, 3, 2, 1)).copy(),
        np.zeros(images, np.int32),
        ("one",),
    )


SIZES = st.integers(1, 40).flatmap(
    lambda images: st.tuples(st.just(images), st.integers(1, images))
)


def same(one: dict, other: dict) -> bool:
    """Whether two batches are equal to the last bit."""
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) for name in one
    )


@given(sizes=SIZES, seed=st.integers(), epoch=st.integers(0, 10**6))
def test_an_epoch_visits_each_image_at_most_once(sizes, seed, epoch):
    images, batch_size = sizes
    batches = TrainBatches(numbered(images), batch_size, seed)
    steps = batches.steps_per_epoch
    assert steps == images // batch_size
    index = [batches(epoch * steps + step)["index"] for step in range(steps)]
    visited = np.concatenate(index)
    assert len(visited) == len(set(visited.tolist())) == steps * batch_size


def test_a_batch_holds_the_images_and_labels_of_its_index(source):
    batch = TrainBatches(source, 7, seed=3)(5)
    np.testing.assert_array_equal(batch["image"], source.images[batch["index"]])
    np.testing.assert_array_equal(batch["label"], source.labels[batch["index"]])
    assert {name: str(array.dtype) for name, array in batch.items()} == {
        "image": "uint8",
        "label": "int32",
        "index": "int32",
    }


@given(start=st.integers(0, 30), seed=st.integers(0, 100), random=st.randoms())
def test_a_run_resumed_anywhere_sees_the_same_batches(start, seed, random):
    def make() -> TrainBatches:
        return TrainBatches(numbered(13), 4, seed, crop_padding=1, flip=True)

    uninterrupted = [make()(step) for step in range(34)]
    resumed = make()
    steps = list(range(start, 34))
    random.shuffle(steps)
    assert all(same(resumed(step), uninterrupted[step]) for step in steps)


def test_many_threads_see_the_same_batches(source):
    batches = TrainBatches(source, 5, 0, crop_padding=2, flip=True)
    expected = [batches(step) for step in range(80)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(batches, range(80)))
    assert all(map(same, made, expected))


def test_epochs_and_seeds_have_orders_of_their_own():
    def order(seed: int, epoch: int) -> list[int]:
        return TrainBatches(numbered(40), 40, seed)(epoch)["index"].tolist()

    orders = [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert all(sorted(order) == list(range(40)) for order in orders)


def test_crops_belong_to_the_image_and_not_to_its_place_in_a_batch(source):
    def epoch(batch_size: int) -> dict[int, bytes]:
        batches = TrainBatches(source, batch_size, 0, crop_padding=2, flip=True)
        made = [batches(step) for step in range(batches.steps_per_epoch)]
        return {
            int(index): image.tobytes()
            for batch in made
            for index, image in zip(batch["index"], batch["image"], strict=True)
        }

    small, large = epoch(4), epoch(23)
    assert small.items() <= large.items()
    plain = {i: image.tobytes() for i, image in enumerate(source.images)}
    assert sum(large[i] != plain[i] for i in large) > 15


def test_a_batch_larger_than_the_source_is_refused(source):
    with pytest.raises(ValueError, match="batch_size 24 and 23 images"):
        TrainBatches(source, 24, 0)


@pytest.mark.parametrize("step", [-1, -100])
def test_steps_before_the_first_are_refused(source, step):
    with pytest.raises(ValueError, match=f"from 0 up: got {step}"):
        TrainBatches(source, 4, 0)(step)


def test_negative_padding_is_refused(source):
    with pytest.raises(ValueError, match=r"crop_padding .*got -1"):
        TrainBatches(source, 4, 0, crop_padding=-1)


@given(images=st.integers(1, 40), batch_size=st.integers(1, 50))
def test_evaluation_sees_every_image_once_in_batches_of_one_shape(images, batch_size):
    seen = []
    for batch in eval_batches(numbered(images), batch_size):
        assert batch["image"].shape == (batch_size, 3, 2, 1)
        assert batch["label"].shape == batch["mask"].shape == (batch_size,)
        assert set(batch["mask"].tolist()) <= {0.0, 1.0}
        assert not batch["image"][batch["mask"] == 0].any()
        seen += batch["image"][batch["mask"] == 1, 0, 0, 0].tolist()
    assert seen == list(range(images))


def test_evaluation_batches_have_the_types_of_training(source):
    batch = next(eval_batches(source, 9))
    types = {name: str(array.dtype) for name, array in batch.items()}
    assert types == {"image": "uint8", "label": "int32", "mask": "float32"}


def test_an_empty_evaluation_batch_is_refused(source):
    with pytest.raises(ValueError, match="at least 1: got 0"):
        next(eval_batches(source, 0))


@given(start=st.integers(0, 9), length=st.integers(-1, 9), depth=st.integers(1, 12))
def test_prefetching_keeps_steps_and_order(start, length, depth):
    stop = start + length
    made = prefetch(lambda step: step * 10, start, stop, depth)
    assert list(made) == [step * 10 for step in range(start, stop)]


def test_prefetching_runs_ahead_by_its_depth_and_no_further():
    made = []
    batches = prefetch(made.append, 0, 100, depth=3)
    next(batches)
    wait_until(lambda: len(made) == 4)
    time.sleep(0.05)
    assert len(made) == 4  # the one in use and three that wait
    batches.close()


def test_an_error_arrives_at_the_step_it_belongs_to():
    def make(step: int) -> int:
        if step == 2:
            raise OSError("disk gone")
        return step

    batches = prefetch(make, 0, 5)
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(OSError, match="disk gone"):
        next(batches)
    wait_until(no_prefetch_thread)


def test_the_thread_ends_when_the_generator_is_closed_or_dropped():
    for end in (lambda batches: batches.close(), lambda batches: None):
        batches = prefetch(lambda step: step, 0, 10**9)
        next(batches)
        assert not no_prefetch_thread()
        end(batches)
        del batches
        gc.collect()
        wait_until(no_prefetch_thread)


def test_closing_does_not_wait_and_gives_up_what_was_not_begun():
    begun, ended, go_on = [], [], threading.Event()

    def make(step: int) -> int:
        begun.append(step)
        if step > 0:
            go_on.wait(60)
        ended.append(step)
        return step

    batches = prefetch(make, 0, 10, depth=3)
    assert next(batches) == 0
    wait_until(lambda: begun == [0, 1])
    batches.close()
    assert ended == [0]
    go_on.set()
    wait_until(no_prefetch_thread)
    assert begun == [0, 1]


def test_a_program_that_stops_half_way_exits():
    code = (
        "from train.data.pipeline import prefetch\n"
        "batches = prefetch(lambda step: step, 0, 10**9)\n"
        "print(next(batches))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_a_depth_of_nothing_is_refused():
    with pytest.raises(ValueError, match="depth must be at least 1: got 0"):
        next(prefetch(lambda step: step, 0, 1, depth=0))


def no_prefetch_thread() -> bool:
    """Whether no background thread is left."""
    return not any(t.name.startswith("prefetch") for t in threading.enumerate())


def wait_until(condition) -> None:
    """Wait for a background thread; only a fault takes as long as the limit."""
    end = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)
