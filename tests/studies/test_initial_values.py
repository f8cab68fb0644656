"""A case that starts PRM's parameters at other numbers."""

import numpy as np
import pytest

from prm_flax.interop import safetensors
from studies import fashion_mnist
from studies.case import Case, config_of
from studies.initial_values import with_initial_values, write
from train.experiment import build

VARIABLES = {
    "params": {
        "layer1_0": {
            "prm": {"lam": np.zeros(2), "xi": np.ones(2), "d": np.ones(())},
            "bn1": {"scale": np.ones(2)},
        }
    },
    "batch_stats": {"layer1_0": {"bn1": {"mean": np.zeros(2)}}},
}


def test_the_named_parameters_start_elsewhere_and_nothing_else_does():
    found = with_initial_values(VARIABLES, {"lam": 1.0, "d": 4.0})
    block = found["params"]["layer1_0"]
    np.testing.assert_array_equal(block["prm"]["lam"], np.ones(2))
    np.testing.assert_array_equal(block["prm"]["d"], 4.0)
    np.testing.assert_array_equal(block["prm"]["xi"], np.ones(2))
    assert block["bn1"] == VARIABLES["params"]["layer1_0"]["bn1"]
    assert found["batch_stats"] == VARIABLES["batch_stats"]


def test_a_parameter_that_no_prm_has_is_refused():
    with pytest.raises(ValueError, match=r"none has \{'gamma'\}"):
        with_initial_values(VARIABLES, {"gamma": 1.0})


def test_a_file_has_the_weights_of_the_seed_but_for_the_start(tmp_path):
    config, file = (
        "configs/fashion_mnist/prm_resnet14.py",
        tmp_path / "start.safetensors",
    )
    case = Case("x", "y", config, {"data.source": "fake"}, {"lam": 1.0})
    write(case, 5, file)
    _, found = safetensors.load(file)
    plain = build(config_of(case, {"seed": 5})).init().variables
    kernel = found["params"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel, plain["params"]["conv1"]["kernel"])
    np.testing.assert_array_equal(found["params"]["layer1_0"]["prm"]["lam"], np.ones(8))


def test_every_start_of_the_study_is_one_of_prm_s_parameters():
    starts = [
        case.initial_values
        for case in fashion_mnist.cases().values()
        if case.initial_values
    ]
    names = {name for start in starts for name in start}
    assert starts and names <= {"alpha", "beta", "lam", "xi", "theta", "d"}
