"""The commands that look at networks and runs: they read, say numbers, and draw."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prm_flax.figures import maps
from prm_flax.figures.accuracy import by_heads, draw_accuracy
from prm_flax.figures.canvas import check_path
from prm_flax.figures.class_names import read_names
from prm_flax.figures.look import Seen, look, look_of_backbone
from prm_flax.figures.looks_plot import draw_looks
from prm_flax.figures.photo import preparation_of, read_photo
from prm_flax.figures.rates_plot import draw_rates
from prm_flax.figures.watch import prm_stages
from prm_flax.figures.weights import backbone_of, read_weights
from prm_flax.interop.shapes import SAMPLE
from prm_flax.printable import printable
from prm_flax.runs import read_run

FRESH = "untrained PRMs: θ, and so the masks, as drawn at the start"
OF_BACKBONE = "a detector: query points and masks of its backbone, no Grad-CAM"
NO_CLASS = (
    "{} is a detector: of its backbone there are query points and position masks, "
    "Grad-CAM is of a class. Leave --class-index out."
)
NO_PRM = (
    "{} has no PRM, so no contribution rates: take the weights of a prm_ network, such "
    "as prm_resnet14."
)


def rates(weights: str, path: str, **how: Any) -> None:
    """Prints and draws the contribution rate of every PRM (Figure 3).

    Args:
        weights: see `weights.read_weights`, which also takes `how`.
        path: of the PNG to write.
        **how: name, ddof, fresh.

    Raises:
        ValueError: the input is wrong, or the network, or a detector's backbone, has
            no PRM.
        OSError: a file cannot be read or written.
    """
    check_path(path)
    whole = read_weights(Path(weights), **how)
    found = backbone_of(whole) or whole
    values = maps.contribution_rates(found.variables)
    if not values:
        raise ValueError(NO_PRM.format(found.title))
    stages = prm_stages(found.model, found.variables, (*SAMPLE, found.channels))
    ordered = {name: values[name] for name in stages}
    width = max(map(len, ordered))
    for name, rate in ordered.items():
        print(f"{name:<{width}}  {stages[name]:<8}  {rate:.4f}")
    draw_rates(path, ordered, stages, found.title)
    print(printable(f"picture: {path}"))


def accuracy(path: str, runs: Sequence[str]) -> None:
    """Prints and draws top-1 accuracy against the number of heads (Figure 4).

    Args:
        path: of the PNG to write.
        runs: folders of runs, see `accuracy.by_heads`.

    Raises:
        ValueError: the input is wrong.
        OSError: a file cannot be read or written.
    """
    check_path(path)
    found = by_heads([read_run(run) for run in runs])
    rows = {f"prm_{found.network}, g = {g}": v for g, v in found.by_heads.items()}
    if found.plain:
        rows[found.network] = found.plain
    for name, values in rows.items():
        low, high = min(values), max(values)
        spread = f", {len(values)} runs, {low:.2f} to {high:.2f} %"
        several = spread if len(values) > 1 else ""
        words = f"{name}: top-1 {np.mean(values):.2f} % on {found.dataset}{several}"
        print(printable(words))
    draw_accuracy(path, found)
    print(printable(f"picture: {path}"))


def looks(
    weights: str,
    image: str,
    path: str,
    *,
    class_names: str | None = None,
    class_index: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | None = None,
    resize: int | None = None,
    **how: Any,
) -> None:
    """Prints the classes of an image and draws where a network looks (Figure 5).

    Args:
        weights: see `weights.read_weights`, which also takes `how`.
        image: of the image file.
        path: of the PNG to write.
        class_names: of a file, see `class_names.read_names`.
        class_index: of the class for Grad-CAM; None takes the most probable.
        mean: of the normalisation; this and the next three as in `photo.Preparation`,
            None those of the run, or of ImageNet.
        std: of the normalisation.
        size: of the network's input.
        resize: the shorter side before the cut; 0 squeezes the image.
        **how: name, ddof, fresh.

    Raises:
        ValueError: the input is wrong.
        OSError: a file cannot be read or written.
    """
    check_path(path)
    found = read_weights(Path(weights), **how)
    backbone = backbone_of(found)
    given = {"mean": mean, "std": std, "size": size, "resize": resize}
    chosen = {key: value for key, value in given.items() if value is not None}
    preparation = preparation_of(found.config, found.about)
    if backbone is not None:  # a detector keeps the ratio of an image
        preparation = preparation._replace(resize=chosen.get("size", preparation.size))
    preparation = preparation._replace(**chosen)
    pixels = read_photo(Path(image), found.channels, preparation)
    if backbone is not None:
        if class_index is not None:
            raise ValueError(NO_CLASS.format(found.title))
        print(printable(f"{found.title}: {OF_BACKBONE}"))
        seen = look_of_backbone(backbone, pixels, preparation)
        draw_looks(path, seen, found.title, OF_BACKBONE)
        print(printable(f"picture: {path}"))
        return
    file = Path(class_names) if class_names else None
    names = read_names(file, found.model.num_classes, found.about.class_names)
    seen = look(found, pixels, preparation, class_index)
    best = np.argsort(-seen.probabilities, kind="stable")[:5]
    print(printable(", ".join(f"{names[k]} {_percent(seen, k)}" for k in best)))
    notes = {"no PRM: Grad-CAM alone": not seen.looks.queries, FRESH: found.fresh}
    note = "; ".join(words for words, holds in notes.items() if holds)
    if note:
        print(note)
    k = seen.class_index
    title = f"{found.title}: {names[k]}, {_percent(seen, k)}"
    draw_looks(path, seen.looks, title, note)
    print(printable(f"picture: {path}"))


def _percent(seen: Seen, k: int) -> str:
    return f"{100 * seen.probabilities[k]:.1f} %"
