"""Checks that a workdir's config matches: a run goes on as it began."""

import dataclasses
import json
from typing import Any

from etils import epath

from prm_flax.runs import CONFIG, FREE, is_free
from train.config import BaseConfig
from train.workdir.files import write_whole
from train.workdir.lock import WorkdirError

# Schedules that do not look at the end: such a run may be given more epochs.
OPEN_ENDED = ("step",)
# Fields that a trained network's answers do not depend on either.
FREE_TO_USE = (*FREE, "name", "epochs", "batch_size", "seed", "optim.")
FREE_TO_USE += ("init.",)
FREE_TO_USE += ("data.source", "data.crop_padding", "data.flip", "model.remat")
FREE_TO_USE += ("data.crop_area", "data.crop_aspect", "data.mixup", "data.cutmix")
FREE_TO_USE += ("data.randaugment", "data.randaugment_magnitude")


def write_config(workdir: epath.Path, config: BaseConfig) -> None:
    """Writes the config into the folder, or compares it with the one there.

    Raises:
        WorkdirError: the folder holds a run whose numbers would be others.
    """
    check_config_of_run(workdir, config)
    text = json.dumps(_flat(config), indent=1) + "\n"
    write_whole(workdir / CONFIG, text.encode())


def check_config_of_run(workdir: epath.Path, config: BaseConfig) -> None:
    """Raises WorkdirError if the folder holds a run whose numbers would be others."""
    more = recorded_config(workdir).get("epochs", config.epochs) <= config.epochs
    longer = ("epochs",) if more and config.optim.schedule in OPEN_ENDED else ()
    check_fields(workdir, config, FREE + longer)


def started_from(workdir: epath.Path, config: BaseConfig) -> bool:
    """Whether the folder's run started from the weights that the config names."""
    earlier, given = (
        _flat(type(config)(name="")) | recorded_config(workdir),
        _flat(config),
    )
    names = ("init.file", "init.weights", "init.new")
    return all(earlier[name] == given[name] for name in names)


def check_fields(
    workdir: epath.Path, config: BaseConfig, free: tuple[str, ...]
) -> None:
    """Raises WorkdirError if the folder's config differs in a field that is not free.

    `free` holds names of fields; with a dot at the end, of all below it.
    """
    earlier = recorded_config(workdir)
    if not earlier:
        return
    # A field that came after the run was started had no effect on it: its default.
    earlier = _flat(type(config)(name="")) | earlier
    given = _flat(config)
    different = [
        f"{name}: was {earlier.get(name)!r}, is {given.get(name)!r}"
        for name in sorted(earlier.keys() | given.keys())
        if earlier.get(name) != given.get(name) and not is_free(name, free)
    ]
    if different:
        raise WorkdirError(
            f"{workdir} holds a run of another config ({'; '.join(different)}). "
            f"{_advice(earlier, given)}"
        )


def _advice(earlier: dict[str, Any], given: dict[str, Any]) -> str:
    """The likely fix, of two configs that differ."""
    trained, asked = earlier["model.name"], given["model.name"]
    if trained == asked:
        return "Give the config it was trained with, or another --workdir."
    return (
        f"It is a run of {trained}, named {earlier['name']}: give its config, or "
        f"another --workdir, of a run of {asked}."
    )


def recorded_config(workdir: epath.Path) -> dict[str, Any]:
    """The folder's config, path of each field -> its value; {} if it has none."""
    path = workdir / CONFIG
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise WorkdirError(f"{path} is damaged: {error}. Delete {workdir}.") from error
    if not isinstance(found, dict):
        raise WorkdirError(f"{path} is no run's: {found!r:.50}. Delete {workdir}.")
    return found


def _flat(config: BaseConfig) -> dict[str, Any]:
    """Path of each field -> its value, as JSON has it."""
    return json.loads(json.dumps(_flattened(dataclasses.asdict(config), "")))


def _flattened(tree: dict[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flattened(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
