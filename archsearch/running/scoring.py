"""Scores of given architectures: by a search of its own, so that none is lost and all workers take part.

For what asks an evaluator outside the search that the user began: labels of a predictor, comparisons, verification.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import re
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Unpack

from archsearch.controller import Controller
from archsearch.errors import ConstraintError, UsageError
from archsearch.evaluator import MAX_DRAWS, Evaluator
from archsearch.executors.evaluating import evaluate_safely, prepare_below
from archsearch.executors.executor import Executor
from archsearch.files.notes import read_note, write_note
from archsearch.running.result import Result
from archsearch.running.search import resume, search
from archsearch.running.settings import ExecutorName, Listener, SettingOptions, Settings
from archsearch.space import Space
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation, Query
from archsearch.wrapping import Around

SET_UP, COST = "set_up.json", "cost"

NEGLIGIBLE_SECONDS = 0.01
"""A set-up that bills less is none: what is measured of doing nothing is noise."""

LOOK_UP_SECONDS = 10.0
"""How long all architectures of a table may take to be looked up."""


class Listed(Controller):
    """Proposes given architectures, each once.

    Args:
        architectures: Which.
        more: Whether random others follow, in place of those that failed.
    """

    state = ("_asked",)
    learns = False

    def __init__(self, architectures: list[list[int]], more: bool = False) -> None:
        self.architectures = architectures
        self.more = more
        self._given = set(map(tuple, architectures))

    def _start(self) -> None:
        self._asked = 0

    @property
    def finished(self) -> bool:
        """See ``Controller``."""
        return not self.more and self._asked >= len(self.architectures)

    def _ask(self) -> Architecture:
        self._asked += 1
        if self._asked <= len(self.architectures):
            return tuple(self.architectures[self._asked - 1])
        for _ in range(MAX_DRAWS):
            architecture = self.space.sample(self.rng, "architectures")
            if architecture not in self._given:
                return architecture
        raise ConstraintError(
            f"of {len(self.architectures):,} architectures some could not be scored, and {MAX_DRAWS} draws from "
            f"{type(self.space).__name__} gave no other one in their place; ask for fewer"
        )

    def _ask_many(self, n: int) -> Sequence[Architecture]:
        left = len(self.architectures) - self._asked
        return [self._ask() for _ in range(n if self.more else min(n, left))]


class Prepared(Around):
    """Another evaluator, prepared once for several searches, none of which is billed for that.

    Give it a ``folder`` where one that ``keeps_files`` does so; what the set-up has cost is kept there, too.

    Args:
        evaluator: Which.

    Attributes:
        set_up: What the one-off work has cost.
        apart: Folder for the files of single trials, such as checkpoints, since all searches have the same ids.
    """

    apart: Path | None = None

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.set_up = NO_COST
        self._ready = False

    @property
    def known_by(self) -> Evaluator:
        """Who has learnt what controllers may read."""
        return self.evaluator

    @property
    def score_noise(self) -> float | None:
        """As the evaluator's."""
        return self.evaluator.score_noise

    def check_budgets(self, budgets: Sequence[int]) -> None:
        """As the evaluator does."""
        self.evaluator.check_budgets(budgets)

    def start(self, space: Space) -> None:
        """Starts the evaluator, once for each space."""
        if self.__dict__.get("space") != space:
            self.evaluator.start(space)
            self.space = space
            self._ready = False
        path = None if self.folder is None else self.folder / SET_UP
        lost = "what earlier sessions cost is not known"
        known = read_note(path, (COST,), lost, old_list=COST, check=lambda facts: Cost(*facts[COST]))
        if known is not None:
            self.set_up = Cost(*known[COST])

    def prepare(self) -> Cost:
        """Has the evaluator do its one-off work, unless it has; the cost is in ``set_up``."""
        if not self._ready:
            self._prepare()
        if self.evaluator.keeps_files and self.apart is not None:
            self.apart.mkdir(parents=True, exist_ok=True)
            self.evaluator.folder = self.apart
        return NO_COST

    def _prepare(self) -> None:
        known = self.set_up
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        if self.evaluator.keeps_files and self.folder is not None:
            self.evaluator.folder = self.folder
            self.set_up = prepare_below(self, self.evaluator, known)
        else:  # another process that goes on does the same work again, which is no part of what the set-up costs
            again = prepare_below(self, self.evaluator)
            self.set_up = again if known == NO_COST else known
        if self.folder is not None:
            write_note(self.folder / SET_UP, {COST: dataclasses.astuple(self.set_up)})
        self._ready = True

    def release(self) -> None:
        """Gives the evaluator back, without a folder."""
        self.folder = self.apart = None
        if self.evaluator.keeps_files:
            self.evaluator.folder = None

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """As the evaluator does."""
        return self.evaluator.evaluate(architecture, seed)

    def evaluate_query(self, query: Query) -> Evaluation:
        """As the evaluator does."""
        return self.evaluator.evaluate_query(query)

    def evaluate_batch(self, queries: Sequence[Query]) -> list[Evaluation]:
        """As the evaluator does."""
        return self.evaluator.evaluate_batch(queries)


