"""What a function being traced will run on."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import NamedTuple

import jax

_portable = contextvars.ContextVar("a traced program is portable", default=False)


class Device(NamedTuple):
    """A platform such as "tpu" and a kind such as "TPU v5 lite"; empty: unknown."""

    platform: str = ""
    kind: str = ""


def device() -> Device:
    """The devices of the mesh that is set, which may not be here, or jax's own.

    Only what is faster may depend on it, never what is computed: an array can be put
    elsewhere all the same.

    Example:
        >>> import jax
        >>> from prm_flax.layers.device import device
        >>> device().platform == jax.default_backend()
        True
    """
    if _portable.get():
        return Device()
    set_ = jax.sharding.get_abstract_mesh().abstract_device
    if set_ is not None:
        return Device(set_.platform, set_.device_kind)
    first = jax.devices()[0]
    return Device(first.platform, first.device_kind)


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """What is traced inside is made for no device: for programs that go elsewhere.

    Also for whoever watches the layers of a network at work: a kernel takes in the
    neighbours of a PRM, which then are no layers any more.
    """
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)
