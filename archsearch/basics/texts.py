"""Texts from users' code, made such that every file, terminal and page can hold them: well-formed, and bounded."""

from __future__ import annotations

import re
from typing import Any

from archsearch.basics.words import plain

MAX_ERROR_BEGIN, MAX_ERROR_END = 2_000, 6_000
"""Characters of a long error text that are kept, of its begin and of its end, where a traceback says what it was."""
MAX_SHOWN = 200
"""Characters of a value that an error shows."""
MAX_LABEL = 100_000
"""Characters of an architecture's name that the history keeps."""
_LEFT_OUT = re.compile(r"\n\.\.\. \[(\d[\d,]{0,19}) characters left out\] \.\.\.\n", re.ASCII)


def well_formed(text: str) -> str:
    """The text as a plain ``str`` that UTF-8 can hold: lone surrogates become escapes, a backslash and their number.

    They come from names of files that are not UTF-8, and no file of a run could hold them.
    """
    text = str.__str__(text)  # of a subclass, such as NumPy's
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode(errors="backslashreplace").decode()
    return text


def shortened(text: str, begin: int = MAX_ERROR_BEGIN, end: int = MAX_ERROR_END) -> str:
    """The text, well-formed; of a long one its begin and its end, and how much was left out between them.

    What was left out before counts: a text may be shortened where it is made, and again with what was put before it.

    Args:
        text: Any text.
        begin: Characters that are kept of the begin, >= 0.
        end: Characters that are kept of the end, >= 1.
    """
    if len(text) <= begin + end:
        return well_formed(text)
    left_out = len(text) - begin - end
    for mark in _LEFT_OUT.finditer(text[begin:-end]):
        left_out += int(mark[1].replace(",", "")) - len(mark[0])
    return well_formed(f"{text[:begin]}\n... [{left_out:,} characters left out] ...\n{text[-end:]}")


def shown(value: object, most: int = MAX_SHOWN) -> str:
    """A value on one line for an error: its ``repr`` if that can be had, else its type; cut short where it is long."""
    try:
        text = repr(value)
    except Exception:  # of a stranger's class, or a whole number of more than 4,300 digits
        text = f"<{type(value).__name__}>"
    text = plain(" ".join(text[: 10 * most].split()))
    return text if len(text) <= most else f"{text[:most]}..."


def name_of(space: Any, architecture: tuple[int, ...]) -> str:
    """The space's own notation of an architecture as a well-formed text; its numbers, where ``format`` fails."""
    try:
        text = space.format(architecture)
    except Exception:
        text = None
    if not isinstance(text, str):
        text = "-".join(map(str, architecture))
    return well_formed(text[:MAX_LABEL])
