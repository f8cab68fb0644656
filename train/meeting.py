"""How the processes of a run find each other: who each is, and the first one's port."""

import os
import socket
from typing import NamedTuple

import jax

# What jax would find out. It has no public way to ask before it acts on it.
from jax._src.clusters import ClusterEnv

from train.config import Config
from train.last_words import last_words

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
    with last_words(
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
