"""How pictures look: colours that all readers can tell apart, sizes, labels, files."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.text import Text

from archsearch.basics.words import plain_lines
from archsearch.errors import UsageError

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, SKY, GREEN, ORANGE = "#0072B2", "#56B4E9", "#009E73", "#E69F00"
RED, PURPLE, GREY, INK = "#D55E00", "#CC79A7", "#8C8C8C", "#222222"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
FAMILIES = (
    (("none", "zero"), GREY),
    (("skip", "identity"), GREEN),
    (("max",), RED),
    (("pool",), ORANGE),
    (("sep", "dil", "depth"), PURPLE),
    (("1x1",), SKY),
    (("conv",), BLUE),
)
"""Colour of operations whose name contains one of the words; the first match counts."""

FONT_POINTS, TITLE_POINTS, TITLE_LETTERS = 10, 12, 110
DPI, MAX_PIXELS = 160, 16_000
LABEL_LETTERS = 60


def family_colour(label: str) -> str:
    """The colour of an operation, the same in every picture; for ``name=option`` that of the option."""
    name = label.rpartition("=")[2].strip().lower()
    if name in ("", "input", "output", "in", "out"):
        return INK
    for words, colour in FAMILIES:
        if any(word in name for word in words):
            return colour
    return PALETTE[(int(name) if name.isdecimal() else zlib.crc32(name.encode())) % len(PALETTE)]


def legend_label(name: str) -> str:
    """A name as a picture shows it: not too long, no formula; Matplotlib leaves out what begins with an underscore."""
    name = name if len(name) <= LABEL_LETTERS else f"{name[: LABEL_LETTERS - 3]}..."
    return f" {name}" if name.startswith("_") else name


UNITS = (
    (re.compile(r"(.*accuracy.*)"), "%"),
    (re.compile(r"(.*)_seconds"), "s"),
    (re.compile(r"(.*)_joules"), "J"),
    (re.compile(r"(.*)_kwh"), "kWh"),
    (re.compile(r"(.*)_bytes"), "bytes"),
)
"""What this package's names of metrics tell of their units; accuracies are in percent everywhere."""


def axis_label(metric: str) -> str:
    """What an axis of a metric says: its name in words, with its unit, as far as the name tells that."""
    for pattern, unit in UNITS:
        if found := pattern.fullmatch(metric):
            return f"{found[1].replace('_', ' ')}, {unit}"
    return metric.replace("_", " ")


def write_literally(figure: Figure) -> None:
    """Takes all texts of a figure as they are: dollar signs begin no formula, and what cannot be seen is escaped.

    Marks of axes are Matplotlib's own, which writes powers of ten as formulas.
    """
    marks = {id(mark) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for mark in axis.findobj(Text)}
    names = {id(axis.label) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)}
    for text in figure.findobj(Text):
        if id(text) in names or id(text) not in marks:
            text.set_parse_math(False)
            text.set_text(plain_lines(text.get_text()))


def save_figure(figure: Figure, path: str | Path | None) -> Figure:
    """Writes a picture; its suffix (.png, .svg, .pdf ...) chooses the format. Without a path it is only made ready.

    Returns:
        The picture.

    Raises:
        UsageError: If there is no such format.
    """
    suffix = "png" if path is None else Path(path).suffix.lstrip(".").lower()
    if suffix not in (known := figure.canvas.get_supported_filetypes()):
        raise UsageError(f"{path}: expected a picture's suffix, one of {', '.join(sorted(known))}; got {suffix!r}")
    write_literally(figure)
    if path is not None:
        figure.savefig(path, dpi=min(DPI, MAX_PIXELS / max(figure.get_size_inches())))
    return figure


def time_unit(seconds: float) -> tuple[str, float]:
    """The unit in which an axis up to ``seconds`` reads best, and its length in seconds."""
    for unit, length in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 3 * length:
            return unit, length
    return "seconds", 1.0
