"""Several processes of one run: how they meet, agree, and end together."""

import atexit
import contextlib
import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jax._src.clusters import ClusterEnv
from jax.experimental import multihost_utils

from prm_flax.printable import printable
from train.config import Config
from train.preemption import before_leaving, signals_blocked
from train.validate import check_config


def say(text: str) -> None:
    """Prints a line on the first process, whatever names are in it."""
    if jax.process_index() == 0:
        print(printable(text), flush=True)


NONE = -1  # where only a number can be sent


def any_process(here: bool) -> bool:
    """Whether it is so in one of the processes."""
    if jax.process_count() == 1:
        return here
    return bool(np.any(multihost_utils.process_allgather(np.asarray(here))))


def same_everywhere(text: str) -> bool:
    """Whether all processes have the same text."""
    if jax.process_count() == 1:
        return True
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    of_all = np.asarray(multihost_utils.process_allgather(digest))
    return bool((of_all == of_all[0]).all())


def from_first(number: int | None) -> int | None:
    """The first process's number, at least 0, or None."""
    if jax.process_count() == 1:
        return number
    sent = multihost_utils.broadcast_one_to_all(
        np.asarray(NONE if number is None else number)
    )
    return None if int(sent) == NONE else int(sent)


# Reads until the run is gone. An orderly end sends a byte before.
_WAITER = """
import os, sys
if not os.read(0, 1):
    print(sys.argv[1], file=sys.stderr, flush=True)
"""


@contextlib.contextmanager
def message_if_killed(text: str) -> Iterator[None]:
    """Says `text` on standard error if this process ends while inside, unasked."""
    with signals_blocked():
        waiter = subprocess.Popen(
            [sys.executable, "-I", "-c", _WAITER, text], stdin=subprocess.PIPE
        )
    stdin = waiter.stdin
    assert stdin is not None

    def dismiss() -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(stdin.fileno(), b".")

    before_leaving.append(dismiss)
    try:
        yield
    except BaseException:
        # It is still to be told; until then the libraries may end this process.
        atexit.register(dismiss)
        raise
    before_leaving.remove(dismiss)
    dismiss()
    stdin.close()
    waiter.wait()


# What jax would find out. It has no public way to ask before it acts on it.


ANY = "::"  # all addresses of a machine, IPv4's, too


class Place(NamedTuple):
    """A process among those of its run.

    Attributes:
        address: HOST:PORT of the first.
        processes: how many there are.
        process_id: of this one, from 0.
        choose: what gives the run another port.
    """

    address: str
    processes: int
    process_id: int
    choose: str


def meet(config: Config) -> None:
    """Connects this process with the others.

    Raises:
        ValueError: nothing tells who they are, or the first cannot listen at its port.
    """
    place = place_of(config)
    if place.process_id == 0:
        check_port(place)
    # jax ends a process that waits in vain from within.
    with message_if_killed(
        f"error: process {place.process_id} of {place.processes} did not meet the "
        f"others at {place.address} within {config.startup_seconds} s "
        "(--startup-seconds). Were all started, does this machine reach that address, "
        "and is the port the run's own? Another, the same for all processes: "
        f"{place.choose}."
    ):
        jax.distributed.initialize(
            place.address,
            place.processes,
            place.process_id,
            # An engine may have started the shell. By hand, all devices are used.
            cluster_detection_method="deactivate" if config.coordinator else None,
            initialization_timeout=config.startup_seconds,
            heartbeat_timeout_seconds=config.heartbeat_seconds,
            shutdown_timeout_seconds=config.heartbeat_seconds,
        )


def place_of(config: Config) -> Place:
    """As the config says or else the engine that started the processes.

    Raises:
        ValueError: neither does.
    """
    address, count, number = config.coordinator, config.processes, config.process_id
    choose = "--coordinator HOST:PORT"
    if address is None:
        address = os.environ.get("JAX_COORDINATOR_ADDRESS")
        choose = "JAX_COORDINATOR_" + ("ADDRESS=HOST:PORT" if address else "PORT=PORT")
        choose += " in their environment"
        address, count, number, _ = ClusterEnv.auto_detect_unset_distributed_params(
            address, None, None, None, None, config.startup_seconds
        )
    if address is None or count is None or number is None:
        raise ValueError(
            "distributed needs an engine that tells each process who the others are "
            "(Cloud TPU, Slurm, Open MPI, Kubernetes), or your word: --coordinator "
            "HOST:PORT --processes N --process-id I. On one machine leave "
            "--distributed out: one process drives all of its devices."
        )
    return Place(address, count, number, choose)


def check_port(place: Place) -> None:
    """Raises ValueError unless the first process can listen at its port.

    jax would crash there, or share the port with another run of the same user.
    """
    port = place.address.rpartition(":")[2]
    bind = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", f"[{ANY}]:{port}")
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    if host == ANY and not socket.has_dualstack_ipv6():
        host = "0.0.0.0"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server(
            (host, int(port)), family=family, dualstack_ipv6=host == ANY
        ).close()
    except OSError as error:
        raise ValueError(
            f"the first process of the run must listen at port {port}, where the "
            f"others look for it ({place.address}): {error.strerror}. Choose another, "
            f"the same for all processes: {place.choose}."
        ) from error


# Bytes of an error that are told to the other processes.
TOLD = 4096


class FirstProcessError(RuntimeError):
    """What the first process does for all of them failed there."""


class LostProcessError(RuntimeError):
    """What the processes compute together failed, above all as one of them is gone."""


@contextlib.contextmanager
def joined(config: Config) -> Iterator[None]:
    """Among the other processes of the run; entered before the first use of a device.

    Cloud TPU, Slurm, Open MPI and Kubernetes tell jax who they are, or the config does.

    Raises:
        ValueError: nothing tells who they are, or they cannot meet there.
        LostProcessError: what they compute together failed inside.
    """
    if not config.distributed:
        yield
        return
    check_config(config)
    meet(config)
    number, count = jax.process_index(), jax.process_count()
    lost = (
        f"process {number} of {count} was ended from within: above all when another "
        "process of the run is lost. The same command, on all machines, goes on from "
        "the last checkpoint."
    )
    with message_if_killed(f"error: {lost}"):
        try:
            yield
        except Exception as error:
            if _is_of_jax(error):
                raise LostProcessError(f"{lost} {error}") from error
            raise
        jax.distributed.shutdown()


def _is_of_jax(error: BaseException | None) -> bool:
    """Whether jax ended it, or what was still to be done when jax had."""
    while error is not None:
        if isinstance(error, jax.errors.JaxRuntimeError):
            return True
        error = error.__cause__ or error.__context__
    return False


def on_first(action: Callable[[], object]) -> None:
    """Runs an action on the first process while the others wait; its error is theirs.

    Raises:
        FirstProcessError: on the others, if the action failed.
    """
    if jax.process_count() == 1:
        action()
        return
    failure = None
    if jax.process_index() == 0:
        try:
            action()
        except Exception as error:
            failure = error
    told = _tell(str(failure) or type(failure).__name__ if failure else "")
    if failure is not None:
        raise failure
    if told:
        raise FirstProcessError(f"the first process of the run failed: {told}")


def _tell(text: str) -> str:
    """The first process's text, on all."""
    raw = text.encode(errors="backslashreplace")[:TOLD].ljust(TOLD, b"\0")
    sent = multihost_utils.broadcast_one_to_all(np.frombuffer(raw, np.uint8))
    return np.asarray(sent).tobytes().rstrip(b"\0").decode(errors="replace")
