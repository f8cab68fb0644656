"""The same few images with boxes in each format that sets of boxes come in."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

# Rows and columns of each image, and its boxes: class, x, y, width, height.
SIZES = (
    *((40, 60), (64, 48), (32, 32), (50, 40), (40, 56), (36, 60), (60, 40)),
    *((40, 56), (48, 64), (56, 40)),
)
CLASSES = ("cat", "dog")
BOXES = (
    [(0, 4, 6, 20, 10), (1, 30, 2, 12, 30)],
    [(1, 8, 8, 16, 40)],
    [],
    [(0, 10, 20, 8, 8)],
    [(0, 2, 2, 50, 30), (0, 4, 4, 10, 10), (1, 6, 20, 30, 16)],
    [(1, 16, 4, 32, 32)],
    [(0, 6, 20, 24, 24), (1, 2, 2, 10, 16)],
    [(0, 2, 2, 50, 30)],
    [(1, 16, 8, 32, 32)],
    [(0, 4, 30, 24, 20), (1, 6, 4, 20, 20)],
)
SPLITS = {"train": range(7), "val": range(7, 10)}


def pixels(number: int) -> np.ndarray:
    """Smooth colours, of which each image has others."""
    h, w = SIZES[number]
    rows, columns = np.mgrid[:h, :w]
    return np.stack([4 * rows, 3 * columns, rows + columns + number], -1).astype(
        np.uint8
    )


def write_images(folder: Path, split: str) -> None:
    folder.mkdir(parents=True)
    for number in SPLITS[split]:
        Image.fromarray(pixels(number)).save(folder / f"{number}.png")


def write_coco(root: Path, change=lambda stated: stated) -> Path:
    """`change` is given what train.json would state."""
    for split, numbers in SPLITS.items():
        write_images(root / split, split)
        boxes = [(n, *box) for n in numbers for box in BOXES[n]]
        stated = {
            "images": [
                {"id": 7 * n, "file_name": f"{n}.png", "height": h, "width": w}
                for n, (h, w) in enumerate(SIZES)
                if n in numbers
            ],
            "annotations": [
                {"id": i, "image_id": 7 * n, "category_id": 3 + 2 * label,
                 "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
                for i, (n, label, *box) in enumerate(boxes)
            ],
            "categories": [{"id": 3 + 2 * k, "name": n} for k, n in enumerate(CLASSES)],
        }  # fmt: skip
        if split == "train":
            stated = change(stated)
        (root / f"{split}.json").write_text(json.dumps(stated))
    return root


def write_voc(root: Path) -> Path:
    (root / "Annotations").mkdir(parents=True)
    (root / "JPEGImages").mkdir()
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for split, numbers in SPLITS.items():
        names = "".join(f"{n}\n" for n in numbers)
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text(names)
        for n in numbers:
            Image.fromarray(pixels(n)).save(root / "JPEGImages" / f"{n}.png")
            (root / "Annotations" / f"{n}.xml").write_text(_xml(n))
    return root


def _xml(n: int) -> str:
    h, w = SIZES[n]
    objects = "".join(
        f"<object><name>{CLASSES[label]}</name><bndbox><xmin>{x + 1}</xmin>"
        f"<ymin>{y + 1}</ymin><xmax>{x + bw}</xmax><ymax>{y + bh}</ymax></bndbox>"
        "</object>"
        for label, x, y, bw, bh in BOXES[n]
    )
    size = f"<size><width>{w}</width><height>{h}</height><depth>3</depth></size>"
    return f"<annotation><filename>{n}.png</filename>{size}{objects}</annotation>"


def write_yolo(root: Path) -> Path:
    for split, numbers in SPLITS.items():
        write_images(root / "images" / split, split)
        (root / "labels" / split).mkdir(parents=True)
        for n in numbers:
            h, w = SIZES[n]
            lines = (
                f"{label} {(x + a / 2) / w!r} {(y + b / 2) / h!r} {a / w!r} {b / h!r}"
                for label, x, y, a, b in BOXES[n]
            )
            text = "\n".join(lines)
            if text:  # without a box there is no file
                (root / "labels" / split / f"{n}.txt").write_text(text + "\n")
    (root / "data.yaml").write_text("path: .\nnames:\n  0: cat\n  1: dog\n")
    return root
