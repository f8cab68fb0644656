"""What a compiled program asks the devices to tell each other."""

import re

_COLLECTIVE = re.compile(
    r"\b(all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute|"
    r"collective-broadcast)(-start)?\("
)


def collectives(compiled) -> set[str]:
    """The kinds of communication in a compiled jit."""
    return {match[1] for match in _COLLECTIVE.finditer(compiled.as_text())}
