"""What a run's folder says of the run: `config.json` and `result.json`."""

import json
from pathlib import Path
from typing import Any, NamedTuple

CONFIG, RESULT, WEIGHTS = "config.json", "result.json", "model.safetensors"
# The moving average of the weights, of a run that keeps one.
AVERAGE = "model_ema.safetensors"


class Run(NamedTuple):
    """A finished run.

    Attributes:
        folder: of the run.
        config: its options by dotted name, such as "model.groups".
        result: what came out, such as "test_top1" in percent.
    """

    folder: Path
    config: dict[str, Any]
    result: dict[str, Any]


def read_run(folder: Path) -> Run:
    """Reads the config and the result of a run.

    Raises:
        ValueError: the folder is not that of a finished run, or a file is damaged.
    """
    if not folder.is_dir():
        raise ValueError(f"RUN must be the folder of a run: {folder} is no folder.")
    return Run(folder, read_config(folder), _read(folder / RESULT))


def read_config(folder: Path) -> dict[str, Any]:
    """Reads the options of a run by their dotted names.

    Raises:
        ValueError: they are not there, or the file is damaged.
    """
    return _read(folder / CONFIG)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(
            f"A finished run has {CONFIG} and {RESULT}: {path} is not there. Has "
            "`python -m train fit` ended, and is it the right folder?"
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} must be a JSON file: {error}.") from error
    if not isinstance(found, dict):
        raise ValueError(
            f"{path} must be a JSON object, got a {type(found).__name__}. Is it the "
            "file that `python -m train fit` wrote?"
        )
    return found
