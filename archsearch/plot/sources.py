"""Trials of a search, wherever they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from archsearch.errors import RunFolderError, UsageError
from archsearch.keeping.columns import has_status
from archsearch.keeping.folder import RunFolder
from archsearch.running.result import Result
from archsearch.showing.report import space_or_none
from archsearch.showing.rows import score_label
from archsearch.space import Space

Source = Result | str | Path
"""What was searched: the result, or the path of its run folder."""


class Searched(NamedTuple):
    """The trials of a search.

    Attributes:
        name: Of the folder; empty: it was kept in memory.
        trials: One row each, with the columns of the history.
        space: What was searched; None: it is not installed, and not trusted.
        label: What an axis of scores says.
    """

    name: str
    trials: pa.Table
    space: Space | None
    label: str = "score"

    @property
    def completed(self) -> pa.Table:
        """The rows of completed trials; see ``need_completed``."""
        self.need_completed()
        return self.trials.filter(has_status(self.trials, "completed"))

    def need_completed(self) -> None:
        """Raises ``RunFolderError`` if no trial has completed."""
        if not has_status(self.trials, "completed").to_numpy().any():
            where = self.name or "this search"
            raise RunFolderError(f"{where}: no trial has completed yet, so there is nothing to show")

    def known_space(self, function: str) -> Space:
        """The space.

        Raises:
            UsageError: If it is not known.
        """
        if self.space is None:
            raise UsageError(f"{function}: {self.name}: its space is not installed; give trust=True if you trust it")
        return self.space


def searched(source: Source, trust: bool = False) -> Searched:
    """The trials of a search.

    Args:
        source: What was searched.
        trust: See ``archsearch.resume``.

    Raises:
        RunFolderError: If there is no run.
        UsageError: If it is neither a result nor a path.
    """
    if isinstance(source, Result):
        return Searched("", source.history.table(), source.space)
    if not isinstance(source, (str, Path)):
        raise UsageError(f"plot: expected a Result or the path of a run folder, got {type(source).__name__}")
    folder = RunFolder(source)
    config = folder.config()
    space = space_or_none(folder, config, trust)
    return Searched(folder.path.name, folder.table(space), space, score_label(config))
