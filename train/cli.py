"""The command line: `python -m train COMMAND CONFIG [options]`."""

import dataclasses
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import tyro

from prm_flax.errors import unknown
from prm_flax.printable import print_everything
from train.checkpoints.manager import CheckpointError
from train.config import BaseConfig, Export, Predict, Preflight
from train.data.download import FetchError
from train.data.input import DataError
from train.distributed import FirstProcessError, LostProcessError, joined
from train.experiment import ROOT
from train.export.command import export_run
from train.fit import fit
from train.predict import evaluate_run, predict
from train.preemption import LINE
from train.preflight.command import preflight
from train.workdir.lock import WorkdirError
from train.workdir.trained import as_trained

FOLDER = Path(
    os.environ.get("PRM_CACHE_DIR") or Path(__file__).resolve().parents[1] / "data",
    "compiled",
)


def keep_compiled_programs() -> None:
    """Turns jax's persistent cache on, unless the environment names or forbids one.

    JAX_COMPILATION_CACHE_DIR names another folder, JAX_ENABLE_COMPILATION_CACHE=0 turns
    it off.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(FOLDER))


USAGE = """usage: python -m train COMMAND CONFIG [options]

  fit CONFIG        train, or go on where the run was stopped
  evaluate CONFIG   test metrics of the run's last checkpoint
  predict CONFIG    classes and query points of images
  export CONFIG     the run's weights, and a program that needs jax alone
  preflight CONFIG --topology v5e:16x16
                    memory and a bound of the time, on chips that need not be here

CONFIG is a file such as configs/fashion_mnist/prm_resnet14.py. Every option of a
command: python -m train COMMAND CONFIG --help.
Exit codes: 0 done; 1 the run failed, or the picture that predict was asked for; 2 wrong
input, nothing was run; 130 (Ctrl-C) and 143 (SIGTERM) stopped, a run that had begun
saved: the same command goes on from there.
"""


# What ends a run that had begun; OSError, when the disk fills up, above all.
FAILED = (
    CheckpointError,
    DataError,
    FirstProcessError,
    FloatingPointError,
    LostProcessError,
    OSError,
)


class Command(NamedTuple):
    """A command of the program.

    Attributes:
        run: `(config, its own options, if it has some) -> exit code`.
        options: the type of those; None for a command that has the config's alone.
        prefix: whether their flags begin with the command's name.
    """

    run: Callable[..., int]
    options: type | None = None
    prefix: bool = False


COMMANDS: MappingProxyType[str, Command] = MappingProxyType(
    {
        "fit": Command(fit),
        "evaluate": Command(evaluate_run),
        "predict": Command(predict, Predict, prefix=True),
        "export": Command(export_run, Export),
        "preflight": Command(preflight, Preflight),
    }
)


# These use a run that was trained before.
OF_A_RUN = ("evaluate", "predict", "export")
# Other names of fields.
ALIASES = MappingProxyType({"init": "init.file"})


def main(arguments: Sequence[str]) -> int:
    """Runs a command line; returns the exit code."""
    print_everything()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if arguments else 2
    try:
        command = _command(arguments[0])
        config, own = split(parse(arguments[0], arguments[1:]), arguments[0])
        keep_compiled_programs()
        with joined(config):
            if arguments[0] in OF_A_RUN:
                config = as_trained(config, typed(arguments[2:]))
            return command.run(config, *own)
    except (ValueError, WorkdirError, FetchError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # the second; the first was noted
        print(LINE, file=sys.stderr)
        return 130
    except FAILED as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _command(name: str) -> Command:
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    return COMMANDS[name]


def parse(name: str, arguments: Sequence[str]) -> Any:
    """A config file with the flags applied; a wrong flag ends the program (code 2).

    Returns:
        A config of the file's class, which alone says what flags there are, with the
        command's own options in a field of its name.
    """
    if not arguments or arguments[0].startswith("-"):
        raise ValueError(f"the config file is missing: python -m train {name} CONFIG.")
    loaded = load_config(Path(arguments[0]))
    fields = {f.name: getattr(loaded, f.name) for f in dataclasses.fields(loaded)}
    options = _with_options(type(loaded), name, COMMANDS[name])
    return tyro.cli(
        options,
        prog=f"python -m train {name} {arguments[0]}",
        args=list(arguments[1:]),
        default=options(**fields),
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff),
    )


def split(parsed: Any, name: str) -> tuple[Any, list[Any]]:
    """The config by itself, and the command's own options, if it has some."""
    if COMMANDS[name].options is None:
        return parsed, []
    kind: Any = type(parsed).__base__
    fields = {f.name: getattr(parsed, f.name) for f in dataclasses.fields(kind)}
    return kind(**fields), [getattr(parsed, name)]


def _with_options(config: type[BaseConfig], name: str, command: Command) -> type:
    """The config's class with a field for the command's own options."""
    if command.options is None:
        return config
    kind: Any = command.options
    flags = kind if command.prefix else tyro.conf.OmitArgPrefixes[kind]
    field = (name, flags, dataclasses.field(default_factory=kind))
    return dataclasses.make_dataclass(
        f"{name.title()}Config", [field], bases=(config,), frozen=True
    )


def typed(arguments: Sequence[str]) -> frozenset[str]:
    """The fields that flags give: "--data.image-size 64" gives data.image_size."""
    flags = (word[2:] for word in arguments if word.startswith("--"))
    names = (flag.partition("=")[0].replace("-", "_") for flag in flags)
    return frozenset(ALIASES.get(name, name) for name in names)


def load_config(path: Path) -> BaseConfig:
    """Runs a config file's `config()`.

    Raises:
        ValueError: there is no such file, or its `config` does not return a config.
    """
    if not path.is_file():
        known = sorted((ROOT / "configs").rglob("*.py"))
        names = [str(k.relative_to(ROOT)) for k in known if k.name != "__init__.py"]
        raise unknown("config file", str(path), names)
    spec = importlib.util.spec_from_file_location("config_file", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"a config file is a Python file: {path}.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    make = getattr(module, "config", None)
    loaded = make() if callable(make) else None
    if not isinstance(loaded, BaseConfig):
        raise ValueError(f"{path} must define config(), which returns a Config.")
    return loaded
