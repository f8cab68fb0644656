"""A trained network to take along: its weights, and a program that needs jax alone."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from prm_flax import create_model
from prm_flax.interop import safetensors
from prm_flax.interop.fold import Folded
from prm_flax.interop.shapes import flatten
from train import exported as loader
from train.step import normalize

PLATFORMS = ("cpu", "cuda", "tpu")
# Largest difference of logits, in standard deviations of them.
BOUND = 1e-5
# Batches that the written program is tried with.
TRIED = (1, 3)


class Network(NamedTuple):
    """What is exported.

    Attributes:
        name: as for `create_model`.
        options: its keywords, num_classes among them.
        variables: params and batch_stats.
        mean: of the normalisation, see `train.step.normalize`.
        std: of the normalisation.
        image_shape: (h, w, c).
        class_names: in the order of the logits.
    """

    name: str
    options: Mapping[str, Any]
    variables: Mapping[str, Any]
    mean: Sequence[float]
    std: Sequence[float]
    image_shape: tuple[int, int, int]
    class_names: Sequence[str]


def export(network: Network, folder: Path, *, fold: bool = False) -> None:
    """Writes a network for use without this program, and checks what it wrote.

    * model.safetensors: the weights as trained, see `prm_flax.interop.safetensors`.
    * model.stablehlo: `jax.export` of uint8 images (b, h, w, c) -> logits (b, k), for
      any b, on CPU, CUDA and TPU: StableHLO with normalisation and weights inside.
    * export.json: shapes, dtypes and class names.
    * load.py: the few lines that load model.stablehlo.

    Args:
        network: what to write.
        folder: made if need be; old files of these names are replaced.
        fold: batch norm goes into the convolutions of model.stablehlo, see `Folded`.

    Raises:
        ValueError: the network cannot be folded as it does not compute in float32.
        RuntimeError: a file does not give back what was written.
    """
    reference = _logits(network, fold=False)
    if fold:
        _check_float32(network)
    program = _program(_logits(network, fold), network.image_shape)
    check_program(program, reference, network.image_shape)
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.safetensors"
    safetensors.save(weights, network.name, network.options, network.variables)
    _check_weights(weights, network.variables)
    (folder / "model.stablehlo").write_bytes(program)
    (folder / "export.json").write_text(json.dumps(_described(network, fold), indent=1))
    shutil.copyfile(Path(loader.__file__), folder / "load.py")
    written = (folder / "model.stablehlo").read_bytes()
    if written != program:
        raise RuntimeError(
            f"{folder}/model.stablehlo is not what was written. Is it full?"
        )


def _logits(network: Network, fold: bool) -> Callable[[jax.Array], Any]:
    model = create_model(network.name, **network.options)
    run: Callable[..., Any] = (
        Folded(model, network.variables, network.image_shape)
        if fold
        else partial(model.apply, network.variables)
    )
    return jax.jit(lambda images: run(normalize(images, network.mean, network.std)))


def _program(logits: Callable[..., Any], image_shape: tuple[int, ...]) -> bytes:
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


def _check_float32(network: Network) -> None:
    dtype = network.options.get("dtype")
    if dtype is not None and jnp.finfo(dtype).bits < 32:
        raise ValueError(
            f"batch norm is folded to {BOUND:g} of the logits, which takes a network "
            f"that computes in float32, not {jnp.dtype(dtype).name}. Leave model.dtype "
            "or the folding out."
        )


def _check_weights(path: Path, variables: Mapping[str, Any]) -> None:
    _, loaded = safetensors.load(path)
    kept = flatten(loaded)
    for name, leaf in flatten(variables).items():
        if np.asarray(kept[name]).tobytes() != np.asarray(leaf).tobytes():
            raise RuntimeError(f"{path} does not give {'/'.join(name)} back.")


def _described(network: Network, fold: bool) -> dict[str, Any]:
    return {
        "model": network.name,
        "input": {"shape": ["b", *network.image_shape], "dtype": "uint8"},
        "output": {"shape": ["b", len(network.class_names)], "meaning": "logits"},
        "platforms": PLATFORMS,
        "batch_norm_folded": fold,
        "class_names": list(network.class_names),
    }
