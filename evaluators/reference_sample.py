"""Evaluators around others whose scores are compared with those of a reference sample, scored before the search.

So what is made of a score depends on the architecture and its seed alone, neither on the order nor on the number of
workers of a search, and is the same in a batch as alone.
"""

from __future__ import annotations

import abc
import copy
import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from archsearch.basics.seeding import stream
from archsearch.errors import ArchsearchError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.evaluating import prepare_below
from archsearch.executors.executor import Job
from archsearch.executors.local import LocalExecutor
from archsearch.files.notes import read_note, write_note
from archsearch.running.settings import DEFAULT_RETRIES
from archsearch.space import Space
from archsearch.trial import NO_COST, Architecture, Cost, Query, Trial
from archsearch.wrapping import AroundSeveral

FILE = "reference.json"
PARTS = "stages"
"""What a file has for each evaluator: its preparation, its scores of the sample, and what both cost."""


class Referenced(AroundSeveral):
    """Base of evaluators that have random architectures scored by all those that they ask, before the search.

    What is known of that is kept in a file, so that a run that was killed goes on with the others.

    Attributes:
        seed: Of the sample's choice and evaluation.
    """

    keeps_files = True

    seed: int

    def start(self, space: Space) -> None:
        """Binds all evaluators to a space; the reference sample of another one is forgotten."""
        super().start(space)
        self._forget()

    def measure(self, architecture: Architecture) -> Mapping[str, float]:
        """As the evaluators do; where several know a figure, it is the last one's."""
        figures: dict[str, float] = {}
        for evaluator in self.asked.values():
            figures |= evaluator.measure(architecture)
        return figures

    @property
    def architectures(self) -> list[Architecture] | None:
        """The fewest that an evaluator can score."""
        known = [listed for each in self.asked.values() if (listed := each.architectures) is not None]
        return min(known, key=len, default=None)

    @property
    def note(self) -> str:
        """What the evaluators say."""
        return "; ".join(f"{role}: {each.note}" for role, each in self.asked.items() if each.note)

    def _forget(self) -> None:
        # Of each evaluator: what it cost to prepare, and what it says of each reference so far (None: it failed).
        self._facts: list[dict[str, Any]] = [{"prepared": [], "scores": {}, "cost": []} for _ in self.asked]

    def _recall(self) -> None:
        """Takes up what an earlier session learnt."""
        path = None if self._folder is None else self._folder / FILE
        known = read_note(path, (PARTS,), "the thresholds are learnt again", old_list=PARTS, check=_check_facts)
        if known is not None:
            self._facts = known[PARTS]

    def _prepare_one(self, number: int) -> None:
        """Has an evaluator do its one-off work."""
        facts = self._facts[number]
        spent = prepare_below(self, list(self.asked.values())[number], Cost(*facts["prepared"]))
        facts["prepared"] = dataclasses.astuple(spent)
        self._save()

    def _spent(self) -> Cost:
        """What all of it has cost, earlier sessions included."""
        costs = (Cost(*facts[name]) for facts in self._facts for name in ("prepared", "cost"))
        return sum(costs, NO_COST)

    def _draw(self) -> dict[int, Query]:
        """The reference sample by number: different architectures, with ids that no trial has."""
        rng = stream(self.seed, "reference")
        drawn = self._drawn(rng)
        return {i: Query(-1 - i, each, int(rng.integers(2**63))) for i, each in enumerate(drawn)}

    @abc.abstractmethod
    def _drawn(self, rng: np.random.Generator) -> list[Architecture]:
        """The architectures of the sample, at random."""

    def _score(self, number: int, references: Mapping[int, Query]) -> None:
        """Has an evaluator score those references that it has not yet."""
        role, evaluator = list(self.asked.items())[number]
        facts = self._facts[number]
        due = [query for i, query in references.items() if str(i) not in facts["scores"]]
        begun, before = time.perf_counter(), Cost(*facts["cost"])
        spent, error = NO_COST, ""
        for trial in self._evaluate(evaluator, due):
            error = error or trial.error
            spent += trial.cost
            facts["scores"][str(-1 - trial.id)] = self._kept(trial)
            wall = time.perf_counter() - begun
            facts["cost"] = dataclasses.astuple(before + dataclasses.replace(spent, wall_seconds=wall))
            self._save()
            if self.on_progress is not None:
                done = sum(str(i) in facts["scores"] for i in references)
                self.on_progress(f"reference of {role}", done, len(references))
        if not any(facts["scores"][str(i)] is not None for i in references):
            raise ArchsearchError(
                f"{type(self).__name__}: {role}, {type(evaluator).__name__}, failed for all "
                f"{len(references)} architectures of the reference sample. {error}"
            )

    @staticmethod
    def _kept(trial: Trial) -> Any:
        """What is kept of a reference's trial, as JSON data; None if it failed."""
        return trial.score

    def _evaluate(self, evaluator: Evaluator, queries: Sequence[Query]) -> Iterator[Trial]:
        """Evaluates by the workers of the search, each query once or, if a worker died, again."""
        if not queries:
            return
        executor = self.executor or LocalExecutor()
        executor.start(evaluator, 0.0, executor.timeout, lambda _: None)
        try:
            due = [Job(query.id, query.architecture, None, query.seed, 0.0) for query in reversed(queries)]
            jobs = {job.id: job for job in due}
            while jobs:
                for _ in range(min(executor.room(len(due)), len(due))):
                    executor.submit(due.pop())
                for trial in executor.wait(math.inf):
                    if trial.attempts <= DEFAULT_RETRIES.get(trial.failure, 0):
                        job = jobs[trial.id]._replace(attempt=trial.attempts + 1, avoid=trial.worker)
                        executor.submit(job)
                        continue
                    del jobs[trial.id]
                    yield trial
        finally:
            executor.stop()

    def _save(self) -> None:
        """Writes what is known, whole or not at all."""
        if self._folder is None:
            return
        write_note(self._folder / FILE, {PARTS: self._facts})


def checked_members(owner: str, given: Sequence[Evaluator], least: str) -> None:
    """Checks that they are evaluators none of which learns during a search.

    Args:
        owner: For the messages.
        given: The evaluators.
        least: How many there must be, as a word: one or two.

    Raises:
        UsageError: If not.
    """
    enough = isinstance(given, (list, tuple)) and len(given) >= ("one", "two").index(least) + 1
    if not enough or not all(isinstance(each, Evaluator) for each in given):
        raise UsageError(f"{owner}: evaluators: expected a list of {least} or more evaluators, got {given!r}")
    for each in given:
        if each.interval:
            raise UsageError(
                f"{owner}: evaluators: {type(each).__name__} learns during the search, and what the reference sample "
                "told would no longer fit its scores; give one that does not"
            )


def separate(evaluators: Sequence[Evaluator]) -> list[Evaluator]:
    """The evaluators, those copied that have a part in common with one before, since each keeps its own files."""
    own: list[Evaluator] = []
    seen: set[int] = set()
    for evaluator in evaluators:
        each = copy.deepcopy(evaluator) if seen.intersection(map(id, _parts(evaluator))) else evaluator
        seen.update(map(id, _parts(each)))
        own.append(each)
    return own


def _parts(evaluator: Evaluator) -> Iterator[Evaluator]:
    """An evaluator and all those that it is made of."""
    yield evaluator
    for value in vars(evaluator).values():
        for each in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(each, Evaluator):
                yield from _parts(each)


def _check_facts(facts: dict[str, Any]) -> None:
    for each in facts[PARTS]:
        Cost(*each["prepared"]), Cost(*each["cost"]), dict(each["scores"])
