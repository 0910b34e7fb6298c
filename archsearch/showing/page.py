"""Tables for a terminal; and one self-contained HTML page: no script, nothing outside it, readable on a phone."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from archsearch.basics.words import html_text, plain

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem } dt { color: #666 } dd { margin: 0 }
dd, td, p { overflow-wrap: anywhere }
.wide { overflow-x: auto } .wide + .wide { margin-top: 1rem } table { border-collapse: collapse; font-size: .85rem }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
td.code { text-align: left; font-family: ui-monospace, monospace; white-space: normal; min-width: 18rem }
th.code { text-align: left }
.contents td:nth-child(-n+2), .contents th:nth-child(2) { text-align: left; white-space: normal }
.contents td:first-child { overflow-wrap: normal } .contents td:nth-child(2) { min-width: 7rem }
.picture { display: block; overflow-x: auto; cursor: zoom-in } .picture input { position: absolute; opacity: 0 }
.picture img { max-width: 100%; height: auto; display: block }
.picture input:checked + img { max-width: none; cursor: zoom-out }
.picture input:focus-visible + img { outline: 2px solid }
@media (max-width: 600px) { body { margin: 1rem auto } td.code { white-space: nowrap } }
pre { background: #f4f4f4; padding: .6rem; overflow-x: auto; font-size: .85rem }
"""


def page(title: str, *parts: str) -> str:
    """A whole page; ``parts`` are pieces of HTML, such as the functions below make."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html_text(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>{html_text(title)}</h1>{''.join(parts)}</body></html>\n"
    )


def heading(text: str, linked: bool = False) -> str:
    """A heading in the page; ``contents`` leads to it if it is linked."""
    name = f' id="{html_text(text)}"' if linked else ""
    return f"<h2{name}>{html_text(text)}</h2>"


def contents(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column leads to the headings of that name; its first two columns are texts, which wrap."""

    def row(name: str, *others: str) -> str:
        text = html_text(name).replace("_", "_<wbr>")
        cells = "".join(f"<td>{html_text(each)}</td>" for each in others)
        return f'<tr><td><a href="#{html_text(name)}">{text}</a></td>{cells}</tr>'

    heads = "".join(f"<th>{html_text(each)}</th>" for each in head)
    return f'<div class="wide contents"><table><tr>{heads}</tr>{"".join(row(*each) for each in rows)}</table></div>'


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{html_text(text)}</p>"


def command(text: str) -> str:
    """What can be copied into a terminal."""
    return f"<pre>{html_text(text)}</pre>"


def terms(facts: Mapping[str, str]) -> str:
    """Names with what they stand for, below each other."""
    rows = (f"<dt>{html_text(name)}</dt><dd>{html_text(text)}</dd>" for name, text in facts.items())
    return f"<dl>{''.join(rows)}</dl>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], last_is_code: bool = False) -> str:
    """A table that scrolls sideways where it is too wide: the first column to the left, others to the right.

    Args:
        head: A name for each column.
        rows: The cells of each row as text.
        last_is_code: Whether the last column is shown as code, to the left.
    """

    def row(cells: Sequence[str], tag: str) -> str:
        last = len(cells) - 1 if last_is_code else None
        kinds = (' class="code"' if i == last else "" for i in range(len(cells)))
        return f"<tr>{''.join(f'<{tag}{k}>{html_text(c)}</{tag}>' for c, k in zip(cells, kinds, strict=True))}</tr>"

    return f'<div class="wide"><table>{row(head, "th")}{"".join(row(cells, "td") for cells in rows)}</table></div>'


def picture(path: Path, title: str) -> str:
    """A PNG file, inside the page; a click, or the space bar, shows it in full, and as wide as the page again."""
    data = base64.b64encode(path.read_bytes()).decode()
    image = f'<img alt="{html_text(title)}" src="data:image/png;base64,{data}">'
    return f'<label class="picture"><input type="checkbox" aria-label="in full">{image}</label>'


def aligned(rows: Sequence[Sequence[str]], left: int = 0) -> str:
    """A table for a terminal, its head first: the column ``left`` to the left, others to the right."""
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left %= len(widths)
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i == left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
