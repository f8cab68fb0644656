"""A network as a program of StableHLO, which needs jax alone to run."""

from collections.abc import Callable
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from train.export.interface import BOUND, interface_of
from train.export.weights import TrainedNetwork

PLATFORMS = ("cpu", "cuda", "tpu")
# Batches that a program is tried with.
TRIED = (1, 3)


def make_program(network: TrainedNetwork, fold: bool = False) -> bytes:
    """`jax.export` of uint8 images (b, h, w, c) -> what the network says, for any b.

    Logits (b, k) of a classifier; of a detector, which also takes the images' sizes,
    boxes, scores and labels. For CPU, CUDA and TPU; normalisation and weights are
    inside. It is run and compared with the network before it is returned.

    Args:
        network: any of the zoo's.
        fold: batch norm goes into the convolutions, see `Folded`.

    Raises:
        ValueError: the network cannot be folded: it does not compute in float32, or is
            a detector.
        RuntimeError: the program does not give what the network gives.
    """
    if fold:
        _check_float32(network)
    kind = interface_of(network)
    folded = kind.function(network, fold)
    (b,) = jax.export.symbolic_shape("b")
    made = jax.export.export(folded, platforms=PLATFORMS)  # pyright: ignore[reportArgumentType]
    program = bytes(made(*kind.arguments(b, network)).serialize())
    check_program(program, kind.function(network, False), network)
    return program


def check_program(
    program: bytes, reference: Callable[..., Any], network: TrainedNetwork
) -> None:
    """Compares a program's outputs with the network's on random images.

    Raises:
        RuntimeError: they differ by more than rounding.
    """
    kind = interface_of(network)
    call = jax.export.deserialize(bytearray(program)).call
    generator = np.random.default_rng(0)
    for b in TRIED:
        arguments = kind.draw(generator, b, network)
        wrong = kind.difference(call(*arguments), reference(*arguments))
        if wrong:
            raise RuntimeError(f"{wrong}. Are the weights finite? Is fold off?")


def _check_float32(network: TrainedNetwork) -> None:
    dtype = network.options.get("dtype")
    if dtype is not None and jnp.finfo(dtype).bits < 32:
        raise ValueError(
            f"batch norm is folded to {BOUND:g} of the logits, which takes a network "
            f"that computes in float32, not {jnp.dtype(dtype).name}. Leave model.dtype "
            "or the folding out."
        )
