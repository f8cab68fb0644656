"""Few shapes that waste little; every image once an epoch, the same for everyone."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from train.data.boxes.buckets import NOBODY, bucket_of, choose, in_order, shuffled
from train.data.boxes.resize import fitted, padded

# Sizes of COCO's images, with how often they come among a hundred, about.
COMMON = {
    (480, 640): 35, (640, 480): 15, (427, 640): 15, (640, 427): 6, (426, 640): 4,
    (500, 375): 3, (375, 500): 5, (333, 500): 2, (612, 612): 3, (640, 640): 2,
    (360, 640): 3, (640, 360): 1, (512, 640): 2, (640, 512): 1, (424, 640): 3,
}  # fmt: skip
SIDES = st.integers(1, 12).map(lambda k: 32 * k)


@given(st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=30), st.integers(1, 5))
def test_every_image_has_a_shape_and_more_shapes_waste_no_more(sizes, most):
    def total(shapes):
        return sum(np.prod(shapes[bucket_of(size, shapes)]) for size in sizes)

    shapes = choose(sizes, most)
    assert 1 <= len(shapes) <= most
    assert total(choose(sizes, most + 1)) <= total(shapes)
    assert total(choose(sizes, len(sizes))) == sum(np.prod(size) for size in sizes)


@pytest.mark.parametrize("most, waste", [(1, 2.1), (2, 1.23), (4, 1.08), (7, 1.03)])
def test_four_shapes_pad_coco_by_seven_percent(most, waste):
    sizes = [fitted(size, (800, 1333)) for size in COMMON]
    shapes = choose([padded(s) for s, n in zip(sizes, COMMON.values(), strict=True)
                     for _ in range(n)], most)  # fmt: skip
    pairs = [*zip(sizes, COMMON.values(), strict=True)]
    taken = sum(n * np.prod(shapes[bucket_of(padded(s), shapes)]) for s, n in pairs)
    assert taken / sum(n * np.prod(s) for s, n in pairs) < waste


def test_a_size_that_fits_nowhere():
    with pytest.raises(ValueError, match="fits into none"):
        bucket_of((64, 64), [(32, 96)])


BUCKETS = st.lists(st.integers(0, 3), min_size=1, max_size=40).map(tuple)


@given(BUCKETS, st.integers(1, 7), st.integers(0, 3))
def test_every_image_once_an_epoch_in_batches_of_one_shape(buckets, size, epoch):
    made = shuffled(5, epoch, buckets, size)
    there = made.images != NOBODY
    assert sorted(made.images[there]) == [*range(len(buckets))]
    for bucket, images, real in zip(made.buckets, made.images, there, strict=True):
        assert {buckets[i] for i in images[real]} == {bucket}
        assert real[0] and not (np.diff(real.astype(int)) > 0).any()
    counts = [-(-buckets.count(b) // size) for b in set(buckets)]
    assert len(made.buckets) == sum(counts)


def test_the_order_is_a_function_of_seed_and_epoch():
    buckets = (0, 1) * 50
    same, again = (shuffled(1, 2, buckets, 4).images for _ in range(2))
    assert (same == again).all()
    others = [shuffled(1, 3, buckets, 4), shuffled(2, 2, buckets, 4)]
    assert all((same != other.images).any() for other in others)


def test_evaluation_goes_through_the_images_in_their_order():
    made = in_order(np.array([1, 0, 1, 1]), 2)
    assert made.images.tolist() == [[1, NOBODY], [0, 2], [3, NOBODY]]
    assert made.buckets.tolist() == [0, 1, 1]
