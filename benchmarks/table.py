"""The README's tables, from the results on disk."""

import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks import growth, layer, peers, steps, wall
from benchmarks.layer import Case
from benchmarks.results import Row, read
from train.chips import parse_topology

NOT_MEASURED = "not measured"
KINDS = {"h100:4": "H100", "v5e:2x2": "TPU v5e"}
BOOKS = ("layer", "steps", "growth", "wall", "peers")
FORMS = {"xla": "straightforward", "auto": "kernels"}


def table() -> str:
    """All tables, each under a line that says what it is of."""
    parts = (_layer, _steps, _maps, _groups, _chips, _wall, _peers, _with)
    return "\n\n".join(part() for part in parts)


def _layer() -> str:
    book = read("layer")

    def row(words: str, chips: str, kernel: str, layout: str = "network") -> list[str]:
        cells = []
        for each in layer.MAPS:
            pair = [
                Case(chips, each, run, kernel, layout=layout) for run in layer.PASSES
            ]
            cells.append(_pair(book, _traffic, *map(str, pair)))
        return [words, *cells]

    rows = [
        row(f"{KINDS[chips]}, {FORMS[kernel]}", chips, kernel)
        for chips in layer.CHIPS
        for kernel in layer.FORMS
    ]
    rows.append(
        row("TPU v5e, kernels, features row-major", "v5e:2x2", "auto", "default")
    )
    rows[-1][2:] = [""] * (len(layer.MAPS) - 1)
    rows.append(["least possible", *["2 / 5"] * len(layer.MAPS)])
    words = (
        "**The layer**, forward / forward and backward: memory traffic in multiples of "
        f"its input's bytes, {layer.IMAGES} images a device, bfloat16, g = 64"
    )
    head = ["", *("×".join(map(str, each)) for each in layer.MAPS)]
    return _part(words, book, head, rows)


def _steps() -> str:
    book = read("steps")
    words = (
        f"**A training step of ResNet-50**, {steps.IMAGES} images a device, bfloat16: "
        "memory traffic and, in brackets, its multiple of plain ResNet-50's; temporary "
        "memory; kernels started; bytes handed to other devices; time to compile"
    )
    head = ["", *(KINDS[chips] for chips in steps.CHIPS)]
    rows = [
        [
            network + (f", {FORMS[kernel]}" if kernel else ""),
            *(_step(book, chips, network, kernel) for chips in steps.CHIPS),
        ]
        for network, kernel in steps.NETWORKS
    ]
    return _part(words, book, head, rows)


def _step(book, chips: str, network: str, kernel: str | None) -> str:
    plain = book["rows"].get(steps.name_of(chips, steps.PLAIN, None))

    def show(row: Row) -> str:
        traffic = row["traffic_bytes"]
        share = f" ({traffic / plain['traffic_bytes']:.2f})" if plain else ""
        return (
            f"{traffic / 1e9:.1f} GB{share}; {row['temporary_bytes'] / 2**30:.2f} GiB; "
            f"{row['kernels']:,}; {row['collective_bytes'] / 1e6:.1f} MB; "
            f"{row['compile_seconds']:.0f} s"
        )

    return _cell(book, steps.name_of(chips, network, kernel), show)


def _maps() -> str:
    book = read("growth")
    sizes = [(*each, growth.CHANNELS) for each in growth.MAPS]
    rows = [
        [name, *(_both(book, chips, size, 64) for size in sizes)]
        for chips, name in KINDS.items()
    ]
    words = (
        f"**The layer on larger maps**, {growth.CHANNELS} channels, g = 64, kernels; * "
        "where none fits and the straightforward form is taken"
    )
    return _part(words, book, ["", *(f"{h}×{w}" for h, w, _ in sizes)], rows)


def _groups() -> str:
    book = read("growth")
    size = (*growth.MAP, growth.CHANNELS)
    rows = [
        [name, *(_both(book, chips, size, number) for number in growth.GROUPS)]
        for chips, name in KINDS.items()
    ]
    words = "**The layer with other numbers of groups**, 56×56×256, kernels"
    return _part(words, book, ["", *(f"g = {n}" for n in growth.GROUPS)], rows)