def anew(evaluator: Evaluator, number: int = 0, **changes: Any) -> Evaluator:
    """The same evaluator, not started; its own seed, if it has one, raised by a number, and settings changed.

    Raises:
        UsageError: If it has no such setting.
    """
    arguments = {
        name: _unstarted(getattr(evaluator, name))
        for name, parameter in inspect.signature(type(evaluator).__init__).parameters.items()
        if name != "self" and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    if number and isinstance(arguments.get("seed"), int):
        arguments["seed"] += number
    if unknown := changes.keys() - arguments.keys():
        raise UsageError(
            f"{type(evaluator).__name__} has no setting called {', '.join(sorted(unknown))}; it has "
            f"{', '.join(arguments)}"
        )
    return type(evaluator)(**arguments | changes)


def _unstarted(value: Any) -> Any:
    if isinstance(value, list):
        return [_unstarted(each) for each in value]
    return anew(value) if isinstance(value, Evaluator) else value


def search_or_resume(
    space: Space,
    controller: Controller,
    evaluator: Evaluator,
    *,
    out: Path | None,
    seed: int | None,
    settings: Settings | None = None,
    executor: ExecutorName | Executor = "local",
    workers: int = 1,
    on_trial: Listener | None = None,
    progress: bool = False,
    **options: Unpack[SettingOptions],
) -> Result:
    """Begins a search, or goes on with the one that is in the folder ``out``; arguments as those of ``search``.

    Raises:
        KeyboardInterrupt: If it was interrupted.
    """
    run: Callable[..., Result]
    if out is not None and (out / "config.yaml").exists():
        run = functools.partial(resume, out)
    else:
        run = functools.partial(search, out=out, seed=seed, settings=settings, **options)
    result = run(
        space=space,
        controller=controller,
        evaluator=evaluator,
        executor=executor,
        workers=workers,
        on_trial=on_trial,
        progress=progress,
    )
    if result.stopped == "interrupted":
        raise KeyboardInterrupt
    return result


def without_noise(set_up: Cost) -> Cost:
    """The cost of a set-up; none if it is negligible."""
    return set_up if set_up.billed_seconds >= NEGLIGIBLE_SECONDS else NO_COST


def truth_of(evaluation: Evaluation, name: str) -> float:
    """What an evaluation says is the truth: its score, or the metric of that name; NaN if it has none."""
    return evaluation.score if name == "score" else float(evaluation.metrics.get(name, math.nan))


def highest_listed(evaluator: Prepared, truth: str) -> float:
    """The highest truth of all architectures that an evaluator lists, if they can be looked up quickly; else -inf."""
    known = None if evaluator.evaluator.keeps_files else evaluator.architectures
    if known is None:
        return -math.inf
    evaluator.prepare()
    begun, highest = time.monotonic(), -math.inf
    for architecture in known:
        evaluation = evaluate_safely(evaluator, Query(0, architecture, 0), timeout=LOOK_UP_SECONDS).evaluation
        if evaluation is not None and truth_of(evaluation, truth) > highest:  # never if it is NaN
            highest = truth_of(evaluation, truth)
        if time.monotonic() - begun > LOOK_UP_SECONDS:
            return -math.inf
    return highest


def folder_name(name: str) -> str:
    """A name as that of a folder; where it has to be changed, a checksum keeps names apart."""
    plain = re.sub(r"[^\w.=(),+-]", "_", name)[:60].lstrip(".")
    return plain if plain and plain == name else f"{plain}-{zlib.crc32(name.encode()):08x}"
