"""Fashion-MNIST: 60,000 + 10,000 pictures of clothes, 28x28, ten classes.

Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747; MIT licence. The original files are
looked for on this machine and otherwise fetched:
`python -m train.data.datasets.fashion_mnist`.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from train.data.datasets.idx import find_idx_files, load_idx, read_idx
from train.data.download import (
    FetchError,
    debian_package,
    not_here,
    publish,
    tfds_originals,
)
from train.data.records.arrays import Splits

VARIABLE = "PRM_DATA_DIR"
SYSTEM = Path("/usr/share/datasets/fashion-mnist")
CACHE = Path(__file__).resolve().parents[3] / "data" / "fashion-mnist"

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# Of the uncompressed content: distributions compress the same files differently.
SHA256 = {
    "train-images-idx3-ubyte": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
    ),
    "train-labels-idx1-ubyte": (
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
    ),
    "t10k-images-idx3-ubyte": (
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
    ),
    "t10k-labels-idx1-ubyte": (
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
    ),
}

WAYS: tuple[tuple[str, Callable[[Path], Path]], ...] = (
    (
        "Debian's package dataset-fashion-mnist (31 MB) with apt-get",
        partial(debian_package, "dataset-fashion-mnist", str(SYSTEM).lstrip("/")),
    ),
    (
        "the authors' files (31 MB) with tensorflow-datasets",
        partial(tfds_originals, "fashion_mnist"),
    ),
)


def load_fashion_mnist(root: str | None = None, fetch: bool = True) -> Splits:
    """Load the whole set, fetching it where it is not on this machine.

    Args:
        root: the folder with the four files; None looks for it as `locate` does.
        fetch: whether it may be fetched.

    Returns:
        Train (60000, 28, 28, 1) and test (10000, 28, 28, 1) images with labels.

    Raises:
        FileNotFoundError: the files are nowhere and cannot be fetched.
        ValueError: a file's content is not Fashion-MNIST's.
    """
    return load_idx(locate(root, fetch), CLASS_NAMES, sha256=SHA256)


def locate(root: str | None = None, fetch: bool = True) -> Path:
    """Find the folder with the four files, fetching them as a last resort.

    Args:
        root: as in `find`.
        fetch: whether they may be fetched.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: see `find`; or nothing was found and each way of fetching
            failed, with the reasons.
    """
    found, reasons = _search(root)
    if found is None and not fetch:
        raise not_here("Fashion-MNIST", "make data")
    return found or _fetch(CACHE, reasons)


def find(root: str | None = None) -> Path | None:
    """Find the folder with the four files on this machine.

    Args:
        root: the only folder to look in. None looks in PRM_DATA_DIR or its subfolder
            fashion-mnist if that variable is set, and otherwise in Debian's place and
            in data/fashion-mnist of the checkout.

    Returns:
        The folder, or None if nothing was named and neither usual place has them.

    Raises:
        FileNotFoundError: `root` or PRM_DATA_DIR names a folder without the files.
    """
    return _search(root)[0]


def _search(root: str | None) -> tuple[Path | None, list[str]]:
    named = root or os.environ.get(VARIABLE)
    if root:
        places = [Path(root)]
    elif named:
        places = [Path(named), Path(named, "fashion-mnist")]
    else:
        places = [SYSTEM, CACHE]
    reasons = []
    for place in places:
        try:
            find_idx_files(place)
        except FileNotFoundError as error:
            reasons.append(str(error))
        else:
            return place, []
    if named:
        # What someone named is never replaced in silence by something else.
        raise FileNotFoundError(
            f"{'the data folder' if root else VARIABLE} is {named}, without "
            "Fashion-MNIST:\n  " + "\n  ".join(reasons) + "\nCorrect it, or leave it "
            "unset to have the files found or fetched."
        )
    return None, reasons


def _fetch(into: Path, reasons: list[str]) -> Path:
    for way, fetch in WAYS:
        print(f"fetching {way} into {into}", file=sys.stderr, flush=True)
        try:
            with tempfile.TemporaryDirectory() as scratch:
                files = find_idx_files(fetch(Path(scratch)))
                for name, path in files.items():
                    read_idx(path, sha256=SHA256[name])
                publish(files.values(), into)
            return into
        except (FetchError, OSError, ValueError) as error:
            reasons.append(f"{way}: {error}")
    raise FileNotFoundError(
        "Fashion-MNIST is not on this machine and could not be fetched:\n  "
        + "\n  ".join(reasons)
        + f"\nConnect to a network, or put the four files into a folder and set "
        f"{VARIABLE} to it."
    )


def main() -> None:
    """Print the folder with the checked files, fetching them where needed."""
    try:
        folder = locate()
        load_fashion_mnist(str(folder))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(folder)


if __name__ == "__main__":
    main()
