"""PRM written down once more, from the definition alone: NumPy, float64, loops."""

import math
from typing import Any, NamedTuple

import numpy as np


class Reference(NamedTuple):
    y: np.ndarray  # (h, w, C)
    query: np.ndarray  # (g, 2)
    position: np.ndarray  # (h, w, g), as the rest
    sim_query: np.ndarray
    sim_context: np.ndarray
    scores: np.ndarray
    gate: np.ndarray


def phi(similarity: str, x: np.ndarray, v: np.ndarray) -> float:
    if similarity == "dot":
        return float(x @ v)
    if similarity == "l1":
        return -float(np.abs(x - v).sum())
    return float(x @ v) / max(float(np.linalg.norm(x) * np.linalg.norm(v)), 1e-8)


def encoding(pixel, query, theta, d: float) -> float:
    """Step 3 of the definition: the mean over the axes of a Gaussian density."""
    terms = [
        math.exp(-0.5 * (t * abs(p - q) / d) ** 2) / (d * math.sqrt(2 * math.pi))
        for p, q, t in zip(pixel, query, theta, strict=True)
    ]
    return sum(terms) / 2


def first_maximum(x: np.ndarray) -> tuple[int, int]:
    """The pixel of the largest channel mean, the first in row-major order."""
    best, where = -math.inf, (0, 0)
    for pixel in np.ndindex(x.shape[:2]):
        if (value := x[pixel].mean()) > best:
            best, where = value, pixel
    return where


def one_group(x, alpha, beta, lam, xi, theta, d, options: dict[str, Any]):
    """x (h, w, c) of one sample and group -> (query, five maps (h, w))."""
    h, w, _ = x.shape
    query = first_maximum(x)
    context = x.reshape(h * w, -1).mean(0)
    maps = np.zeros((5, h, w))
    position, sim_query, sim_context, scores, gate = maps
    for p in np.ndindex(h, w):
        position[p] = encoding(p, query, theta, d) if options["position"] else 1.0
        sim_query[p] = phi(options["similarity"], x[p], x[query])
        sim_context[p] = phi(options["similarity"], x[p], context)
        scores[p] = alpha * sim_query[p] * position[p] + beta * sim_context[p]
    normed = scores
    if options["normalize"]:
        sigma = scores.std(ddof=options["ddof"]) if h * w > 1 else 0.0
        normed = (scores - scores.mean()) / (sigma + 1e-5)
    gate[:] = 1 / (1 + np.exp(-(lam * normed + xi)))
    return query, maps


def prm(x: np.ndarray, params, **options) -> Reference:
    """x (h, w, C) of one sample, params of `PRMParams`' fields."""
    options = {
        "similarity": "dot",
        "ddof": 0,
        "position": True,
        "normalize": True,
    } | options
    p = params._asdict()
    groups = len(p["alpha"])
    parts = np.split(x, groups, axis=-1)
    found = [
        one_group(
            parts[k],
            *(p[name][k] for name in ("alpha", "beta", "lam", "xi")),
            p["theta"],
            float(p["d"]),
            options,
        )
        for k in range(groups)
    ]
    maps = np.stack([maps for _, maps in found], axis=-1)
    gates = np.moveaxis(maps[-1], -1, 0)
    y = [part * gate[..., None] for part, gate in zip(parts, gates, strict=True)]
    queries = np.array([query for query, _ in found])
    return Reference(np.concatenate(y, axis=-1), queries, *maps)
