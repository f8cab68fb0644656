"""`python -m prm_flax`: the networks and what they cost, as a Markdown table."""

from prm_flax import complexity, create_model, list_models

HEAD = """\
| network | parameters | with PRM | counter, G | with PRM | multiply-adds, G |
|---|---|---|---|---|---|"""


def table() -> str:
    """A line a network, for images of 224×224 and 1000 classes."""
    names = list_models()
    plain = [name for name in names if f"prm_{name}" in names]
    return "\n".join([HEAD, *map(_row, plain)])


def _row(name: str) -> str:
    plain = complexity(create_model(name), (224, 224))
    prm = complexity(create_model(f"prm_{name}"), (224, 224))
    cells = (
        f"`{name}`",
        f"{plain.parameters:,}",
        f"{prm.parameters:,}",
        f"{plain.counter / 1e9:.4f}",
        f"{prm.counter / 1e9:.4f}",
        f"{plain.macs / 1e9:.4f}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(table())
