"""Where PRM's parameters start: y = x·sigmoid(1), whatever x is."""

from types import MappingProxyType

from jax.nn import initializers

INITIALIZERS: MappingProxyType[str, initializers.Initializer] = MappingProxyType(
    {
        "alpha": initializers.zeros,
        "beta": initializers.ones,
        "lam": initializers.zeros,
        "xi": initializers.ones,
        "theta": initializers.uniform(1.0),
        "d": initializers.ones,
    }
)


def shapes(groups: int) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter."""
    g = (groups,)
    return {"alpha": g, "beta": g, "lam": g, "xi": g, "theta": (2,), "d": ()}
