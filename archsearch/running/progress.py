"""What a running search shows on the terminal: notes, and a bar with the best so far, rate and cost."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.basics.words import plain, plain_lines, say
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

    On a terminal a bar is redrawn; elsewhere (a log file) a line is printed now and then.

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

    def __enter__(self) -> Display:
        if self._enabled and sys.stderr.isatty():
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
        if self._bar is not None:
            self._next = now + REFRESH_SECONDS
            self._bar.update(self._task, completed=search.completed, text=text)
        else:
            self._next = now + LOG_SECONDS
            say(f"{search.completed:,} trials  {text}", file=sys.stderr)

    def _text(self, search: Watched, now: float) -> str:
        from archsearch.basics.words import format_seconds

        done = search.completed - (self._completed_before or 0)
        rate = done / max(now - self._began, 1e-3)
        best = "-" if search.best is None else f"{search.best.score:.4f}"
        failed = f"  failed {search.failed:,}" if search.failed else ""
        return f"best {best}  {rate:,.1f}/s  billed {format_seconds(search.billed_seconds)}{failed}"
