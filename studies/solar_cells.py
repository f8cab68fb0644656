"""Solar cells: which are defective? ResNet-18 and MobileNetV2, with and without PRM.

654 test images, a third defective; see `train.data.datasets.solar_cells`. Defects are
local, so that position may matter.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.markdown import filled, grid
from studies.bootstrap import Statistic, bootstrap
from studies.case import NONE, Case
from studies.provenance import provenance
from studies.results import Row
from studies.scores import confusion
from studies.scoring import SCORES, differences, formatted
from studies.table import ABSENT, by_case

POSTPROCESS = "studies.probabilities"
NOTE = (
    "The 95 % intervals cover other test images; that of a difference covers other "
    "trainings too if both networks have several. Counts are means over the runs, a "
    "cell being called defective from a probability of one half."
)
# With PRM -> without.
PAIRS = {
    "prm_resnet18": "resnet18",
    "prm_resnet18 from lambda and alpha 1": "resnet18",
    "prm_mobilenet_v2": "mobilenet_v2",
}
# From λ = α = 0, hundreds of steps hardly move PRM: `python -m studies moved`.
INITIAL_VALUES = {"prm_resnet18 from lambda and alpha 1": {"lam": 1.0, "alpha": 1.0}}


def cases() -> dict[str, Case]:
    """All of them by name, in the order of the table."""
    names = dict.fromkeys(
        name for ours, plain in PAIRS.items() for name in (plain, ours)
    )
    return {name: _case(name) for name in names}


def _case(name: str) -> Case:
    network, *_ = name.split()
    config = f"configs/solar_cells/{network}.py"
    family = network.removeprefix("prm_")
    return Case(name, family, config, initial_values=INITIAL_VALUES.get(name, NONE))


def compared() -> dict[str, str]:
    """No step is timed: Fashion-MNIST's are."""
    return {}


def show(rows: Sequence[Row], costs: Mapping[str, Row], draws: int = 10_000) -> str:
    """The results as Markdown: each network's scores, then PRM's differences."""
    runs = {name: list(seeds.values()) for name, seeds in by_case(rows).items()}
    head = ["", "parameters", "runs", *SCORES]
    head += ["functional: passed / alarm", "defective: missed / found"]
    head += ["missed %", "false alarms %"]
    lines = [_line(name, runs.get(name, []), draws) for name in cases()]
    pairs = [
        _difference(ours, runs.get(ours, []), runs.get(plain, []), draws)
        for ours, plain in PAIRS.items()
    ]
    parts = [grid(head, lines), grid(["PRM less plain", *SCORES], pairs)]
    parts += [filled(f"{NOTE} {provenance('solar_cells', rows)}")] if rows else []
    return "\n\n".join(parts)


def _line(name: str, runs: list[Row], draws: int) -> list[str]:
    if not runs:
        return [name, ABSENT, "0", *[ABSENT] * (len(SCORES) + 4)]
    scores, labels = _scores(runs)
    cells = [
        formatted(bootstrap(_over_seeds(statistic), scores.T, labels, draws=draws))
        for statistic in SCORES.values()
    ]
    tables = np.mean([confusion(run, labels) for run in scores], axis=0)
    (right, alarms), (missed, found) = tables
    cells += [f"{right:.0f} / {alarms:.0f}", f"{missed:.0f} / {found:.0f}"]
    mistakes = [missed / (missed + found), alarms / (alarms + right)]
    cells += [f"{100 * share:.1f}" for share in mistakes]
    return [name, f"{runs[0]['parameters']:,}", str(len(runs)), *cells]


def _difference(name: str, ours: list[Row], theirs: list[Row], draws: int) -> list[str]:
    if not ours or not theirs:
        return [name, *[ABSENT] * len(SCORES)]
    (us, labels), (them, _) = _scores(ours), _scores(theirs)
    return [name, *differences(us, them, labels, draws)]


def _scores(runs: list[Row]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (seeds, n) of a defect and labels (n,)."""
    return np.array([run["scores"] for run in runs]), np.array(runs[0]["labels"])


def _over_seeds(statistic: Statistic) -> Statistic:
    """The mean of a statistic over the columns of its scores."""
    return lambda scores, labels: float(
        np.mean([statistic(s, labels) for s in scores.T])
    )
