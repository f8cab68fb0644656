"""What a finished run leaves: weights, result.json, report.md and two pictures."""

import functools
import importlib.metadata
import json
import platform
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from etils import epath

from prm_flax.figures import plots, runs
from prm_flax.printable import markdown
from train.attempt import failure_of
from train.distributed import say
from train.evaluate import weights_of
from train.experiment import Experiment, parameter_count
from train.export.weights import network_of, save_weights
from train.predict import DRAWN, look
from train.scalars import Scalars
from train.state import TrainState
from train.workdir.files import write_whole

# Kind of weights -> their file.
WEIGHTS = {"test": runs.WEIGHTS, "ema": runs.AVERAGE}
REPORT = "report.md"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "prm-flax")


def write_report(
    experiment: Experiment, state: TrainState, log: Scalars, seconds: float
) -> None:
    """Writes the report and prints its last line, `test top-1 NN.NN %`.

    The weights and the numbers come first, the pictures last: one that cannot be drawn
    is named, here and in the report, and costs nothing else.

    Args:
        experiment: the run.
        state: its last state.
        log: its scalars.
        seconds: of training, evaluation excluded.
    """
    workdir, tests, averages = experiment.workdir, log.of("test"), log.of("ema")
    result = summarize(experiment, tests[-1], seconds)
    if averages:
        result["ema_top1"] = round(averages[-1]["top1"], 4)
    _write_weights(experiment, state)
    write_whole(workdir / "result.json", (json.dumps(result, indent=1) + "\n").encode())
    drawn: dict[str, str] = {}
    text = functools.partial(_markdown, experiment, result, tests, averages, drawn)
    write_whole(workdir / REPORT, text().encode())
    for name, (_, draw) in PICTURES.items():
        made = functools.partial(draw, experiment=experiment, state=state, log=log)
        drawn[name] = failure_of(name, functools.partial(_made, workdir / name, made))
    write_whole(workdir / REPORT, text().encode())
    say(f"report: {workdir / REPORT}")
    if "ema_top1" in result:
        say(f"ema top-1 {result['ema_top1']:.2f} %")
    say(f"test top-1 {result['test_top1']:.2f} %")


def _write_weights(experiment: Experiment, state: TrainState) -> None:
    for kind, weights in weights_of(state).items():

        def save(path: Path, weights: TrainState = weights) -> None:
            save_weights(network_of(experiment, weights.variables), path)

        _made(experiment.workdir / WEIGHTS[kind], save)


def _made(path: epath.Path, make: Callable[[Path], object]) -> None:
    """Makes a file here, where libraries can write, and puts it into its place."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder) / path.name
        make(here)
        write_whole(path, here.read_bytes())


def _curves(path: Path, experiment: Experiment, state: TrainState, log: Scalars):
    plots.curves(path, log.of("train"), log.of("test"))


def _predictions(path: Path, experiment: Experiment, state: TrainState, log: Scalars):
    images, labels = experiment.input.sample(DRAWN)
    probabilities, queries = look(experiment, state, images)
    names = experiment.input.class_names
    plots.predictions(path, images, labels, probabilities, names, queries)


# File -> what it shows, and what draws it.
PICTURES = {
    "curves.png": ("loss and accuracy", _curves),
    "predictions.png": ("test images with predictions and query points", _predictions),
}


def summarize(
    experiment: Experiment, test: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """The run in a few numbers; `test_top1` and `test_top5` in percent."""
    images = experiment.steps * experiment.config.batch_size
    return {
        "name": experiment.config.name,
        "model": experiment.config.model.name,
        "test_top1": round(test["top1"], 4),
        "test_top5": round(test["top5"], 4),
        "parameters": parameter_count(experiment),
        "train_seconds": round(seconds, 2),
        "images_per_second": round(images / seconds, 1) if seconds else None,
        "steps": experiment.steps,
        "devices": experiment.mesh.size,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of Python and the packages that decide a run's numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _markdown(
    experiment: Experiment,
    result: dict,
    tests: list[dict],
    averages: list[dict],
    drawn: Mapping[str, str],
) -> str:
    """The report; `drawn`: file of a picture -> why it is not there, or ""."""
    used = ", ".join(f"{name} {v}" for name, v in result["versions"].items())
    data = experiment.config.data.source
    average = f"Moving average of the weights:\n\n{_table(averages)}"
    parts = [
        f"# {markdown(result['name'])}",
        f"""\
{result["model"]} ({result["parameters"]:,} parameters) on {data}: test top-1
**{result["test_top1"]:.2f} %** after {result["steps"]} steps of
{experiment.config.batch_size} images, {result["train_seconds"]:.0f} s of training on
{result["devices"]} device(s).""",
        _table(tests),
        *([average] if averages else []),
        *(_picture(name, why) for name, why in drawn.items()),
        f"""\
Weights: `prm_flax.interop.safetensors.load("model.safetensors")`. Options:
`config.json`. Every number: `scalars.jsonl`. Versions: {used}.
""",
    ]
    return "\n\n".join(parts)


def _picture(name: str, why: str) -> str:
    if why:
        return f"{name} could not be drawn: {markdown(why)}"
    shows, _ = PICTURES[name]
    return f"![{shows}]({name})"


def _table(tests: list[dict]) -> str:
    rows = (
        f"| {test['epoch']:g} | {test['loss']:.4f} | {test['top1']:.2f} | "
        f"{test['top5']:.2f} |"
        for test in tests
    )
    head = "| epoch | test loss | test top-1 % | test top-5 % |\n|---|---|---|---|\n"
    return head + "\n".join(rows)