def _both(book, chips: str, size: tuple[int, int, int], groups: int) -> str:
    cases = (Case(chips, size, run, "auto", groups) for run in layer.PASSES)
    return _pair(book, _starred, *map(str, cases))


def _chips() -> str:
    grown = read("growth")
    rows = read("steps")["rows"] | grown["rows"]
    book = grown | {"rows": rows}
    measures: dict[str, Callable[[Row], str]] = {
        "memory traffic": lambda row: f"{row['traffic_bytes'] / 1e9:.2f} GB",
        "memory": lambda row: f"{row['memory_bytes'] / 2**30:.2f} GiB",
        "collectives": lambda row: f"{row['collective_bytes'] / 1e6:.1f} MB",
    }
    topologies = sorted((*steps.CHIPS, *growth.SLICES), key=_name_and_number)
    lines = [
        [
            name,
            *(
                _cell(book, steps.name_of(t, steps.OURS, "auto"), show)
                for t in topologies
            ),
        ]
        for name, show in measures.items()
    ]
    words = "**A step of PRM-ResNet-50 on more chips**, of one of them"
    return _part(words, book, ["", *topologies], lines)


def _name_and_number(topology: str) -> tuple[str, int]:
    return topology.split(":")[0], parse_topology(topology).devices


def _wall() -> str:
    words = (
        f"**Time on this machine**, {wall.IMAGES} images of {wall.SIDE}×{wall.SIDE}, "
        "float32: ResNet-50 plain and with PRM in turn, in one process; medians, the "
        "median of the rounds' ratios, and the ratios of the least times and of the "
        "processor's seconds"
    )
    return _in_turn(words, read("wall"), ["", "plain", "PRM"], wall.cases())


def _peers() -> str:
    words = (
        "**Against others on this machine**, the same way: the network of Flax's "
        "ImageNet example in this project's training step, and the layer as PyTorch "
        f"operations, {wall.IMAGES} images"
    )
    return _in_turn(words, read("peers"), ["", "theirs", "ours"], peers.cases())


def _in_turn(words: str, book, head: list[str], keys: Iterable[str]) -> str:
    head = [*head, "ratio", "of the least", "of processor time"]
    rows = [[key, *_times(book["rows"].get(key))] for key in keys]
    return _part(words, book, head, rows)


def _times(row: Row | None) -> list[str]:
    if row is None:
        return [NOT_MEASURED, "", "", "", ""]
    first, other = (way for way in row.values() if isinstance(way, dict))
    return [
        *(f"{1000 * way['median_seconds']:.4g} ms" for way in (first, other)),
        f"**{other['ratio']:.2f}**",
        f"{other['least_seconds'] / first['least_seconds']:.2f}",
        f"{other['user_seconds'] / first['user_seconds']:.2f}",
    ]


def _pair(book, show: Callable[[Row], str], *keys: str) -> str:
    cells = [_cell(book, key, show) for key in keys]
    return " / ".join(cells if any(c != NOT_MEASURED for c in cells) else cells[:1])


def _traffic(row: Row) -> str:
    return f"{row['traffic']:.3g}"


def _starred(row: Row) -> str:
    return _traffic(row) + ("" if row["own_kernels"] else "*")


def _cell(book, key: str, show: Callable[[Row], str]) -> str:
    row = book["rows"].get(key)
    if row is None:
        return NOT_MEASURED
    return show(row) if row.get("fits", True) else "does not fit"


def _part(words: str, book: dict[str, Any], head: list[str], rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    grid = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{_filled(words + _dates(book) + ':')}\n\n{grid}"


def _filled(words: str) -> str:
    return textwrap.fill(words, 88, break_on_hyphens=False)


def _dates(book: dict[str, Any]) -> str:
    dates = sorted({row["date"] for row in book["rows"].values()})
    return f" ({' to '.join(dict.fromkeys((dates[0], dates[-1])))})" if dates else ""


def _with() -> str:
    """Versions of all packages and the processor, of whatever was measured."""
    books = [book for name in BOOKS if (book := read(name))["rows"]]
    versions = dict.fromkeys(
        f"{name} {version}" for b in books for name, version in b["versions"].items()
    )
    processors = dict.fromkeys(book["cpu"] for book in books)
    return _filled(f"With {', '.join(versions)}; on {' and '.join(processors)}.")
