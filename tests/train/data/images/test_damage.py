"""Bad files are refused with a reason; no file gives anything but pixels or that."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import ImageFile
from support.bad_images import BAD
from support.good_images import GOOD
from support.images import JPEG, MAX_PIXELS, MIDDLE, PHOTO, Case

from train.data.images import decode as module
from train.data.images.decode import BadImage, decode

REPO = Path(__file__).parents[4]


def check(case: Case) -> None:
    assert isinstance(case.want, str)
    with pytest.raises(BadImage, match=case.want):
        decode(case.data, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_a_bad_file_is_refused_with_the_reason(case, recwarn):
    check(case)
    assert not recwarn.list


@pytest.mark.parametrize(
    "case",
    [c for c in BAD if "jpeg" in c.name and not c.in_scan],
    ids=lambda case: case.name,
)
def test_pillow_alone_refuses_what_it_can_tell(case, monkeypatch, recwarn):
    monkeypatch.setitem(module.DECODERS, "JPEG", module.pillow)
    check(case)
    assert not recwarn.list


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_nobody_elses_setting_lets_a_cut_file_through(case, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    if not case.in_scan:
        monkeypatch.setitem(module.DECODERS, "JPEG", module.pillow)
    check(case)


def test_the_names_say_which_kind_is_meant():
    for cases in (GOOD, BAD):
        assert len({case.name for case in cases}) == len(cases) > 40


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_what_is_not_the_files_fault_is_not_called_so(error, monkeypatch):
    def fails(*_):
        raise error

    monkeypatch.setitem(module.DECODERS, "JPEG", fails)
    with pytest.raises(error):
        decode(JPEG, max_pixels=MAX_PIXELS)


def test_a_reason_names_the_kind_the_size_and_the_remedy():
    with pytest.raises(BadImage) as caught:
        decode(JPEG[:MIDDLE], max_pixels=MAX_PIXELS)
    assert str(caught.value) == (
        "JPEG of 83 x 61 that does not decode: Premature end of JPEG file; it is "
        "damaged or cut: fetch it again"
    )
    assert PHOTO.shape == (61, 83, 3)


def test_2000_mutated_files_give_pixels_or_a_reason_within_1_gb():
    # In a process of its own, whose memory is that of the decoding alone.
    done = subprocess.run(
        [sys.executable, "-m", "support.fuzz_images", "2000"],
        cwd=REPO,
        env={"PYTHONPATH": f"{REPO}:{REPO / 'tests'}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stderr == ""
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["pixels"] + found["refused"] == 2000
    assert min(found["pixels"], found["refused"]) > 100  # both kinds were reached
    assert found["peak_megabytes"] < 1000
