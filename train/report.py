"""What a finished run leaves: weights, result.json, report.md and two pictures."""

import functools
import importlib.metadata
import json
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epath

from prm_flax import runs
from prm_flax.printable import markdown, printable
from train.distributed import say
from train.evaluate import weights_of
from train.experiment import Experiment, parameter_count
from train.scalars import Scalars
from train.state import TrainState
from train.tasks.task import MetricColumn, Task, column
from train.workdir.files import write_whole

# Kind of weights -> their file.
WEIGHTS = {"test": runs.WEIGHTS, "ema": runs.AVERAGE}
REPORT = "report.md"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "prm-flax")


def write_report(
    experiment: Experiment, state: TrainState, log: Scalars, seconds: float
) -> None:
    """Writes the report and prints its last line, the score of the test set.

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
    score = column(experiment.task, experiment.task.score)
    if averages:
        result[f"ema_{score.key}"] = round(averages[-1][score.key], 4)
    _write_weights(experiment, state)
    write_whole(workdir / runs.RESULT, (json.dumps(result, indent=1) + "\n").encode())
    drawn: dict[str, str] = {}
    text = functools.partial(_markdown, experiment, result, tests, averages, drawn)
    write_whole(workdir / REPORT, text().encode())
    for name, picture in experiment.task.pictures.items():
        made = functools.partial(
            picture.draw, experiment=experiment, state=state, log=log
        )
        drawn[name] = failure_of(name, functools.partial(_made, workdir / name, made))
    write_whole(workdir / REPORT, text().encode())
    say(f"report: {workdir / REPORT}")
    for kind in ("ema", "test"):
        if f"{kind}_{score.key}" in result:
            number = score.text(result[f"{kind}_{score.key}"])
            say(f"{kind} {score.title} {number}")


def _write_weights(experiment: Experiment, state: TrainState) -> None:
    for kind, weights in weights_of(state).items():

        def save(path: Path, weights: TrainState = weights) -> None:
            experiment.task.save(path, weights.variables)

        _made(experiment.workdir / WEIGHTS[kind], save)


def _made(path: epath.Path, make: Callable[[Path], object]) -> None:
    """Makes a file here, where libraries can write, and puts it into its place."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder) / path.name
        make(here)
        write_whole(path, here.read_bytes())


def failure_of(name: str, draw: Callable[[], object]) -> str:
    """Draws a picture; where that fails, whatever the reason, it is said.

    Args:
        name: of the picture.
        draw: draws and writes it.

    Returns:
        Why there is no picture, in a line; "" if there is one.
    """
    try:
        draw()
    except Exception as error:
        kind, text = type(error).__name__, str(error)
        why = printable(f"{kind}: {text}" if text else kind)
        say(f"{name} could not be drawn: {why}")
        return why
    return ""


def summarize(
    experiment: Experiment, test: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """The run in a few numbers, those of the test set in the units of the columns."""
    images = experiment.steps * experiment.config.batch_size
    columns = experiment.task.columns[1:]
    return {
        "name": experiment.config.name,
        "model": experiment.config.model.name,
        **{f"test_{c.key}": round(test[c.key], 4) for c in _known(columns, test)},
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
    task = experiment.task
    score, pictures = column(task, task.score), task.pictures
    average = "Moving average of the weights:\n\n"
    parts = [
        f"# {markdown(result['name'])}",
        f"""\
{result["model"]} ({result["parameters"]:,} parameters) on {data}: test {score.title}
**{score.text(result["test_" + score.key])}** after {result["steps"]} steps of
{experiment.config.batch_size} images, {result["train_seconds"]:.0f} s of training on
{result["devices"]} device(s).""",
        _table(task, tests),
        *([average + _table(task, averages)] if averages else []),
        *(_picture(name, pictures[name].shows, why) for name, why in drawn.items()),
        f"""\
Weights: `prm_flax.interop.safetensors.load("model.safetensors")`. Options:
`config.json`. Every number: `scalars.jsonl`. Versions: {used}.
""",
    ]
    return "\n\n".join(parts)


def _picture(name: str, shows: str, why: str) -> str:
    if why:
        return f"{name} could not be drawn: {markdown(why)}"
    return f"![{shows}]({name})"


def _known(columns: Sequence[MetricColumn], test: Mapping) -> list[MetricColumn]:
    """Those that an evaluation measures: a loss need not be among them."""
    return [column for column in columns if column.key in test]


def _table(task: Task, tests: list[dict]) -> str:
    columns = _known(task.columns, tests[-1])
    titles = [f"test {c.title} {c.unit}".strip() for c in columns]
    numbers = (
        [f"{test['epoch']:g}", *(f"{test[c.key]:.{c.digits}f}" for c in columns)]
        for test in tests
    )
    rows = [["epoch", *titles], ["---"] * (1 + len(titles)), *numbers]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines[1] = lines[1].replace(" ", "")
    return "\n".join(lines)
