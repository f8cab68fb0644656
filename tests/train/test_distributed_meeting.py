"""The processes of a run find each other, or say why not."""

import contextlib
import dataclasses
import socket

import pytest
from support.run import TINY, end
from support.several import start_several

from train.config import Config
from train.distributed import Place, check_port, place_of
from train.validate import check_config

HAND = {"coordinator": "localhost:12321", "processes": 2, "process_id": 1}
BY_HAND = Config(name="run", distributed=True, **HAND)
SLURM = {
    "SLURM_JOB_ID": "4097",
    "SLURM_STEP_NODELIST": "node[07-08]",
    "SLURM_NTASKS": "16",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "3",
}


@pytest.fixture
def alone(monkeypatch):
    """An environment in which nothing tells who the others are."""
    for name in (*SLURM, "JAX_COORDINATOR_ADDRESS", "JAX_COORDINATOR_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("JAX_COORDINATOR_BIND_ADDRESS", raising=False)
    return monkeypatch


def by_engine(env, **variables):
    for name, value in (SLURM | variables).items():
        env.setenv(name, value)
    return place_of(Config(name="run", distributed=True))


@pytest.mark.parametrize("address", ["node1:1", "10.0.0.1:65535", "[fd00::1]:12321"])
def test_a_place_told_by_hand(alone, address):
    config = dataclasses.replace(BY_HAND, coordinator=address)
    check_config(config)
    assert place_of(config) == Place(address, 2, 1, "--coordinator HOST:PORT")


def test_the_word_given_comes_before_the_engine_s(alone):
    by_engine(alone)
    assert place_of(BY_HAND)[:3] == ("localhost:12321", 2, 1)


# Variables of the environment -> the address, and what would change it.
TOLD = [
    ({}, "node07:61441", "JAX_COORDINATOR_PORT=PORT"),
    ({"JAX_COORDINATOR_PORT": "9"}, "node07:9", "JAX_COORDINATOR_PORT=PORT"),
    ({"JAX_COORDINATOR_ADDRESS": "a:9"}, "a:9", "JAX_COORDINATOR_ADDRESS=HOST:PORT"),
]


@pytest.mark.parametrize("variables, address, choose", TOLD)
def test_a_place_told_by_an_engine(alone, variables, address, choose):
    place = by_engine(alone, **variables)
    assert place[:3] == (address, 16, 3)
    assert place.choose == f"{choose} in their environment"


def test_a_place_that_nothing_tells(alone):
    with pytest.raises(ValueError) as caught:
        place_of(Config(name="run", distributed=True))
    wanted = ("Slurm", "Open MPI", "--coordinator HOST:PORT", "--process-id I")
    assert [word for word in wanted if word not in str(caught.value)] == []


INCOMPLETE = [{name: None} for name in HAND] + [{"distributed": False}]


@pytest.mark.parametrize("change", INCOMPLETE)
def test_a_place_half_told_is_refused(change):
    with pytest.raises(ValueError) as caught:
        check_config(dataclasses.replace(BY_HAND, **change))
    rule = "go together: --distributed --coordinator HOST:PORT --processes N"
    (name, value), *_ = change.items()
    assert rule in str(caught.value) and f"{name} {value}" in str(caught.value)


def test_the_number_of_a_process_is_less_than_how_many_there_are():
    with pytest.raises(ValueError, match=r"0 to processes - 1, got 2 of 2\."):
        check_config(dataclasses.replace(BY_HAND, process_id=2))


def at(port):
    return Place(f"localhost:{port}", 2, 0, "--coordinator HOST:PORT")


@contextlib.contextmanager
def listening(host="127.0.0.1", **options):
    with socket.create_server((host, 0), **options) as server:
        yield server, server.getsockname()[1]


# Two servers that both reuse a port would share it: jax's do.
OTHERS = [{}, {"host": "0.0.0.0"}, {"reuse_port": True}]


@pytest.mark.parametrize("other", OTHERS)
def test_a_port_in_use(alone, other):
    with listening(**other) as (_, port), pytest.raises(ValueError) as caught:
        check_port(at(port))
    wanted = (f"port {port}", f"localhost:{port}", "in use", "--coordinator HOST:PORT")
    assert [word for word in wanted if word not in str(caught.value)] == []


def test_a_port_that_was_in_use_until_now(alone):
    with listening() as (server, port):
        client = socket.create_connection(server.getsockname())
        server.accept()[0].close()  # who closes first keeps the port for a while
        client.close()
    check_port(at(port))
    check_port(at(port))


def test_a_port_at_the_address_that_jax_is_told(alone):
    with listening("127.0.0.2") as (_, port):
        alone.setenv("JAX_COORDINATOR_BIND_ADDRESS", f"127.0.0.1:{port}")
        check_port(at(1))
        alone.setenv("JAX_COORDINATOR_BIND_ADDRESS", f"127.0.0.2:{port}")
        with pytest.raises(ValueError, match=f"listen at port {port}"):
            check_port(at(1))


def test_processes_whose_port_another_program_has_all_end_and_say_so(tmp_path):
    with listening() as (_, port):
        told = {
            "JAX_COORDINATOR_PORT": str(port),
            "JAX_COORDINATOR_BIND_ADDRESS": f"127.0.0.1:{port}",
        }
        run = tmp_path / "run"
        command = ["-m", "train", "fit", TINY, "--workdir", str(run), "--distributed"]
        several = start_several(2, [*command, "--startup-seconds", "1"], told)
        first, second = (end(process) for process in several)
    assert first.code == 2
    assert first.err.startswith("error: the first process of the run must listen at")
    assert second.code != 0
    lost = f"process 1 of 2 did not meet the others at localhost:{port} within 1 s"
    assert lost in second.err
    assert "JAX_COORDINATOR_PORT" in first.err and "JAX_COORDINATOR_PORT" in second.err
    assert not run.exists()
