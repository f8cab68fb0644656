"""The folder of saved steps: which of them can be used, and which may go."""

import errno
import time
from collections.abc import Mapping
from typing import NamedTuple

from etils import epath

from train.checkpoints import manifest

# What a copy of a saved step is called, which is only made to see that it can be.
PROOF = ".proof"
# In the names of what a save or a deletion that was cut off leaves behind.
LEFTOVERS = (".orbax-checkpoint-tmp", f".{manifest.NAME}.tmp", ".deleted", PROOF)
# Files came or went while a folder was removed; then again after these seconds.
MEANWHILE = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT)
PAUSES = tuple(0.01 * 2**n for n in range(10))


class Found(NamedTuple):
    """A good step.

    Attributes:
        step: None if there is none.
        damaged: what is wrong with the steps that were looked at before it.
    """

    step: int | None
    damaged: dict[int, str]


class Steps:
    """Folders named after their step.

    A step with a manifest is saved. One without is a save that was cut off between
    Orbax's commit and the manifest: it is not used, and the next save removes it.

    Args:
        folder: need not exist.
    """

    def __init__(self, folder: epath.Path):
        self.folder = folder

    def path(self, step: int) -> epath.Path:
        """Where a step is."""
        return self.folder / str(step)

    def proof(self, step: int) -> epath.Path:
        """Where a copy of it may be for a moment."""
        return self.folder / f"{step}{PROOF}"

    def all(self) -> list[int]:
        """Every step there is, ascending, saved or not."""
        return sorted(int(name) for name in self._names() if name.isdigit())

    def saved(self) -> list[int]:
        """The steps that have a manifest, ascending."""
        return [s for s in self.all() if (self.path(s) / manifest.NAME).exists()]

    def usable(self) -> list[int]:
        """The steps that should be good, ascending.

        Only the last one can lack its manifest because its save was cut off: each save
        waits for the one before. An earlier one without a manifest is damaged.
        """
        steps = self.all()
        return [*steps[:-1], *(s for s in self.saved() if s == steps[-1])]

    def good(self) -> Found:
        """The last step that is what was saved, and what is wrong with later ones."""
        damaged: dict[int, str] = {}
        for step in reversed(self.usable()):
            found = self.look(step)
            if found.step is not None:
                return Found(step, damaged)
            damaged |= found.damaged
        return Found(None, damaged)

    def look(self, step: int) -> Found:
        """The step, if it is what was saved, or what is wrong with it."""
        try:
            manifest.check(self.path(step))
        except manifest.DamagedError as error:
            return Found(None, {step: str(error)})
        return Found(step, {})

    def clear(self) -> None:
        """Removes what was cut off and does not have the name of a step."""
        for name in self._names():
            if name[:1].isdigit() and any(part in name for part in LEFTOVERS):
                remove(self.folder / name)

    def make_way(self, step: int) -> None:
        """Removes what a save of this step left behind that was cut off."""
        if step in set(self.all()) - set(self.saved()):
            self.drop(step)

    def set_aside(self, step: int) -> epath.Path:
        """Renames a damaged step, for whoever wants to look at it; its new path."""
        aside = self.folder / f"{step}.damaged"
        remove(aside)
        return self.path(step).rename(aside)

    def drop(self, step: int) -> None:
        """Removes a step. Renamed first: half of it never counts as a damaged one."""
        renamed = self.folder / f"{step}.deleted"
        remove(renamed)
        remove(self.path(step).rename(renamed))

    def prune(self, keep: int, scores: Mapping[int, float]) -> None:
        """Removes all but the last `keep` saved steps and the best of the saved."""
        saved = self.saved()
        kept = {*saved[-keep:], best(saved, scores)}
        for step in self.all():
            if step not in kept:
                self.drop(step)

    def _names(self) -> list[str]:
        if not self.folder.exists():
            return []
        return [path.name for path in self.folder.iterdir()]


def best(steps: list[int], scores: Mapping[int, float]) -> int | None:
    """The step with the highest score, the first of equals; None if none has one."""
    scored = [step for step in steps if step in scores]
    return max(scored, key=lambda step: (scores[step], -step), default=None)


def none_is_good(folder: epath.Path, damaged: Mapping[int, str]) -> str:
    """Says why nothing can be restored."""
    if not damaged:
        return f"no checkpoint in {folder}. Train first: python -m train fit …"
    reasons = "\n".join(f"  step {step}: {reason}" for step, reason in damaged.items())
    return (
        f"no checkpoint in {folder} is as it was saved:\n{reasons}\nCopy it there from "
        "where it is whole, or train again with another --workdir."
    )


def remove(path: epath.Path) -> None:
    """Removes a file or a folder, if it is there; again if files come meanwhile."""
    for pause in PAUSES:
        try:
            return _remove_once(path)
        except OSError as error:
            if error.errno not in MEANWHILE:
                raise
            time.sleep(pause)
    _remove_once(path)


def _remove_once(path: epath.Path) -> None:
    if path.is_dir():
        path.rmtree()
    else:
        path.unlink(missing_ok=True)
