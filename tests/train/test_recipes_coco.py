"""The experiments on COCO are the paper's Table 4, each once."""

import pytest
from support.run import REPO

from prm_flax.detection import list_detectors
from train.cli import load_config
from train.optim import make_schedule

FILES = sorted((REPO / "configs/coco").glob("*_*.py"))
CONFIGS = {p.stem: load_config(p) for p in FILES if p.stem != "__init__"}
# Images of train2017 over those of a batch.
EPOCH = 118_287 // 16
PAPER = {
    "retinanet_resnet50": "36.2",
    "retinanet_se_resnet50": "37.4",
    "retinanet_prm_resnet50": "37.7",
    "cascade_rcnn_resnet50": "40.6",
    "cascade_rcnn_gc_resnet50": "41.1",
    "cascade_rcnn_prm_resnet50": "42.5",
}


def test_the_rows_of_table_4_with_the_papers_figures():
    assert CONFIGS.keys() == PAPER.keys() <= {*list_detectors()}
    for path in FILES:
        if path.stem in PAPER:
            assert f"AP {PAPER[path.stem]} (Table 4)" in path.read_text()


@pytest.mark.parametrize("name", PAPER)
def test_the_recipe(name):
    config = CONFIGS[name]
    assert config.model.name == name and config.model.frozen_stages == 1
    assert (config.epochs, config.batch_size) == (24, 16)
    assert config.data.size == (800, 1333) and config.data.flip
    optim = config.optim
    assert (optim.momentum, optim.weight_decay, optim.nesterov) == (0.9, 1e-4, False)
    rate = make_schedule(optim, config.epochs, EPOCH, config.batch_size)
    peak = 0.01 if "retinanet" in name else 0.02
    for step, factor in ((500, 1), (16 * EPOCH - 1, 1), (16 * EPOCH, 0.1)):
        assert float(rate(step)) == pytest.approx(peak * factor)
    assert float(rate(23 * EPOCH)) == pytest.approx(peak * 0.01)
