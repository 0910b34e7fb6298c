"""Listeners: who hears of the trials of a search."""

from __future__ import annotations

import abc
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from archsearch.basics.texts import name_of
from archsearch.errors import UsageError
from archsearch.running.settings import Listener
from archsearch.trial import Trial

if TYPE_CHECKING:
    from archsearch.controller import Controller
    from archsearch.evaluator import Evaluator
    from archsearch.executors.executor import Executor
    from archsearch.keeping.history import History
    from archsearch.running.result import Result
    from archsearch.space import Space

MAX_REASON_LENGTH = 400
"""Characters of the warning about a failure; some errors name all that was to be sent."""


class Watched(Protocol):
    """What those who watch a search may read of it, at any time."""

    @property
    def space(self) -> Space:
        """What is searched."""

    @property
    def controller(self) -> Controller:
        """Who proposes."""

    @property
    def evaluator(self) -> Evaluator:
        """Who scores."""

    @property
    def executor(self) -> Executor:
        """Where evaluations run."""

    @property
    def history(self) -> History:
        """All finished trials, the root seed, and the run folder, if there is one."""

    @property
    def completed(self) -> int:
        """Completed trials so far."""

    @property
    def failed(self) -> int:
        """Failed trials so far."""

    @property
    def billed_seconds(self) -> float:
        """What all tries so far have billed."""

    @property
    def best(self) -> Trial | None:
        """The best completed trial so far."""


class Logger(abc.ABC):
    """Base of loggers. A search calls ``begin``, then the logger itself with every finished trial, then ``end``.

    A subclass defines ``open``, ``log`` and ``close``; what these raise becomes a warning.
    """

    _search: Watched | None = None  # None: not begun, over, or failed
    _best: Trial | None = None

    @abc.abstractmethod
    def open(self, config: Mapping[str, Any], folder: Path | None, resumed: bool) -> None:
        """Called before the first trial.

        Args:
            config: What is in the ``config.yaml`` of a run folder.
            folder: The run folder, if there is one.
            resumed: Whether an earlier run goes on.
        """

    @abc.abstractmethod
    def log(self, step: int, figures: Mapping[str, float], best: str | None) -> None:
        """Called with every finished trial.

        Args:
            step: The trial's id.
            figures: ``score`` and ``metrics/NAME`` if the trial completed; ``best``, the score of the best trial so
                far, if there is one; ``billed_seconds`` and ``failed``, the sums over all trials so far.
            best: The best architecture in the space's own notation, if it is another one than before.
        """

    @abc.abstractmethod
    def close(self, result: Result | None) -> None:
        """Called when the search is over.

        Args:
            result: What it found; None if it ended with an error.
        """

    def begin(self, search: Watched, config: Mapping[str, Any], resumed: bool) -> None:
        """Called by the search before anything is evaluated, and before the journal of a resumed run is replayed.

        Args:
            search: The search; what it stands at is read from it at every trial.
            config: See ``open``.
            resumed: See ``open``.
        """
        self._search, self._best = search, None
        folder = search.history.folder
        self._attempt(self.open, config, None if folder is None else folder.path, resumed)

    def __call__(self, trial: Trial) -> None:
        """Logs a finished trial."""
        search = self._search
        if search is None:
            return
        figures = {"billed_seconds": search.billed_seconds, "failed": float(search.failed)}
        if trial.evaluation is not None:
            figures["score"] = trial.evaluation.score
            for name, value in trial.evaluation.metrics.items():
                figures[f"metrics/{name}"] = value
        best = search.best
        if best is None or best.score is None:
            self._attempt(self.log, trial.id, figures, None)
            return
        figures["best"] = best.score
        is_new, self._best = best is not self._best, best
        self._attempt(self.log, trial.id, figures, name_of(search.space, best.architecture) if is_new else None)

    def end(self, result: Result | None) -> None:
        """Called by the search when it is over, however it ended.

        Args:
            result: See ``close``.
        """
        if self._search is not None:
            self._attempt(self.close, result)
        self._search = self._best = None

    def _attempt(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except Exception as error:  # whatever the service or its client raises
            self._search = None
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_REASON_LENGTH]
            warnings.warn(f"{type(self).__name__} failed, and logs no more of this search: {reason}", stacklevel=3)


def listeners_of(on_trial: Listener | Sequence[Listener] | None) -> tuple[Listener, ...]:
    """Who was given as ``on_trial``, one by one.

    Raises:
        UsageError: If somebody cannot be called.
    """
    if on_trial is None:
        return ()
    listeners = (on_trial,) if callable(on_trial) else tuple(on_trial)
    for listener in listeners:
        if not callable(listener):
            raise UsageError(f"on_trial: expected what can be called with a trial, or a list of such, got {listener!r}")
    return listeners
