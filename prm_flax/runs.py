"""The folder of a run of `python -m train fit`: its files, and one reader of them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

CONFIG, RESULT = "config.json", "result.json"
DATA, SCALARS = "data.json", "scalars.jsonl"
WEIGHTS = "model.safetensors"
# The moving average of the weights, of a run that keeps one.
AVERAGE = "model_ema.safetensors"

# Options that change none of a run's numbers: two runs that differ in these alone are
# equal, and such a run may go on with others. With a dot at the end: all below it.
FREE = (
    "checkpoint.",
    "log.",
    "profile",
    "parallel",
    "distributed",
    "coordinator",
    "processes",
    "process_id",
    "startup_seconds",
    "heartbeat_seconds",
    "workdir",
    "eval_batch_size",
    "data.prefetch",
    "data.root",
    "data.workers",
    # A run that met a bad image could not go on otherwise.
    "data.on_bad_image",
    "data.max_image_bytes",
    "data.max_image_pixels",
    "model.kernel",
)

# Scores of a classifier, and of a detector: the first is always there.
ACCURACIES = ("top1", "top5")
PRECISIONS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
NOTHING = -1  # a precision without ground truth

# The config and the result are a few kilobytes; data.json has a name for each class.
MOST_BYTES, MOST_BYTES_OF_DATA = 1 << 20, 1 << 24


class Run(NamedTuple):
    """A finished run.

    Attributes:
        folder: as it was given.
        config: dotted name of each option -> its value, such as "data.source".
        result: what came out, such as "train_seconds".
        data: what it was trained on, such as "class_names"; None for a run from before
            this was written down.
        model: the network's name.
        source: of the data, such as "imagenet2012".
        epochs: passes over the training images.
        batch_size: images of a step.
        steps: that were made.
        parameters: trainable numbers of the network.
        scores: of the test images in percent: "top1" and, where the run wrote it down,
            "top5" of a classifier; "AP", "AP50" and the others of a detector, without
            those that the test images have no ground truth for.
    """

    folder: str
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    data: Mapping[str, Any] | None
    model: str
    source: str
    epochs: int
    batch_size: int
    steps: int
    parameters: int
    scores: Mapping[str, float]


def read_run(folder: str | os.PathLike[str]) -> Run:
    """Reads the folder of a finished run.

    Args:
        folder: with config.json, result.json and, but for old runs, data.json.

    Raises:
        ValueError: it is none, or one of its files is not what a run writes.
    """
    place = Path(folder)
    config, result = read_config(place), _read(place / RESULT)
    model = _text(config, "model.name", place / CONFIG)
    if _text(result, "model", place / RESULT) != model:
        raise ValueError(
            f"the files of a run are of one network: {place / CONFIG} is of {model!r}, "
            f"{RESULT} of {result['model']!r}. Copy the whole folder again."
        )
    return Run(
        os.fspath(folder),
        config,
        result,
        _read_data(place),
        model,
        source=_text(config, "data.source", place / CONFIG),
        epochs=_count(config, "epochs", place / CONFIG),
        batch_size=_count(config, "batch_size", place / CONFIG),
        steps=_count(result, "steps", place / RESULT),
        parameters=_count(result, "parameters", place / RESULT),
        scores=_scores(result, place / RESULT),
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Reads the options of a run by their dotted names; it need not have ended.

    Raises:
        ValueError: they are not there, or the file is damaged.
    """
    if not folder.is_dir():
        raise ValueError(
            f"a run is a folder with {CONFIG} and {RESULT}: {folder} is no folder. "
            "`python -m train fit` writes runs/NAME, or its --workdir."
        )
    return _read(folder / CONFIG)


def is_free(option: str, free: tuple[str, ...] = FREE) -> bool:
    """Whether equal runs may differ in an option.

    Args:
        option: its dotted name.
        free: names of options; with a dot at the end, of all below it.

    Example:
        >>> is_free("log.every_steps"), is_free("optim.peak_lr")
        (True, False)
    """
    return any(
        option.startswith(each) if each.endswith(".") else option == each
        for each in free
    )


def _read_data(folder: Path) -> dict[str, Any] | None:
    path = folder / DATA
    return _read(path, MOST_BYTES_OF_DATA) if path.exists() else None


def _read(path: Path, most: int = MOST_BYTES) -> dict[str, Any]:
    """A JSON object out of a file that is not larger than a run's."""
    if not path.is_file():
        raise ValueError(
            f"a finished run has {CONFIG} and {RESULT}: {path} is not there. "
            "`python -m train fit` writes them into runs/NAME, or into its --workdir. "
            "Has it ended, and is it the right folder?"
        )
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise ValueError(f"{path} must be a file to read: {error}.") from error
    if len(data) > most:
        raise ValueError(
            f"{path} must be a file of a run, of at most {most:,} bytes; it is larger. "
            "Is it another program's?"
        )
    return _parsed(path, data)


def _parsed(path: Path, data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} must be a JSON file: {error}. Copy it again."
        ) from None
    if not isinstance(found, dict):
        raise ValueError(
            f"{path} must be a JSON object, got a {type(found).__name__}. Is it the "
            "file that `python -m train fit` wrote?"
        )
    return found


def _text(found: Mapping[str, Any], name: str, path: Path) -> str:
    value = found.get(name)
    return value if isinstance(value, str) else _refuse(path, name, "a text", value)


def _count(found: Mapping[str, Any], name: str, path: Path) -> int:
    value: Any = found.get(name)
    number = isinstance(value, int) and not isinstance(value, bool)
    if number and value >= 1:
        return value
    return _refuse(path, name, "a whole number from 1 on", value)


def _percent(found: Mapping[str, Any], name: str, path: Path) -> float:
    value: Any = found.get(name)
    # The comparison leaves NaN and the infinities out, too.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and 0 <= value <= 100:
        return float(value)
    return _refuse(path, name, "a number from 0 to 100", value)


def _scores(result: Mapping[str, Any], path: Path) -> dict[str, float]:
    """What the run's task is told by: top-1, or average precision, and what is more."""
    first, *others = PRECISIONS if f"test_{PRECISIONS[0]}" in result else ACCURACIES
    there = [n for n in others if result.get(f"test_{n}", NOTHING) != NOTHING]
    return {name: _percent(result, f"test_{name}", path) for name in (first, *there)}


def _refuse(path: Path, name: str, rule: str, value: object) -> Any:
    raise ValueError(
        f"{path} must have {name!r}, {rule}; got {value!r:.99}. Is it a file of a "
        "finished run of this version?"
    )
