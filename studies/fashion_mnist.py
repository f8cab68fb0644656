"""Fashion-MNIST: ResNet-14 plain, with PRM and with each rival; PRM's own choices.

Ten classes of 28×28 clothes, 60,000 to train on, 10,000 to test on; maps of 14×14, 7×7
and 4×4. Each case is trained as `configs/fashion_mnist` says, in minutes.
"""

from collections.abc import Mapping, Sequence

from benchmarks.markdown import filled
from studies.case import Case, Changes
from studies.provenance import provenance
from studies.results import Row
from studies.table import table

PLAIN, OURS, POSTPROCESS = "plain", "prm", None
# Rival -> what it needs besides its name: SGE as many groups as PRM has.
RIVALS: dict[str, Changes] = {
    "se": {},
    "ge": {},
    "cbam": {},
    "sk": {},
    "gc": {},
    "sge": {"model.groups": 8},
}

# Families whose steps are PRM's own program: other numbers are in it.
SAME = ("decay", "initial values")

_PLAIN = "configs/fashion_mnist/resnet14.py"
_OURS = "configs/fashion_mnist/prm_resnet14.py"

# Family -> name -> what is changed in PRM-ResNet-14 of 8 heads.
_VARIANTS: dict[str, dict[str, Changes]] = {
    "similarity": {
        "prm l1": {"model.similarity": "l1"},
        "prm cosine": {"model.similarity": "cosine"},
    },
    # The rows of the paper's Table 5.
    "components": {
        "prm similarity alone": {"model.position": False, "model.normalize": False},
        "prm without position": {"model.position": False},
        "prm without normalisation": {"model.normalize": False},
    },
    "heads": {
        f"prm {heads} head{'s' * (heads > 1)}": {"model.groups": heads}
        for heads in (1, 2, 4, 16)
    },
    "decay": {
        "prm d and theta not decayed": {
            "optim.no_decay": ("norms", "biases", "d_theta")
        },
        "prm decayed": {"optim.no_decay": ("norms", "biases")},
    },
}

# PRM starts at λ = 0 and ξ = 1: y = x·sigmoid(1), whatever x is.
_INITIAL_VALUES: dict[str, dict[str, float]] = {
    "prm from lambda 1": {"lam": 1.0},
    "prm from xi 0": {"xi": 0.0},
    "prm from xi 3": {"xi": 3.0},
    "prm from alpha 1": {"alpha": 1.0},
    "prm from d 4": {"d": 4.0},
    "prm from lambda and alpha 1": {"lam": 1.0, "alpha": 1.0},
}


def cases() -> dict[str, Case]:
    """All of them by name, in the order of the table."""
    modules = [Case(PLAIN, "modules", _PLAIN), Case(OURS, "modules", _OURS)]
    for rival, needs in RIVALS.items():
        changes = {"model.name": f"{rival}_resnet14", **needs}
        modules.append(Case(rival, "modules", _PLAIN, changes))
    variants = [
        Case(name, family, _OURS, changes)
        for family, members in _VARIANTS.items()
        for name, changes in members.items()
    ]
    started = [
        Case(name, "initial values", _OURS, initial_values=values)
        for name, values in _INITIAL_VALUES.items()
    ]
    return {case.name: case for case in [*modules, *variants, *started]}


def compared() -> dict[str, str]:
    """Each program's step is timed beside the plain network's."""
    return {name: PLAIN for name, case in cases().items() if case.family not in SAME}


def show(rows: Sequence[Row], costs: Mapping[str, Row]) -> str:
    """The results as Markdown."""
    parts = [table(cases(), rows, (PLAIN, OURS), costs)]
    parts += [filled(provenance("fashion_mnist", rows))] if rows else []
    return "\n\n".join(parts)
