r"""Texts of users and of files, made fit for a terminal, a page, a picture or a Markdown file.

Names of options and metrics, error messages and paths may hold anything: an escape sequence that clears the screen or
retitles the window, a carriage return that overwrites the line, an override that turns the reading direction around, or
half a surrogate pair, which cannot even be printed. What cannot be seen is shown as Python writes it: ``\x1b``.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Mapping
from typing import IO, Any

from archsearch.trial import Cost, Used


def plain(text: str) -> str:
    """A text on one line in which everything can be seen; what cannot is written as in Python."""
    if text.isprintable():
        return text
    return "".join([_seen(character) for character in text])


def plain_lines(text: str) -> str:
    """As ``plain``, but line breaks stay, and tabs become spaces."""
    if text.isprintable():
        return text
    return "\n".join([plain(line) for line in text.expandtabs(4).split("\n")])


def _seen(character: str) -> str:
    if character.isprintable():
        return character
    if character.isspace() and ord(character) > 0x9F and character not in "\u2028\u2029":  # wide and narrow spaces
        return " "
    return character.encode("unicode_escape").decode("ascii")


def say(*parts: Any, file: IO[str] | None = None) -> None:
    """Prints as ``print`` does, but nothing that a terminal would obey; what its encoding lacks is escaped, too."""
    stream = file or sys.stdout
    text = plain_lines(" ".join(map(str, parts)))
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def html_text(text: str) -> str:
    """A text inside an HTML page."""
    return html.escape(plain_lines(text))


def html_lines(text: str) -> str:
    """Lines of a name, spaces, and what it is, such as ``seed      7``, as a table of an HTML page.

    What begins with a space belongs to the line before.
    """
    rows: list[list[str]] = []
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name or not rows:
            rows.append([name, value.strip()])
        else:
            rows[-1][1] += f"\n{value.strip()}"
    cells = ((html_text(name), html_text(value).replace("\n", "<br>")) for name, value in rows)
    left = 'style="text-align: left"'
    body = "".join(f"<tr><th {left}>{name}</th><td {left}>{value}</td></tr>" for name, value in cells)
    return f"<table>{body}</table>"


def markdown(text: str) -> str:
    """A text inside a line, or a cell of a table, of a Markdown file: no code, no link, no picture, no HTML."""
    text = plain(text).replace("\\", "\\\\").replace("`", "\\`").replace("|", "\\|").replace("<", "&lt;")
    return text.replace("](", "]\\(").replace("![", "!\\[")


def fenced(text: str) -> str:
    """A text as a block of code of a Markdown file, which nothing in it ends."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{plain_lines(text)}\n{fence}"


MOST_WHOLE = 1e15
"""Up to here a whole figure, such as a number of parameters, is written with all its digits."""


def format_figure(value: float | None) -> str:
    """A score or metric for people, the same everywhere: six digits, whole numbers with all; a dash for None."""
    if value is None:
        return "-"
    whole = float(value).is_integer() and abs(value) < MOST_WHOLE
    return f"{value:,.0f}" if whole else f"{value:,.6g}"


def format_cost(cost: Cost) -> str:
    """A cost for people: the amounts that are not zero, with units."""
    parts = [f"{format_seconds(cost.wall_seconds)} on the run's clock"]
    if cost.recorded_seconds:
        parts.append(f"{format_seconds(cost.recorded_seconds)} recorded")
    if cost.device_seconds:
        parts.append(f"{format_seconds(cost.device_seconds)} on devices")
    if cost.failed_seconds >= 0.001:
        parts.append(f"{format_seconds(cost.failed_seconds)} of it in tries that failed")
    for name, unit in (("examples", "examples"), ("updates", "updates"), ("flops", "FLOPs")):
        if amount := getattr(cost, name):
            parts.append(f"{amount:.4g} {unit}")
    return "nothing" if cost.wall_seconds < 0.001 and len(parts) == 1 else ", ".join(parts)


def format_used(used: Used) -> str:
    """What trials used, for people."""
    sizes = (("memory", used.memory_bytes), ("device memory", used.device_bytes))
    parts = [f"{name} {'not measured' if size is None else f'at most {size / 1e6:,.0f} MB'}" for name, size in sizes]
    return ", ".join([*parts, f"energy {'not measured' if used.joules is None else f'{used.joules:,.4g} J'}"])


def format_faults(faults: Mapping[str, int]) -> str:
    """Kinds of faults and how often each occurred, the most frequent first."""
    ordered = sorted(faults.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{times:,} {kind}" for kind, times in ordered)


def format_seconds(seconds: float) -> str:
    """Seconds in the largest unit that fits."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3g} s"
