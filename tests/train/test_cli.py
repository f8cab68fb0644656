"""The command line: wrong input ends with code 2 and says why, before any folder."""

import pytest
from support.run import REPO, TINY

from prm_flax import list_models
from train import cli
from train.cli import COMMANDS, load_config, main, parse
from train.config import Init
from train.preemption import LINE


@pytest.fixture
def refused(tmp_path, capsys):
    """Runs `fit` on tiny.py with flags that are wrong; its error message."""

    def refuse(*flags, command="fit", config=TINY):
        workdir = tmp_path / "run"
        arguments = [command, config, "--workdir", str(workdir), *flags]
        assert code_of(arguments) == 2
        assert not workdir.exists()
        return capsys.readouterr().err

    return refuse


def code_of(arguments):
    """The exit code, whichever way it comes."""
    try:
        return main(arguments)
    except SystemExit as end:
        return end.code


def test_without_arguments_it_says_how_it_is_used(capsys):
    assert main([]) == 2
    assert capsys.readouterr().out == cli.USAGE


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(capsys, flag):
    assert main([flag]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {command} CONFIG" in printed for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_lists_its_options(capsys, command):
    assert code_of([command, TINY, "--help"]) == 0
    printed = capsys.readouterr().out
    assert "--optim.peak-lr" in printed
    assert ("--predict.images" in printed) == (command == "predict")


def test_a_run_that_does_not_wait_for_its_save(monkeypatch, capsys):
    """Ctrl-C twice."""

    def twice(config):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "COMMANDS", {"fit": cli.Command(twice)})
    assert main(["fit", TINY]) == 130
    assert capsys.readouterr().err == f"{LINE}\n"


