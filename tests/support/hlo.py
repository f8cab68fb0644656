"""What XLA compiles: how often, and what programs make devices tell each other."""

import re
from collections.abc import Callable
from typing import Any

import jax

_COLLECTIVE = re.compile(
    r"\b(all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute|"
    r"collective-broadcast)(-start)?\("
)


def collectives(compiled) -> set[str]:
    """The kinds of communication in a compiled jit."""
    return {match[1] for match in _COLLECTIVE.finditer(compiled.as_text())}


def compilations(function: Callable[[], Any]) -> int:
    """How often XLA compiles while `function` runs; from the cache counts, too."""
    seen = []

    def listen(event, seconds, **kwargs):
        seen.append(event.endswith("backend_compile_duration"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        function()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return sum(seen)
