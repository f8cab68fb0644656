"""What each field of a config may be: a table."""

import math
import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

Rule = tuple[Callable[[Any], bool], str]

_at_least_1: Rule = (lambda v: v >= 1, "a whole number, at least 1")
_not_negative: Rule = (lambda v: v >= 0, "not negative")
_finite: Rule = (lambda v: math.isfinite(v) and v >= 0, "finite and not negative")
_positive: Rule = (
    lambda v: v is None or (math.isfinite(v) and v > 0),
    "finite and positive",
)
_share: Rule = (lambda v: 0 <= v < 1, "in [0, 1)")


def _is_address(text: str) -> bool:
    found = re.fullmatch(r"([^\s:/\[\]]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})", text)
    return found is not None and 1 <= int(found[2]) < 2**16


RULES: MappingProxyType[str, Rule] = MappingProxyType(
    {
        "name": (
            lambda v: bool(v) and "/" not in v and v not in (".", ".."),
            "a plain name without a slash",
        ),
        "epochs": _at_least_1,
        "batch_size": _at_least_1,
        "eval_batch_size": _at_least_1,
        "coordinator": (
            lambda v: v is None or _is_address(v),
            "HOST:PORT, such as node1:12321 or [fd00::1]:12321",
        ),
        "processes": (lambda v: v is None or v >= 1, "at least 1"),
        "process_id": (lambda v: v is None or v >= 0, "not negative"),
        "startup_seconds": _at_least_1,
        "heartbeat_seconds": _at_least_1,
        "profile": _not_negative,
        "seed": (lambda v: 0 <= v < 2**31, "in [0, 2^31)"),
        "data.std": (
            lambda v: len(v) > 0 and all(math.isfinite(s) and s > 0 for s in v),
            "positive numbers",
        ),
        "data.mean": (
            lambda v: len(v) > 0 and all(math.isfinite(m) for m in v),
            "finite numbers",
        ),
        "data.crop_padding": _not_negative,
        "data.image_size": _at_least_1,
        "data.crop_area": (
            lambda v: 0 < v[0] <= v[1] <= 1,
            "two shares, 0 < least ≤ most ≤ 1",
        ),
        "data.crop_aspect": (
            lambda v: 0 < v[0] <= v[1] < math.inf,
            "two ratios, 0 < least ≤ most",
        ),
        "data.eval_resize": _at_least_1,
        "data.randaugment": (lambda v: 0 <= v <= 16, "in 0..16"),
        "data.randaugment_magnitude": (lambda v: 0 <= v <= 10, "in [0, 10]"),
        "data.mixup": _finite,
        "data.cutmix": _finite,
        "data.max_image_bytes": _at_least_1,
        "data.max_image_pixels": _at_least_1,
        "data.workers": (lambda v: v is None or 0 <= v <= 256, "in 0..256"),
        "data.prefetch": _at_least_1,
        "optim.peak_lr": _finite,
        "optim.lr_images": (lambda v: v is None or v >= 1, "at least 1"),
        "optim.warmup_epochs": _finite,
        "optim.step_epochs": _at_least_1,
        "optim.step_factor": _finite,
        "optim.momentum": _share,
        "optim.weight_decay": _finite,
        "optim.clip_norm": _positive,
        "optim.accumulate": _at_least_1,
        "optim.skip_bad_steps": _not_negative,
        "optim.ema": _share,
        "optim.label_smoothing": _share,
        "checkpoint.every_steps": _at_least_1,
        "checkpoint.every_minutes": _finite,
        "checkpoint.keep": _at_least_1,
        "log.every_steps": _at_least_1,
    }
)
