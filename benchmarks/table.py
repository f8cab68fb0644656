"""The README's tables, from the results on disk."""

from collections.abc import Iterable

from benchmarks import accelerator, detection, growth, layer, peers, steps, wall
from benchmarks.layer import Case
from benchmarks.markdown import Results, Show, cell, filled, pair, part, times
from benchmarks.results import Row, read
from train.preflight.chips import parse_topology

FILES = ("layer", "steps", "growth", "detection", "accelerator", "wall", "peers")
KINDS = {"h100:4": "H100", "v5e:2x2": "TPU v5e"}
# Chip and name -> traffic and temporary memory, GB, of the best form of XLA operations
# that was tried before the library was written, by hand, at the same sizes.
BEFORE = {
    "h100 roi_align forward": (9.7, 2.5),
    "h100 roi_align both": (19.2, 2.5),
    "h100 assignment retinanet": (0.339, 0.165),
    "h100 suppression 8x1000": (0.016, None),
    "h100 focal both": (0.457, None),
    "h100 step retinanet_resnet50": (14.9, 1.45),
    "v5e roi_align forward": (3.26, 0.28),
    "v5e roi_align both": (7.01, 0.29),
    "v5e assignment retinanet": (0.0097, 0.0),
    "v5e suppression 8x1000": (0.0003, None),
    "v5e focal both": (0.132, None),
    "v5e step retinanet_resnet50": (23.6, 3.35),
}
FORMS = {"xla": "straightforward", "auto": "kernels"}


def table() -> str:
    """All tables, each under a line that says what it is of."""
    parts = (
        *(accelerator.steps_table, accelerator.layers_table),
        *(_layer, _steps, _maps, _groups, _chips, _detection),
        *(_wall, _peers, _with),
    )
    return "\n\n".join(each() for each in parts)


def _layer() -> str:
    results = read("layer")
    rows = [
        [
            f"{KINDS[chips]}, {FORMS[form]}",
            *(_one_layer(results, Case(chips, size, "", form)) for size in layer.MAPS),
        ]
        for chips in layer.CHIPS
        for form in layer.FORMS
    ]
    alone = Case("v5e:2x2", layer.MAPS[0], "", "auto", layout="default")
    row_major = ["TPU v5e, kernels, row-major", _one_layer(results, alone), "", "", ""]
    least = ["least possible", *["2 / 5"] * len(layer.MAPS)]
    words = (
        "**The layer**, forward / forward and backward: memory traffic in multiples of "
        "its input's bytes; temporary memory likewise; kernels started; seconds to "
        f"compile; {layer.IMAGES} images a device, bfloat16, g = 64"
    )
    head = ["", *("×".join(map(str, size)) for size in layer.MAPS)]
    return part(words, results, head, [*rows, row_major, least])


def _one_layer(results: Results, case: Case) -> str:
    shows = (
        _traffic,
        lambda row: f"{row['temporary']:.2f}",
        lambda row: f"{row['kernels']}",
        lambda row: f"{row['compile_seconds']:.1f}",
    )
    return "; ".join(pair(results, _passes(case), show) for show in shows)


def _passes(case: Case) -> list[Case]:
    return [case._replace(run=run) for run in layer.PASSES]


def _traffic(row: Row) -> str:
    return f"{row['traffic']:.3g}"


def _steps() -> str:
    results = read("steps")
    words = (
        f"**A training step of ResNet-50**, {steps.IMAGES} images a device, bfloat16: "
        "memory traffic and, in brackets, its multiple of plain ResNet-50's; temporary "
        "memory; kernels started; bytes handed to other devices; time to compile"
    )
    rows = [
        [
            f"{network}, {FORMS[kernel]}" if kernel else network,
            *(_step(results, chips, network, kernel) for chips in steps.CHIPS),
        ]
        for network, kernel in steps.NETWORKS
    ]
    return part(words, results, ["", *(KINDS[chips] for chips in steps.CHIPS)], rows)


def _step(results: Results, chips: str, network: str, kernel: str | None) -> str:
    plain = results["rows"].get(steps.name_of(chips, steps.PLAIN, None))

    def show(row: Row) -> str:
        traffic = row["traffic_bytes"]
        share = f" ({traffic / plain['traffic_bytes']:.2f})" if plain else ""
        return (
            f"{traffic / 1e9:.1f} GB{share}; {row['temporary_bytes'] / 2**30:.2f} GiB; "
            f"{row['kernels']:,}; {row['collective_bytes'] / 1e6:.1f} MB; "
            f"{row['compile_seconds']:.0f} s"
        )

    return cell(results, steps.name_of(chips, network, kernel), show)


