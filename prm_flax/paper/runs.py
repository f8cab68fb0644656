"""The folders of `python -m train fit`: what was trained, and how good it was."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

# Both files are a few kilobytes.
MOST_BYTES = 1 << 20
FILES = ("config.json", "result.json")


class Run(NamedTuple):
    """A finished run.

    Attributes:
        folder: as it was given.
        config: path of each field -> its value, such as "data.source".
        model: the network's name.
        epochs: passes over the training images.
        batch_size: images of a step.
        steps: that were made.
        parameters: trainable numbers of the network.
        top1: percent of the test images.
        top5: percent; None where the run did not write it down.
    """

    folder: str
    config: Mapping[str, Any]
    model: str
    epochs: int
    batch_size: int
    steps: int
    parameters: int
    top1: float
    top5: float | None


def read_run(folder: str) -> Run:
    """Reads the folder of a finished run.

    Raises:
        ValueError: it is none, or one of its files is not what a run writes.
    """
    files = [Path(folder, name) for name in FILES]
    config, result = map(_read, files)
    model = _text(config, "model.name", files[0])
    if _text(result, "model", files[1]) != model:
        raise ValueError(
            f"the files of a run are of one network: {files[0]} is of {model!r}, "
            f"{files[1].name} of {result['model']!r}. Copy the whole folder again."
        )
    return Run(
        folder,
        config,
        model,
        epochs=_count(config, "epochs", files[0]),
        batch_size=_count(config, "batch_size", files[0]),
        steps=_count(result, "steps", files[1]),
        parameters=_count(result, "parameters", files[1]),
        top1=_percent(result, "test_top1", files[1]),
        top5=_percent(result, "test_top5", files[1]) if "test_top5" in result else None,
    )


def _read(path: Path) -> dict[str, Any]:
    """A JSON object out of a file that is not larger than a run's."""
    if not path.is_file():
        raise ValueError(
            f"--runs takes folders of finished runs, which have {' and '.join(FILES)}: "
            f"{path} is not there. `python -m train fit` writes them into runs/NAME, "
            "or into its --workdir."
        )
    with open(path, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(
            f"{path} must be a file of a run, of at most {MOST_BYTES:,} bytes; it is "
            "larger. Is it another program's?"
        )
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON: {error}. Copy it again.") from None
    if not isinstance(tree, dict):
        raise ValueError(f"{path} must be a JSON object, got {type(tree).__name__}.")
    return tree


def _text(tree: dict[str, Any], name: str, path: Path) -> str:
    value = tree.get(name)
    return value if isinstance(value, str) else _refuse(path, name, "a text", value)


def _count(tree: dict[str, Any], name: str, path: Path) -> int:
    value: Any = tree.get(name)
    number = isinstance(value, int) and not isinstance(value, bool)
    if number and value >= 1:
        return value
    return _refuse(path, name, "a whole number from 1 on", value)


def _percent(tree: dict[str, Any], name: str, path: Path) -> float:
    value: Any = tree.get(name)
    # The comparison leaves NaN and the infinities out, too.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and 0 <= value <= 100:
        return float(value)
    return _refuse(path, name, "a number from 0 to 100", value)


def _refuse(path: Path, name: str, rule: str, value: object) -> Any:
    raise ValueError(
        f"{path} must have {name!r}, {rule}; got {value!r:.99}. Is it a file of a "
        "finished run of this version?"
    )
