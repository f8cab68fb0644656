"""A name is shown as one line that can be encoded, whatever it is made of."""

import os
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prm_flax.printable import printable

ANY_CHARACTER = st.integers(0, 0x10FFFF).map(chr)
ANY_NAME = st.lists(ANY_CHARACTER, max_size=20).map("".join)


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