def _maps() -> str:
    words = (
        f"**The layer on larger maps**, {growth.CHANNELS} channels, g = 64, kernels, "
        "memory traffic as above; * no kernel fits: products of matrices, of one group "
        "separate operations"
    )
    sizes = [(*size, growth.CHANNELS) for size in growth.MAPS]
    cases = {f"{h}×{w}": Case("", (h, w, c), "", "auto") for h, w, c in sizes}
    return _grown(words, cases)


def _groups() -> str:
    size = (*growth.MAP, growth.CHANNELS)
    words = f"**The layer with g groups**, {'×'.join(map(str, size))}, likewise"
    cases = {f"g = {g}": Case("", size, "", "auto", g) for g in growth.GROUPS}
    return _grown(words, cases)


def _grown(words: str, cases: dict[str, Case]) -> str:
    results = read("growth")

    def show(row: Row) -> str:
        return _traffic(row) + ("" if row["own_kernels"] else "*")

    rows = [
        [
            name,
            *(
                pair(results, _passes(case._replace(chips=chips)), show)
                for case in cases.values()
            ),
        ]
        for chips, name in KINDS.items()
    ]
    plain = [case._replace(chips="v5e:2x2", kernel="xla") for case in cases.values()]
    if any(str(p) in results["rows"] for case in plain for p in _passes(case)):
        cells = [_if_any(results, _passes(case), show) for case in plain]
        rows.append(["TPU v5e, straightforward", *cells])
    return part(words, results, ["", *cases], rows)


def _if_any(results: Results, cases: list[Case], show: Show) -> str:
    known = any(str(case) in results["rows"] for case in cases)
    return pair(results, cases, show).replace("*", "") if known else ""


def _chips() -> str:
    results = read("growth")
    both = results | {"rows": read("steps")["rows"] | results["rows"]}
    topologies = sorted((*steps.CHIPS, *growth.SLICES), key=_name_and_number)
    measures = {
        "memory traffic": lambda row: f"{row['traffic_bytes'] / 1e9:.2f} GB",
        "memory": lambda row: f"{row['memory_bytes'] / 2**30:.2f} GiB",
        "collectives": lambda row: f"{row['collective_bytes'] / 1e6:.1f} MB",
    }
    rows = [
        [
            name,
            *(
                cell(both, steps.name_of(t, steps.OURS, "auto"), show)
                for t in topologies
            ),
        ]
        for name, show in measures.items()
    ]
    words = "**A step of PRM-ResNet-50 on more chips**, figures of one of them"
    return part(words, results, ["", *topologies], rows)


def _name_and_number(topology: str) -> tuple[str, int]:
    return topology.split(":")[0], parse_topology(topology).devices


def _detection() -> str:
    words = (
        f"**Detectors**, {detection.IMAGES} images of 800×1344 unless said, bfloat16: "
        "memory traffic; temporary memory; in brackets both of the best form of XLA "
        "operations tried before; time to compile"
    )
    results = read("detection")
    names = dict.fromkeys(key.partition(" ")[2] for key in detection.cases())
    rows = [
        [name, *(_compiled(results, f"{chip} {name}") for chip in detection.CHIPS)]
        for name in names
    ]
    return part(words, results, ["", "H100", "TPU v5e"], rows)


def _compiled(results: Results, key: str) -> str:
    before = BEFORE.get(key)

    def show(row: Row) -> str:
        numbers = row["traffic_bytes"] / 1e9, row["temporary_bytes"] / 1e9
        now = "; ".join(map(_gigabytes, numbers))
        past = f" ({'; '.join(map(_gigabytes, before))})" if before else ""
        return f"{now}{past}; {row['compile_seconds']:.0f} s"

    return cell(results, key, show) if key in detection.cases() else ""


def _gigabytes(number: float | None) -> str:
    if number is None:
        return "–"
    return f"{number:.3g} GB" if number >= 0.1 else f"{1000 * number:.3g} MB"


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


def _in_turn(words: str, results: Results, head: list[str], keys: Iterable[str]) -> str:
    head = [*head, "ratio", "of the least", "of processor time"]
    rows = [[key, *times(results["rows"].get(key))] for key in keys]
    return part(words, results, head, rows)


def _with() -> str:
    """Versions of all packages and the processor, of whatever was measured."""
    files = [results for name in FILES if (results := read(name))["rows"]]
    versions = dict.fromkeys(
        f"{name} {version}" for b in files for name, version in b["versions"].items()
    )
    processors = dict.fromkeys(results["cpu"] for results in files)
    return filled(f"With {', '.join(versions)}; on {' and '.join(processors)}.")
