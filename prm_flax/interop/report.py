"""Failures in one error: what differs, and the text that says so."""

from collections.abc import Mapping, Sequence

from prm_flax.printable import printable

Shape = tuple[int, ...]
# Lines of an error's text; the others are counted.
SHOWN = 5


class MismatchError(ValueError):
    """Names that do not fit.

    The text has the rule, the kind of mismatch, the first five lines and the likely
    fix.

    Attributes:
        problems: a line for each name that does not fit.
        names: these names, line by line.
        kind: what is the matter with all of them; "" if that is not known.
    """

    def __init__(
        self,
        rule: str,
        problems: Sequence[tuple[str, str]],
        advice: str,
        kind: str = "",
    ):
        self.names = [name for name, _ in problems]
        self.problems = [line for _, line in problems]
        self.kind = kind
        got = f", got weights of {kind}" if kind else ""
        super().__init__(report(f"{rule}{got}", self.problems, advice))


def differences(
    expected: Mapping[str, Shape], received: Mapping[str, Shape]
) -> list[tuple[str, str]]:
    """Names that are missing, unexpected or have another shape, a line for each."""
    missing = [
        (name, f"missing: {name}, expected shape {shape}")
        for name, shape in expected.items()
        if name not in received
    ]
    unexpected = [
        (name, f"unexpected: {name}, received shape {shape}")
        for name, shape in received.items()
        if name not in expected
    ]
    misshapen = [
        (name, f"misshapen: {name}, expected {shape}, received {received[name]}")
        for name, shape in expected.items()
        if name in received and received[name] != shape
    ]
    return missing + unexpected + misshapen


def report(rule: str, problems: Sequence[str], advice: str) -> str:
    """The text of an error: the rule, what came, the likely fix."""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    shown = [printable(problem) for problem in problems[:SHOWN]]
    more = len(problems) - SHOWN
    rest = [f"and {more} more"] if more > 0 else []
    return "\n  ".join([f"{rule}; {count}:", *shown, *rest]) + f"\n{advice}"
