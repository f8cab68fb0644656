"""How a name is shown, whatever it is made of.

A name of a file or a class is data, and may hold what is no text: bytes that are not
UTF-8, which `os.fsdecode` keeps as the surrogates U+DC80 to U+DCFF, and characters
that end a line, move a cursor or turn the reading order round.
"""

import io
import re
import sys

CONTROL = (*range(0x20), *range(0x7F, 0xA0))
SEPARATORS = (0x2028, 0x2029)
# Marks, embeddings, overrides and isolates. What joins emoji is none of them.
READING_ORDER = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
SURROGATES = range(0xD800, 0xE000)

# What is not shown as it is -> what stands for it; later lines go before.
ESCAPES: dict[int, str] = {
    **{k: rf"\u{k:04x}" for k in (*CONTROL, *SEPARATORS, *READING_ORDER, *SURROGATES)},
    **{k: rf"\x{k:02x}" for k in CONTROL if k < 0x80},
    **{0xDC00 + byte: rf"\x{byte:02x}" for byte in range(0x80, 0x100)},
    **{ord("\t"): r"\t", ord("\n"): r"\n", ord("\r"): r"\r"},
}


def printable(name: str) -> str:
    r"""The name as one line that can be shown and encoded.

    Args:
        name: any string; bytes that are no text as `os.fsdecode` gives them.

    Returns:
        The name with such bytes as `\xNN`, and control characters, separators of lines
        and marks of the reading order as their escapes. All else is as it was, also a
        backslash: what is shown is to be read, not to be turned back.

    Example:
        >>> print(printable("caf\udce9"), printable("two\nlines"), printable("日本 🍋"))
        caf\xe9 two\nlines 日本 🍋
    """
    return name.translate(ESCAPES)


# Words and single separators between them, none of which is markup there.
PLAIN = re.compile(r"(/?[^\W_]+((, |[ _.,/-])[^\W_]+)*)?")


def markdown(name: str) -> str:
    """The name inside a line of Markdown, where it is to be read as it is.

    Args:
        name: any string. In a cell of a table a | needs a backslash besides.

    Returns:
        The name as `printable` shows it; as code where it has what Markdown, or HTML in
        it, may take for markup.

    Example:
        >>> print(markdown("prm_resnet14"), markdown("$x_1^2$"), markdown("a`b"))
        prm_resnet14 `$x_1^2$` ``a`b``
    """
    shown = printable(name)
    if PLAIN.fullmatch(shown):
        return shown
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    # One space at both ends is not part of the code, unless there is nothing else.
    edges = shown[0] + shown[-1]
    pad = " " if shown.strip(" ") and set(edges) & set(" `") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def print_everything() -> None:
    """Lets the program print any text: what the terminal cannot show, as escapes.

    Standard error is so by itself. What is no terminal, a notebook's output above all,
    takes everything.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
