"""All failures in one error: what differs, and the text that says so."""

from collections.abc import Mapping, Sequence

Shape = tuple[int, ...]


def differences(
    expected: Mapping[str, Shape], received: Mapping[str, Shape]
) -> list[str]:
    """A line for each name that is missing, unexpected or has another shape."""
    missing = [
        f"missing: {name}, expected shape {shape}"
        for name, shape in expected.items()
        if name not in received
    ]
    unexpected = [
        f"unexpected: {name}, received shape {shape}"
        for name, shape in received.items()
        if name not in expected
    ]
    misshapen = [
        f"misshapen: {name}, expected {shape}, received {received[name]}"
        for name, shape in expected.items()
        if name in received and received[name] != shape
    ]
    return missing + unexpected + misshapen


def report(rule: str, problems: Sequence[str], advice: str) -> str:
    """The text of an error: the rule, what came, the likely fix."""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return "\n  ".join([f"{rule}; {count}:", *problems]) + f"\n{advice}"
