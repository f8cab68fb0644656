"""What a finished run leaves: result.json, report.md, weights and two pictures."""

import importlib.metadata
import json
import platform
import tempfile
from pathlib import Path
from typing import Any

from prm_flax.figures import plots
from prm_flax.interop import safetensors
from train.build import Experiment, parameter_count
from train.console import say
from train.evaluate import weights_of
from train.files import write_whole
from train.predict import DRAWN, look
from train.scalars import Scalars
from train.state import TrainState

# Kind of weights -> their file.
WEIGHTS = {"test": "model.safetensors", "ema": "model_ema.safetensors"}
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "prm-flax")


def write_report(
    experiment: Experiment, state: TrainState, log: Scalars, seconds: float
) -> None:
    """Writes the report and prints its last line, `test top-1 NN.NN %`.

    Args:
        experiment: the run.
        state: its last state.
        log: its scalars.
        seconds: of training, evaluation excluded.
    """
    with tempfile.TemporaryDirectory() as made:
        result = _write(Path(made), experiment, state, log, seconds)
        for file in sorted(Path(made).iterdir()):
            write_whole(experiment.workdir / file.name, file.read_bytes())
    say(f"report: {experiment.workdir / 'report.md'}")
    if "ema_top1" in result:
        say(f"ema top-1 {result['ema_top1']:.2f} %")
    say(f"test top-1 {result['test_top1']:.2f} %")


def _write(
    folder: Path,
    experiment: Experiment,
    state: TrainState,
    log: Scalars,
    seconds: float,
) -> dict[str, Any]:
    """Writes all files into a local folder; returns the result."""
    tests = log.of("test")
    result = summarize(experiment, tests[-1], seconds)
    averages = log.of("ema")
    if averages:
        result["ema_top1"] = round(averages[-1]["top1"], 4)
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    for kind, weights in weights_of(state).items():
        safetensors.save(
            folder / WEIGHTS[kind],
            experiment.config.model.name,
            experiment.model_options,
            weights.variables,
        )
    plots.curves(folder / "curves.png", log.of("train"), tests)
    images, labels = experiment.input.sample(DRAWN)
    probabilities, queries = look(experiment, state, images)
    plots.predictions(
        folder / "predictions.png",
        images,
        labels,
        probabilities,
        experiment.input.class_names,
        queries,
    )
    (folder / "report.md").write_text(_markdown(experiment, result, tests, averages))
    return result


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
    experiment: Experiment, result: dict, tests: list[dict], averages: list[dict]
) -> str:
    used = ", ".join(f"{name} {v}" for name, v in result["versions"].items())
    data = experiment.config.data.source
    average = f"\nMoving average of the weights:\n\n{_table(averages)}\n"
    return f"""# {result["name"]}

{result["model"]} ({result["parameters"]:,} parameters) on {data}: test top-1
**{result["test_top1"]:.2f} %** after {result["steps"]} steps of
{experiment.config.batch_size} images, {result["train_seconds"]:.0f} s of training on
{result["devices"]} device(s).

{_table(tests)}
{average if averages else ""}
![loss and accuracy](curves.png)

![test images with predictions and query points](predictions.png)

Weights: `prm_flax.interop.safetensors.load("model.safetensors")`. Options:
`config.json`. Every number: `scalars.jsonl`. Versions: {used}.
"""


def _table(tests: list[dict]) -> str:
    rows = (
        f"| {test['epoch']:g} | {test['loss']:.4f} | {test['top1']:.2f} | "
        f"{test['top5']:.2f} |"
        for test in tests
    )
    head = "| epoch | test loss | test top-1 % | test top-5 % |\n|---|---|---|---|\n"
    return head + "\n".join(rows)
