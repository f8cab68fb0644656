"""What is trained, as the step, the loop, evaluation and the report ask for it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

Batch = dict[str, jax.Array]
Examples = dict[str, jax.Array]
Losses = dict[str, jax.Array]


class MetricColumn(NamedTuple):
    """A number that training or evaluation measures, and how it is written.

    Attributes:
        key: its name in records: "top1".
        title: its name for people: "top-1".
        unit: behind it, such as "%"; "" for none.
        digits: behind the point.
    """

    key: str
    title: str
    unit: str
    digits: int

    def text(self, value: float) -> str:
        """The value with its unit.

        Example:
            >>> MetricColumn("top1", "top-1", "%", 2).text(7.5)
            '7.50 %'
        """
        return f"{value:.{self.digits}f}" + (f" {self.unit}" if self.unit else "")


class Evaluator(Protocol):
    """Gathers the outputs of a whole set; what it makes of them need not be a sum.

    It may have `write(folder)`: what is left of the outputs in the run's folder.
    """

    def add(self, outputs: Any, batch: Mapping[str, np.ndarray]) -> None:
        """Takes the outputs of one batch.

        Args:
            outputs: of `Task.predict`, of all processes, on the host.
            batch: its arrays but `Task.inputs`; mask (b,) is 0 where an example only
                fills up the batch. Every other example comes exactly once.
        """
        ...

    def result(self) -> dict[str, float]:
        """Numbers of `Task.columns`; the same on all processes."""
        ...


class Shown(NamedTuple):
    """What a network says of some examples.

    Attributes:
        lines: one an example, for `predict` to print.
        drawn: examples on the picture, the first ones.
        draw: `(file) -> None`, draws it.
    """

    lines: list[str]
    drawn: int
    draw: Callable[[Path], object]


class Picture(NamedTuple):
    """A picture of a report.

    Attributes:
        shows: what is on it.
        draw: `(file, experiment, state, log) -> None`.
    """

    shows: str
    draw: Callable[..., object]


class Task(Protocol):
    """What is trained: a frozen dataclass whose field `model` is the network.

    Whoever derives from it has `pictures`, `numbers` and `line` already.

    Attributes:
        model: the network, whose `apply` `loss` and `predict` call.
        score: the column that ranks checkpoints, the higher the better.
        columns: what training and evaluation measure, the loss first.
        inputs: the arrays of a batch that the network takes; floats when prepared.
        joins_devices: whether `loss` takes the mapped axis of pmap, `axis=`, as its
            loss is no mean over examples.
        pictures: file name -> picture, of a finished run's report.
    """

    model: Any
    score: str
    columns: tuple[MetricColumn, ...]
    inputs: tuple[str, ...]
    joins_devices: bool = False
    pictures: Mapping[str, Picture] = MappingProxyType({})

    def shapes(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """The arrays of a training batch that the devices get."""
        ...

    def init(self, key: jax.Array) -> Mapping[str, Any]:
        """Draws the network's variables."""
        ...

    def trainable(self, params: Any) -> Any:
        """True or False for each parameter; None where all are trained."""
        return None

    def empty(self) -> Any:
        """No metrics: a `clu.metrics.Collection` to merge those of `loss` into."""
        ...

    def prepare(
        self,
        key: jax.Array | None,
        batch: Batch,
        *,
        axis: str | None = None,
        shards: int = 1,
    ) -> Examples:
        """What the network and the loss take, on the device: normalised, mixed.

        Args:
            key: of what chance decides, the same on all devices; None outside
                training, where the batch may lack all but `inputs`.
            batch: of the input.
            axis: under pmap the mapped axis; then the batch is one device's share.
            shards: devices that share the batch under jit.
        """
        ...

    def loss(
        self, params: Any, batch_stats: Any, examples: Examples, key: jax.Array
    ) -> tuple[jax.Array, tuple[Losses, Any, Any]]:
        """The loss to differentiate: `-> total, (losses, new batch_stats, metrics)`.

        The losses are named, each of the whole batch () or of every example (b,); the
        key is that of dropout and the like.
        """
        ...

    def predict(self, variables: Mapping[str, Any], examples: Examples) -> Any:
        """The outputs that `evaluator` and `show` need; arrays of fixed shapes."""
        ...

    def evaluator(self) -> Evaluator:
        """What the outputs of one evaluation are given to."""
        ...

    def numbers(self, metrics: Any) -> dict[str, float]:
        """The numbers of `columns` that training metrics hold."""
        return {name: float(value) for name, value in metrics.compute().items()}

    def line(self, numbers: Mapping[str, float], kind: str = "") -> str:
        """The numbers as the progress line says them; `kind`: "test", "ema"."""
        known = (column for column in self.columns if column.key in numbers)
        said = (f"{c.title} {c.text(numbers[c.key])}" for c in known)
        return "  ".join(f"{kind} {text}".strip() for text in said)

    def show(
        self,
        predict: Callable[[Batch], Any],
        variables: Mapping[str, Any],
        examples: Any,
        names: list[str],
        truth: Any,
    ) -> Shown:
        """What the network says of examples of the input.

        Args:
            predict: `batch -> outputs`, compiled.
            variables: of the network, on the host.
            examples: a list of what `Input.read` gives, or as of `Input.sample`.
            names: one each.
            truth: as `Input.sample` gives it, if it is known.

        Raises:
            ValueError: the task cannot show any.
        """
        raise ValueError(
            f"`predict` shows what a task's `show` says, {type(self).__name__} has "
            "none: train/tasks/task.py says what it returns."
        )

    def save(self, path: Path, variables: Mapping[str, Any]) -> None:
        """Writes weights into a file, with what is needed to use them."""
        ...


class TaskKind(NamedTuple):
    """How a class of configs becomes a task.

    Attributes:
        check: `(config, devices) -> None`, raises ValueError before data are opened.
        open: `(config, this process, whether data may be fetched) -> input`.
        reopen: `(config, what the weights say of their data, whether examples are
            needed) -> input` for weights that were trained before.
        make: `(config, input) -> task`; ValueError where the two do not fit.
        fake_input: `config -> input` of the right shapes and sizes, for `preflight`.
    """

    check: Callable[[Any, int], None]
    open: Callable[[Any, Any, bool], Any]
    reopen: Callable[[Any, Any, bool], Any]
    make: Callable[[Any, Any], Task]
    fake_input: Callable[[Any], Any]


def normalize(images: jax.Array | np.ndarray, mean, std) -> Any:
    """uint8 (b, h, w, c) to float32: (image / 255 - mean) / std."""
    mean, std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    return (images.astype(jnp.float32) / 255 - mean) / std


def column(task: Task, key: str) -> MetricColumn:
    """The column of a key, such as that of the score."""
    return next(column for column in task.columns if column.key == key)
