"""A network as a program of StableHLO, which needs jax alone to run."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from prm_flax import create_model
from prm_flax.interop.fold import Folded
from prm_flax.layers.device import portable
from train.export.weights import TrainedNetwork
from train.tasks.task import normalize

PLATFORMS = ("cpu", "cuda", "tpu")
# Largest difference of logits, in standard deviations of them.
BOUND = 1e-5
# Batches that a program is tried with.
TRIED = (1, 3)


def make_program(network: TrainedNetwork, fold: bool = False) -> bytes:
    """`jax.export` of uint8 images (b, h, w, c) -> logits (b, k), for any b.

    For CPU, CUDA and TPU; normalisation and weights are inside. It is run and compared
    with the network before it is returned.

    Args:
        network: any of the zoo's.
        fold: batch norm goes into the convolutions, see `Folded`.

    Raises:
        ValueError: the network cannot be folded as it does not compute in float32.
        RuntimeError: the program does not give the network's logits.
    """
    if fold:
        _check_float32(network)
    reference = logits_of(network)
    program = _exported(logits_of(network, fold), network.image_shape)
    check_program(program, reference, network.image_shape)
    return program


def logits_of(
    network: TrainedNetwork, fold: bool = False
) -> Callable[[jax.Array], Any]:
    """Images (b, h, w, c) uint8 -> logits (b, k), for any device; weights inside."""
    model = create_model(network.name, **network.options)
    run: Callable[..., Any] = (
        Folded(model, network.variables, network.image_shape)
        if fold
        else partial(model.apply, network.variables)
    )

    def logits(images):
        with portable():
            return run(normalize(images, network.mean, network.std))

    return jax.jit(logits)


def _exported(logits: Callable[..., Any], image_shape: tuple[int, ...]) -> bytes:
    (b,) = jax.export.symbolic_shape("b")
    images = jax.ShapeDtypeStruct((b, *image_shape), jnp.uint8)
    made = jax.export.export(logits, platforms=PLATFORMS)(images)  # pyright: ignore[reportArgumentType]
    return bytes(made.serialize())


def check_program(
    program: bytes, reference: Callable[..., Any], image_shape: tuple[int, ...]
) -> None:
    """Compares a program's logits with the network's on random images.

    Raises:
        RuntimeError: they differ by more than 1e-5 of their standard deviation.
    """
    call = jax.export.deserialize(bytearray(program)).call
    generator = np.random.default_rng(0)
    for b in TRIED:
        images = generator.integers(0, 256, (b, *image_shape), np.uint8)
        want = np.asarray(reference(images), np.float64)
        worst = np.abs(np.asarray(call(images), np.float64) - want).max()
        if not worst <= BOUND * want.std():
            raise RuntimeError(
                f"an exported program must give the network's logits to {BOUND:g} of "
                f"their standard deviation {want.std():.3g}; they differ by "
                f"{worst:.3g}. Are the weights finite? Is fold off?"
            )


def _check_float32(network: TrainedNetwork) -> None:
    dtype = network.options.get("dtype")
    if dtype is not None and jnp.finfo(dtype).bits < 32:
        raise ValueError(
            f"batch norm is folded to {BOUND:g} of the logits, which takes a network "
            f"that computes in float32, not {jnp.dtype(dtype).name}. Leave model.dtype "
            "or the folding out."
        )