def test_an_unknown_command(capsys):
    assert main(["fitt", TINY]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: Unknown command 'fitt'. Did you mean 'fit'?")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("rest", [[], ["--epochs", "3"]])
def test_a_missing_config(capsys, command, rest):
    assert main([command, *rest]) == 2
    error = capsys.readouterr().err
    assert f"the config file is missing: python -m train {command} CONFIG" in error


def test_an_unknown_config_gets_the_nearest(refused):
    error = refused(config="configs/fashion_mnist/prm_resnet41.py")
    assert "Did you mean 'configs/fashion_mnist/prm_resnet14.py'?" in error


@pytest.mark.parametrize(
    "content", ["", "config = 3\n", "def config():\n    return 3\n"]
)
def test_a_file_that_is_no_config(refused, tmp_path, content):
    path = tmp_path / "wrong.py"
    path.write_text(content)
    assert "must define config(), which returns a Config" in refused(config=str(path))


def test_a_file_that_is_not_python(refused):
    assert "a config file is a Python file" in refused(config="configs/README.md")


# Flags -> words of the message.
WRONG = {
    "option": (["--optim.peak-rl", "0.1"], ["--optim.peak-lr"]),
    "value's type": (["--epochs", "many"], ["--epochs", "many"]),
    "choice": (["--optim.schedule", "cosin"], ["cosin", "cosine"]),
    "model": (["--model.name", "prm_resnt14"], ["Did you mean 'prm_resnet14'"]),
    "model's option": (["--model.name", "resnet14"], ["resnet14", "'groups'"]),
    "stem": (["--model.stem", "3x3_stride3"], ["Did you mean '3x3_stride2'"]),
    "similarity": (["--model.similarity", "dott"], ["Did you mean 'dot'"]),
    "ddof": (["--model.ddof", "2"], ["ddof"]),
    "groups": (["--model.groups", "7"], ["7", "16"]),
    "no groups": (["--model.groups", "0"], ["groups"]),
    "dropout": (["--model.dropout", "nan"], ["dropout must be in [0, 1), got nan"]),
    "source": (["--data.source", "fakes"], ["Did you mean 'fake'"]),
    "root": (["--data.root", "/nowhere"], ["/nowhere", "train-images-idx3-ubyte"]),
    "classes": (["--model.num-classes", "12"], ["12", "10 classes"]),
    "no classes": (["--model.num-classes", "0"], ["num_classes is 0", "10 classes"]),
    "devices": (["--batch-size", "62"], ["62 images, 4 devices", "next is 64"]),
    "batch": (["--batch-size", "644"], ["644", "640 images"]),
    "statistics": (["--model.batch-norm", "48"], ["model.batch_norm", "64 and 48"]),
    "channels": (["--data.mean", "0.1", "0.2"], ["data.mean", "2 numbers, 1 channels"]),
    "rate": (["--optim.peak-lr", "nan"], ["optim.peak_lr", "finite", "nan"]),
    "smoothing": (["--optim.label-smoothing", "1"], ["optim.label_smoothing", "1"]),
    "epochs": (["--epochs", "0"], ["epochs must be a whole number, at least 1, got 0"]),
    "warm-up": (["--optim.warmup-epochs", "9"], ["must not exceed epochs"]),
    "seed": (["--seed", "-1"], ["seed must be in [0, 2^31), got -1"]),
    "crops": (["--data.crop-area", "0.5", "0.1"], ["data.crop_area", "(0.5, 0.1)"]),
    "sizes": (["--data.eval-resize", "200"], ["at least data.image_size", "200"]),
    "exemption": (["--optim.no-decay", "norm"], ["norm", "norms"]),
    "parts": (["--optim.accumulate", "2"], ["needs model.batch_norm", "at most 8"]),
    "bad images": (["--data.on-bad-image", "grey"], ["grey", "skip"]),
    "no weights": (["--init", "none.pth"], ["none.pth is not there", "make weights"]),
    "new of nothing": (["--init.new", "prm"], ["init.new needs init.file"]),
    "average of nothing": (["--init.weights", "average"], ["of init.file are taken"]),
    "kind of weights": (["--init.weights", "mean"], ["raw", "average"]),
    "name": (["--name", "a/b"], ["name must be a plain name"]),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input(refused, what):
    flags, words = WRONG[what]
    error = refused(*flags)
    assert [word for word in words if word not in error] == [], error
    assert "Traceback" not in error


def test_idx_data_without_a_folder(refused, tmp_path, monkeypatch):
    monkeypatch.delenv("PRM_DATA_DIR", raising=False)
    path = tmp_path / "rootless.py"
    path.write_text(
        "from train.config import Config, Data\n"
        "def config(): return Config(name='a', data=Data(source='idx'))\n"
    )
    assert "idx needs data.root" in refused(config=str(path))


def test_a_workdir_that_is_a_file(tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("kept")
    assert main(["fit", TINY, "--workdir", str(path)]) == 2
    assert "workdir must be a folder" in capsys.readouterr().err
    assert path.read_text() == "kept"


def test_flags_change_their_fields_and_nothing_else():
    flags = "--optim.peak-lr 0.5 --optim.nesterov False --model.batch-norm 32"
    flags += " --model.dtype bfloat16 --data.mean 0.1 0.2 0.3"
    got = parse("fit", [str(REPO / TINY), *flags.split()])
    want = load_config(REPO / TINY)
    assert (got.optim.peak_lr, got.optim.nesterov) == (0.5, False)
    assert (got.model.batch_norm, got.model.dtype) == (32, "bfloat16")
    assert got.data.mean == (0.1, 0.2, 0.3)
    assert (got.epochs, got.checkpoint, got.log) == (
        want.epochs,
        want.checkpoint,
        want.log,
    )
    assert (got.model.name, got.optim.ema) == (want.model.name, want.optim.ema)


@pytest.mark.parametrize(
    "flags",
    [
        "--init a.pth --init.new prm,fc",
        "--init a.pth --init.new prm fc",
        "--init.file a.pth --init.new prm, fc --epochs 2",
    ],
)
def test_weights_to_start_from(flags):
    config = parse("fit", [str(REPO / TINY), *flags.split()])
    assert config.init == Init("a.pth", ("prm", "fc"), "raw")


def test_averaged_weights_to_start_from():
    flags = ["--init", "a.pth", "--init.weights", "average"]
    config = parse("fit", [str(REPO / TINY), *flags])
    assert config.init == Init("a.pth", (), "average")


@pytest.mark.parametrize("name", list_models())
def test_every_network_can_be_asked_for(name):
    arguments = [str(REPO / TINY), "--model.name", name]
    assert parse("fit", arguments).model.name == name
