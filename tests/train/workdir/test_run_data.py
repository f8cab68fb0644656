"""A run goes on with the classes and the images that it began with."""

import os

import numpy as np
import pytest

from train.workdir.lock import WorkdirError
from train.workdir.run_data import (
    ImageList,
    RunData,
    check_data,
    labels_by_name,
    read_data,
    write_data,
)

DATA = RunData(
    ("cat", "dog"), (32, 32, 3), ImageList(60, "a" * 64), ImageList(12, "b" * 64)
)


def test_what_is_written_comes_back(tmp_path):
    odd = (os.fsdecode(b"caf\xe9"), "line\nbreak", "日本", "🍋", "a|b*c", 'q"uote')
    data = DATA._replace(class_names=odd)
    write_data(tmp_path, data)
    assert read_data(tmp_path) == data


def test_a_folder_may_say_nothing(tmp_path):
    assert read_data(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"class_names": 3}'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(WorkdirError, match=r"data\.json must say .* damaged"):
        read_data(tmp_path)


def test_the_same_data_go_on(tmp_path, capsys):
    write_data(tmp_path, DATA)
    check_data(tmp_path, DATA)
    assert capsys.readouterr().out == ""


# What is there now, and what is said of it.
CHANGES = {
    "a class renamed": (
        DATA._replace(class_names=("dog", "zcat")),
        ["classes: cat gone, zcat new"],
    ),
    "a class more": (
        DATA._replace(class_names=("cat", "cow", "dog"), train=ImageList(81, "c")),
        ["classes: none gone, cow new", "train images: were 60, are 81"],
    ),
    "another order": (
        DATA._replace(class_names=("dog", "cat")),
        ["classes: the same in another order"],
    ),
    "photos added": (
        DATA._replace(train=ImageList(81, "c")),
        ["train images: were 60, are 81"],
    ),
    "photos exchanged": (
        DATA._replace(test=ImageList(12, "c")),
        ["test images: 12 as before, but other files, or of other sizes"],
    ),
    "another shape": (
        DATA._replace(image_shape=(28, 28, 1)),
        ["image shape: was (32, 32, 3), is (28, 28, 1)"],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_data_are_refused_with_what_differs(tmp_path, change):
    now, lines = CHANGES[change]
    write_data(tmp_path, DATA)
    with pytest.raises(WorkdirError) as caught:
        check_data(tmp_path, now)
    head, *said, _ = str(caught.value).split("\n")
    assert head == f"{tmp_path} holds a run of other data:"
    assert [line.strip() for line in said] == lines
    assert read_data(tmp_path) == DATA


def test_of_an_old_run_a_sentence_says_so(tmp_path, capsys):
    check_data(tmp_path, DATA)
    assert capsys.readouterr().out == (
        f"{tmp_path} was made before runs kept their classes: taken from the data as "
        "they are now, 2 classes: cat, dog.\n"
    )


def test_labels_go_by_name():
    found = labels_by_name(("cat", "cow", "dog"), ("dog", "cat"))
    np.testing.assert_array_equal(found, [2, 0])
    assert found.dtype == np.int32


def test_an_unknown_class_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"'zcat'\. Did you mean 'cat'\?"):
        labels_by_name(("cat", "dog"), ("dog", "zcat"))
