"""A name is shown as one line that can be encoded, whatever it is made of."""

import contextlib
import io
import itertools
import os
import sys
import unicodedata

import jax
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax.experimental import multihost_utils
from markdown_it import MarkdownIt

import prm_flax.figures.__main__
import prm_flax.paper.__main__
import studies.__main__
import train.cli
from benchmarks.markdown import grid
from prm_flax.errors import unknown
from prm_flax.printable import markdown, printable
from train import distributed
from train.data.input import DataError
from train.distributed import on_first, say

ANY_CHARACTER = st.integers(0, 0x10FFFF).map(chr)
ANY_NAME = st.lists(ANY_CHARACTER, max_size=20).map("".join)
# Of what Markdown and HTML take for markup.
MARKUP = st.text("a1_*`|<>[]()#&;$~!\\:. -\n", max_size=12)


@pytest.mark.parametrize(
    "name, shown",
    [
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        (os.fsdecode(b"\xff\x80"), r"\xff\x80"),
        ("caf\u00e9", "café"),
        ("two\nlines\tand\r", r"two\nlines\tand\r"),
        ("\x00\x1b[31m\x7f", r"\x00\x1b[31m\x7f"),
        # Not the byte 0x9b, which is no text, but a character of this number.
        ("\x9b", r"\u009b"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("\u202egnp.exe\u2069", r"\u202egnp.exe\u2069"),
        ("\ud83c", r"\ud83c"),
    ],
)
def test_what_is_no_text_is_escaped(name, shown):
    assert printable(name) == shown


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a cat",
        "日本 🍋",
        "👩‍👩‍👧",  # joined by U+200D
        "ไทย עברית العربية",
        "$x_1^2$ a|b*c `d` <b>&amp;</b> [e](f) #g",
        "\\xe9",
        "-rf",
        "x" * 200,
    ],
)
def test_all_else_is_shown_as_it_is(name):
    assert printable(name) == name


@settings(max_examples=200)
@given(ANY_NAME | st.binary(max_size=20).map(os.fsdecode))
def test_what_is_shown_is_one_line_of_text(name):
    shown = printable(name)
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert len(shown.splitlines()) <= 1
    assert not {"Cc", "Cs", "Zl", "Zp"} & set(map(unicodedata.category, shown))
    assert not {"LRO", "RLO", "LRE", "RLE", "PDF"} & set(
        map(unicodedata.bidirectional, shown)
    )
    assert printable(shown) == shown


def test_bytes_and_characters_are_told_apart():
    everything = [chr(code) for code in range(0xA0)] + [
        os.fsdecode(bytes([byte])) for byte in range(0x80, 0x100)
    ]
    assert len(set(map(printable, everything))) == len(everything)


def words_of(markdown_text, tag):
    """What a reader sees of the paragraphs, heads or cells of Markdown."""
    parser = MarkdownIt("commonmark").enable("table")
    tokens = parser.parse(markdown_text)
    inside = itertools.pairwise(tokens)
    return [
        "".join(child.content for child in token.children)
        for opened, token in inside
        if opened.type == f"{tag}_open"
    ]


@settings(max_examples=100)
@given(ANY_NAME | MARKUP)
def test_markdown_shows_the_name_as_it_is(name):
    assume(name)
    shown = printable(name)
    assert words_of(f"# {markdown(name)}", "heading") == [shown]
    assert words_of(f"of {markdown(name)}, all", "paragraph") == [f"of {shown}, all"]
    table = grid(["run", "it"], [[markdown(name), "1"]])
    assert words_of(table, "td") == [shown, "1"]


@pytest.mark.parametrize(
    "name", ["prm_resnet14", "runs/one", "/tmp/a", "T-shirt/top", "Löwe, jung", "日本"]
)
def test_ordinary_names_need_no_marks(name):
    assert markdown(name) == name


def test_what_html_takes_for_markup_is_shown_as_it_is():
    html = MarkdownIt("commonmark").render(markdown("<b>&amp;</b>"))
    assert html == "<p><code>&lt;b&gt;&amp;amp;&lt;/b&gt;</code></p>\n"


COMMANDS = (train.cli, prm_flax.figures.__main__, prm_flax.paper.__main__)
COMMANDS += (studies.__main__,)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.__name__)
def test_a_terminal_of_any_encoding_shows_any_name(command, encoding, monkeypatch):
    written = io.BytesIO()
    terminal = io.TextIOWrapper(written, encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    with contextlib.suppress(SystemExit):
        command.main(["--help"])
    say("caf\udce9 × 日本")
    terminal.flush()
    last = written.getvalue().decode(encoding).splitlines()[-1]
    shown = "caf\\xe9 × 日本"
    assert last == shown.encode(encoding, "backslashreplace").decode(encoding)


def test_what_is_said_is_one_line(capsys):
    say("a name of\ntwo lines")
    assert capsys.readouterr().out == "a name of\\ntwo lines\n"


def test_an_error_of_the_first_process_may_name_anything(monkeypatch):
    told = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", told.append)
    monkeypatch.setattr(distributed.np, "asarray", lambda sent: np.zeros(1, np.uint8))

    def fail():
        raise DataError("caf\udce9/0.png")

    with pytest.raises(DataError, match=r"0\.png"):
        on_first(fail)
    assert bytes(told[0]).rstrip(b"\0") == b"caf\\udce9/0.png"


def test_a_name_that_is_not_known_is_said_among_names_of_any_kind():
    error = unknown("class", "caf\udce8", ["caf\udce9", "two\nlines"])
    assert str(error).endswith("Known: caf\\xe9, two\\nlines.")
    assert str(error).isprintable()
