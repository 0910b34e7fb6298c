"""What a running search shows, on a terminal or in a notebook: notes, and a bar with the best so far, rate and cost."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.basics.words import html_text, plain, plain_lines, say
from archsearch.running.settings import ENDS, Settings

if TYPE_CHECKING:
    from archsearch.evaluator import Evaluator
    from archsearch.running.listener import Watched


REFRESH_SECONDS = 0.2
LOG_SECONDS = 10.0
MAX_FAULTS = 20
"""Faults that are shown; the run folder has them all."""


def _short(path: Path) -> str:
    """A path as people write it: from the current folder, if it lies within."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


class Display:
    """Shows a search on standard error; shows nothing unless ``enabled``.

    On a terminal, and in a cell of a notebook, a bar is redrawn; elsewhere (a log file) a line is printed now and then.

    Args:
        settings: When the search stops; decides what the bar counts.
        enabled: Whether to show anything.
    """

    def __init__(self, settings: Settings, enabled: bool) -> None:
        self._enabled = enabled
        self._settings = settings
        self._began = time.monotonic()
        self._next = self._began + REFRESH_SECONDS if sys.stderr.isatty() else self._began + LOG_SECONDS
        self._completed_before: int | None = None
        self._bar: Any = None
        self._work: Any = None  # the bar's line for one-off work
        self._faults = 0
        self._cell: _Cell | None = None
        self._search: Watched | None = None

    def __enter__(self) -> Display:
        if self._enabled and _in_notebook():
            self._cell, self._next = _Cell(), self._began
        elif self._enabled and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.completed:,.0f}/{task.fields[goal]}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[text]}", markup=False),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            total, goal = self._settings.trials, f"{self._settings.trials or 'open'}"
            self._task = self._bar.add_task("", total=total, goal=goal, text="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._cell is not None and self._search is not None:
            self._draw(self._cell, self._search, time.monotonic())

    def begin(self, search: Watched) -> None:
        """Prints what is going to be done, in one line."""
        space, controller, evaluator, executor = (
            type(each).__name__ for each in (search.space, search.controller, search.evaluator, search.executor)
        )
        settings, folder = self._settings, search.history.folder
        ends = {name: getattr(settings, name) for name in ENDS}
        facts = [
            f"searching {space}: {controller} proposes, {evaluator} scores, on {executor}",
            "stops at " + " or ".join(f"{name} {value:,}" for name, value in ends.items() if value is not None),
            f"seed {search.history.seed}",
            f"into {_short(folder.path)}" if folder is not None else "",
            f"goes on after {search.completed:,} completed trials" if search.completed else "",
        ]
        self.log("; ".join(filter(None, facts)))
        self._search = search

    def log(self, note: str) -> None:
        """Prints a note, such as how long Ray took to start."""
        if self._bar is not None:
            self._bar.console.print(plain_lines(note), markup=False, highlight=False)
        elif self._enabled:
            say(note, file=sys.stderr)

    def fault(self, text: str) -> None:
        """Prints what went wrong, for the first faults."""
        self._faults += 1
        if self._faults <= MAX_FAULTS:
            self.log(text)
        if self._faults == MAX_FAULTS:
            self.log("further faults are counted, not shown; a run folder has them in faults.jsonl")

    @contextlib.contextmanager
    def watching(self, evaluator: Evaluator) -> Iterator[None]:
        """Shows how far an evaluator is with its one-off work, while that lasts."""
        evaluator.on_progress = self.progress
        try:
            yield
        finally:
            evaluator.on_progress = None  # it must not be pickled
            if self._work is not None:
                self._bar.remove_task(self._work)
                self._work = None

    def progress(self, what: str, done: int, total: int) -> None:
        """Shows how far one-off work is; cheap if it was shown a moment ago.

        Args:
            what: What is done.
            done: Steps done.
            total: Steps in all.
        """
        now = time.monotonic()
        if not self._enabled or now < self._next:
            return
        if self._cell is not None:
            self._next = now + REFRESH_SECONDS
            self._cell.draw(done, total, what)
            return
        if self._bar is None:
            self._next = now + LOG_SECONDS
            say(f"{what}  {done:,}/{total:,}", file=sys.stderr)
            return
        self._next = now + REFRESH_SECONDS
        if self._work is None:
            self._work = self._bar.add_task("", goal="", text="")
        self._bar.update(self._work, completed=done, total=total, goal=f"{total:,}", text=plain(what))

    def update(self, search: Watched) -> None:
        """Shows the search as it stands; cheap if it was shown a moment ago."""
        if not self._enabled:
            return
        now = time.monotonic()
        if self._completed_before is None:
            self._completed_before = search.completed
        if now < self._next:
            return
        text = self._text(search, now)
        if self._cell is not None:
            self._next = now + REFRESH_SECONDS
            self._draw(self._cell, search, now)
        elif self._bar is not None:
            self._next = now + REFRESH_SECONDS
            self._bar.update(self._task, completed=search.completed, text=text)
        else:
            self._next = now + LOG_SECONDS
            say(f"{search.completed:,} trials  {text}", file=sys.stderr)

    def _draw(self, cell: _Cell, search: Watched, now: float) -> None:
        cell.draw(search.completed, self._settings.trials, self._text(search, now))

    def _text(self, search: Watched, now: float) -> str:
        from archsearch.basics.words import format_seconds

        done = search.completed - (self._completed_before or 0)
        rate = done / max(now - self._began, 1e-3)
        best = "-" if search.best is None else f"{search.best.score:.4f}"
        failed = f"  failed {search.failed:,}" if search.failed else ""
        return f"best {best}  {rate:,.1f}/s  billed {format_seconds(search.billed_seconds)}{failed}"


class _Cell:
    """A bar in the output of a notebook's cell, drawn by the IPython that runs there."""

    def __init__(self) -> None:
        # It is not imported where it is not running: it is no dependency of this package.
        self._display = importlib.import_module("IPython.display")
        self._handle: Any = self._display.display(self._display.HTML(""), display_id=True)

    def draw(self, done: int, total: int | None, text: str) -> None:
        bar = "" if total is None else f'<progress value="{done}" max="{total}" style="width: 20em"></progress> '
        counts = f"{done:,}" if total is None else f"{done:,}/{total:,}"
        self._handle.update(self._display.HTML(f"<div>{bar}{counts} &ensp; {html_text(text)}</div>"))


def _in_notebook() -> bool:
    """Whether this is the kernel of a notebook, whose cells can be drawn in; IPython in a terminal has none."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None
