"""From a place in the run to one example: what worker processes compute.

Imports stay light: every worker process pays for them at its start.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from train.data.images.crops import CROP_WORDS, random_resized_crop, resize_centre_crop
from train.data.images.decode import BadImage
from train.data.images.randaugment import randaugment, words_needed
from train.data.input import DataError, Shard
from train.data.records.base import Record, Records
from train.data.rng import order, words_at

Example = dict[str, Any]

# Bad images in a row before the set, and not an image, is what is bad.
TRIES = 100


@dataclass(frozen=True)
class Sizes:
    """How images are cut.

    Attributes:
        image_size: height and width of the result.
        eval_resize: the shorter side before the centre is cut out.
        crop_area: share of the image a training crop takes, least and most.
        crop_aspect: width over height of a training crop, least and most.
        flip: whether half of the training crops are mirrored.
        max_pixels: most pixels that a header may state.
    """

    image_size: int
    eval_resize: int
    crop_area: tuple[float, float]
    crop_aspect: tuple[float, float]
    flip: bool
    max_pixels: int

    def cut_test(self, data: bytes) -> np.ndarray:
        """An image file as it is tested, uint8 (s, s, 3); BadImage if it is none."""
        return resize_centre_crop(
            data,
            resize=self.eval_resize,
            size=self.image_size,
            max_pixels=self.max_pixels,
        )


@dataclass(frozen=True, eq=False)
class TrainExamples:
    """Place in the run -> training example.

    Attributes:
        records: the images.
        sizes: how they are cut.
        batch_size: of all processes.
        seed: decides order and augmentation.
        skip: whether another image takes the place of a bad one; else it is an error.
        shard: whose rows are counted.
        randaugment: RandAugment's operations; 0 for none.
        magnitude: RandAugment's strength.
    """

    records: Records
    sizes: Sizes
    batch_size: int
    seed: int
    skip: bool
    shard: Shard
    randaugment: int
    magnitude: float

    def __call__(self, place: int) -> Example:
        """The example at a place; 0..b-1 are this process's rows of step 0, and so on.

        Returns:
            image uint8 (s, s, 3), label, index, and skipped: how many bad images there
            were before one was good, from `index` on.
        """
        rows = self.shard.rows(self.batch_size)
        step, row = divmod(place, rows.stop - rows.start)
        epoch, batch = divmod(step, len(self.records) // self.batch_size)
        visits = order(self.seed, epoch, len(self.records))
        index = int(visits[batch * self.batch_size + rows.start + row])
        for skipped in range(TRIES):
            # Of the place's own draws: what takes a bad image's place is cut as it.
            candidate = (index + skipped) % len(self.records)
            try:
                record = self.records[candidate]
                image = self._augment(record, epoch, index)
            except BadImage as error:
                refuse_unless(self.skip, self.records, candidate, error)
            else:
                return _example(image, record, index=index, skipped=skipped)
        raise DataError(
            f"{TRIES} images in a row cannot be decoded, the last is "
            f"{self.records.name(candidate)}: look at the files."  # pyright: ignore[reportPossiblyUnboundVariable]
        )

    def _augment(self, record: Record, epoch: int, index: int) -> np.ndarray:
        sizes = self.sizes
        image = random_resized_crop(
            record.data,
            words_at(self.seed, epoch, "crop", index, CROP_WORDS),
            size=sizes.image_size,
            area=sizes.crop_area,
            aspect=sizes.crop_aspect,
            flip=sizes.flip,
            max_pixels=sizes.max_pixels,
        )
        if not self.randaugment:
            return image
        count = words_needed(self.randaugment)
        draws = words_at(self.seed, epoch, "randaugment", index, count)
        return randaugment(image, draws, ops=self.randaugment, magnitude=self.magnitude)


@dataclass(frozen=True, eq=False)
class TestExamples:
    """Place in the test set -> example.

    Attributes:
        records: the images.
        sizes: how they are cut.
        batch_size: of all processes.
        skip: whether a bad image is left out; else it is an error.
        shard: whose rows are counted.
    """

    records: Records
    sizes: Sizes
    batch_size: int
    skip: bool
    shard: Shard

    def __call__(self, place: int) -> Example:
        """The example at a place; beyond the last image black, with a mask of 0.

        Returns:
            image uint8 (s, s, 3), label, mask, index, skipped: 1 for a bad image.
        """
        rows = self.shard.rows(self.batch_size)
        batch, row = divmod(place, rows.stop - rows.start)
        index = batch * self.batch_size + rows.start + row
        if index >= len(self.records):
            return self._black(index, skipped=0)
        try:
            record = self.records[index]
            image = self.sizes.cut_test(record.data)
        except BadImage as error:
            refuse_unless(self.skip, self.records, index, error)
            return self._black(index, skipped=1)
        return _example(image, record, index=index, skipped=0, mask=np.float32(1))

    def _black(self, index: int, skipped: int) -> Example:
        size = self.sizes.image_size
        black = np.zeros((size, size, 3), np.uint8)
        nothing = Record(b"", 0, "")
        return _example(
            black, nothing, index=index, skipped=skipped, mask=np.float32(0)
        )


def refuse_unless(skip: bool, records: Records, index: int, error: BadImage) -> None:
    """Raises DataError with the file's name, unless bad images are skipped."""
    if not skip:
        raise DataError(
            f"{records.name(index)} cannot be decoded: {error}. Replace the file, or "
            "train without it: --data.on-bad-image skip."
        ) from error


def _example(image: np.ndarray, record: Record, **more: Any) -> Example:
    return {"image": image, "label": np.int32(record.label)} | {
        name: np.int32(value) if isinstance(value, int) else value
        for name, value in more.items()
    }
