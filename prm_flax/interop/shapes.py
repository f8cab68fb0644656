"""The variables a model expects, found without computing anything."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from prm_flax.interop.report import MismatchError, Shape, differences

LeafPath = tuple[str, ...]
Shapes = dict[LeafPath, jax.ShapeDtypeStruct]

# Every network of the registry takes an image of this size, the small ones included.
SAMPLE = (64, 64)
DEFAULT_CHANNELS = 3


def flatten(variables: Mapping[str, Any]) -> dict[LeafPath, Any]:
    """Leaves by path, such as ("params", "layer1_0", "conv1", "kernel")."""
    return flatten_dict(variables)


def unflatten(leaves: Mapping[LeafPath, Any]) -> dict[str, Any]:
    """Plain nested dictionaries: the inverse of `flatten`."""
    return unflatten_dict(leaves)


class Template(NamedTuple):
    """What `model.init` would give, as abstract arrays in the order it makes them.

    The number of input channels is no option of a model: it shows in the shape of the
    first convolution's kernel, the one leaf that depends on the image.

    Attributes:
        shapes: by path, for three channels.
        stem: path of that kernel.
        axis: its axis of input channels.
    """

    shapes: Shapes
    stem: LeafPath
    axis: int

    def for_stem(self, shape: Shape | None) -> Shapes:
        """The shapes for as many channels as a given stem has.

        Args:
            shape: of the stem at hand, in this library's layout. None, or another
                number of axes than a stem has, stands for three channels.
        """
        usual = self.shapes[self.stem]
        if shape is None or len(shape) != len(usual.shape):
            return self.shapes
        fitted = list(usual.shape)
        fitted[self.axis] = shape[self.axis]
        return self.shapes | {
            self.stem: jax.ShapeDtypeStruct(tuple(fitted), usual.dtype)
        }


def make_template(model: nn.Module) -> Template:
    """Finds the variables of a network on images (b, h, w, c); computes nothing.

    Example:
        >>> from prm_flax import create_model
        >>> template = make_template(create_model("resnet14"))
        >>> template.stem, template.axis
        (('params', 'conv1', 'kernel'), 2)
        >>> template.for_stem((3, 3, 1, 16))[template.stem].shape
        (3, 3, 1, 16)
    """
    shapes, grey = _shapes(model, DEFAULT_CHANNELS), _shapes(model, 1)
    (stem,) = [path for path in shapes if shapes[path].shape != grey[path].shape]
    pairs = zip(shapes[stem].shape, grey[stem].shape, strict=True)
    (axis,) = [axis for axis, (three, one) in enumerate(pairs) if three != one]
    return Template(shapes, stem, axis)


def _shapes(model: nn.Module, channels: int) -> Shapes:
    order: list[LeafPath] = []

    def init():
        variables = model.init(jax.random.key(0), jnp.zeros((1, *SAMPLE, channels)))
        order.extend(flatten(variables))
        return variables

    shapes = flatten(jax.eval_shape(init))  # which sorts the leaves by name
    return {path: shapes[path] for path in order}


def require_fit(
    model: nn.Module, received: Mapping[LeafPath, Any], subject: str
) -> Shapes:
    """Raises one error of all leaves that are missing, unexpected or misshapen.

    Args:
        model: a network.
        received: arrays, or abstract arrays, by path.
        subject: what is checked, as the error calls it.

    Returns:
        The model's shapes, for the input channels that the received stem has.

    Raises:
        MismatchError: the two differ, or a leaf is not of floating numbers.
    """
    template = make_template(model)
    stem = received.get(template.stem)
    expected = template.for_stem(None if stem is None else jnp.shape(stem))
    found = {"/".join(map(str, path)): leaf for path, leaf in received.items()}
    problems = differences(
        {"/".join(path): leaf.shape for path, leaf in expected.items()},
        {name: jnp.shape(leaf) for name, leaf in found.items()},
    )
    problems += [
        (name, f"not floating: {name}, received dtype {jnp.result_type(leaf)}")
        for name, leaf in found.items()
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    ]
    if problems:
        advice = "Check that they were made with the same model name and options."
        rule = f"{subject} must be exactly the model's"
        raise MismatchError(rule, problems, advice)
    return expected
