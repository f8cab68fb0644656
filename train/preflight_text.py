"""An estimate as a person reads it."""

from train.preflight.estimate import Estimate


def describe(found: Estimate) -> str:
    """The estimate as lines of text."""
    used = f"{gib(found.memory_bytes)} of {gib(found.chip_memory_bytes)}"
    lines = [
        f"devices           {found.devices} ({found.topology})",
        f"per-device batch  {found.per_device_batch}, "
        f"{found.per_device_batch * found.devices} images a step",
        f"memory            {used}: {'fits' if found.fits else 'DOES NOT FIT'}",
    ]
    if found.memory:
        lines.append(
            f"                  arguments {gib(found.memory.arguments)}, temporaries "
            f"{gib(found.memory.temporaries)}, program {gib(found.memory.program)}"
        )
    lines.append(f"FLOPs             {found.flops / 1e9:,.1f} G a device")
    if found.bounds is None or found.step_seconds_bound is None:
        return "\n".join(lines)
    exchanges = (found.collectives or {}).items()
    parts = (f"{name} {s * 1e3:.3g}" for name, s in found.bounds.items())
    lines += [
        f"memory traffic    {(found.traffic_bytes or 0) / 1e9:,.3f} GB a device",
        f"collectives       {(found.collective_bytes or 0) / 1e6:,.3f} MB a device"
        + "".join(f", {kind.calls} {name}" for name, kind in exchanges),
        f"lower bound       a step {found.step_seconds_bound * 1e3:.4g} ms, the most "
        f"of {', '.join(parts)}",
        f"                  an epoch {found.epoch_seconds_bound or 0:,.3g} s, "
        f"{found.steps_per_epoch} steps",
        "                  at the chip's published rates; a measured step is longer",
    ]
    return "\n".join(lines)


SCALING_HEAD = (
    "chips   memory GiB   traffic GB   collectives MB   step bound ms   images/s"
)


def scaling_row(found: Estimate) -> str:
    """The estimate as a row under `SCALING_HEAD`."""
    row = f"{found.devices:5}   {found.memory_bytes / 2**30:10.2f}   "
    if found.step_seconds_bound is None:
        return f"{row}does not fit"
    images = found.devices * found.per_device_batch / found.step_seconds_bound
    return (
        f"{row}{(found.traffic_bytes or 0) / 1e9:10.3f}   "
        f"{(found.collective_bytes or 0) / 1e6:14.3f}   "
        f"{found.step_seconds_bound * 1e3:13.2f}   {images:8,.0f}"
    )


def gib(count: int) -> str:
    """Bytes as text."""
    return f"{count / 2**30:.2f} GiB"
