"""Bases of evaluators that ask others: around one, whose knowledge is theirs, or around several."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluator import Built, Evaluator
from archsearch.space import Space
from archsearch.trial import Architecture, Evaluation, Query

if TYPE_CHECKING:
    import numpy as np


class Together(Evaluator, abc.ABC):
    """An evaluator that scores one as it scores several: an author writes ``evaluate_batch``."""

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Scores one architecture outside a search."""
        return self.evaluate_batch([Query(-1, architecture, seed)])[0]

    def evaluate_query(self, query: Query) -> Evaluation:
        """Scores one trial."""
        return self.evaluate_batch([query])[0]

    @abc.abstractmethod
    def evaluate_batch(self, queries: Sequence[Query]) -> list[Evaluation]:
        """See ``Evaluator``."""


class Around(Evaluator):
    """An evaluator around another one: what that knows of spaces and architectures, it knows, too.

    How to score, budgets, one-off work and the folder are its own.

    Attributes:
        evaluator: The one below.
    """

    evaluator: Evaluator

    @property
    def architectures(self) -> list[Architecture] | None:
        """As the evaluator's."""
        return self.evaluator.architectures

    @property
    def note(self) -> str:
        """As the evaluator's."""
        return self.evaluator.note

    @property
    def built(self) -> Built | None:
        """As the evaluator's."""
        return self.evaluator.built

    @property
    def priced(self) -> bool:
        """As the evaluator's."""
        return self.evaluator.priced

    def refusal(self, architecture: Architecture) -> str:
        """As the evaluator's."""
        return self.evaluator.refusal(architecture)

    def draw(self, n: int, rng: np.random.Generator) -> list[Architecture]:
        """As the evaluator does."""
        return self.evaluator.draw(n, rng)

    def check(self, space: Space) -> None:
        """As the evaluator does."""
        self.evaluator.check(space)

    def measure(self, architecture: Architecture) -> Mapping[str, float]:
        """As the evaluator does."""
        return self.evaluator.measure(architecture)


class AroundSeveral(Together):
    """An evaluator around several others, each of which has a role; what it makes of their answers is its own.

    Errors of theirs say whose they are. Each has a folder inside the one of this evaluator.

    Attributes:
        asked: Who is asked, in order, by role, such as ``stage 1``.
    """

    asked: Mapping[str, Evaluator]
    _folder: Path | None = None

    def check(self, space: Space) -> None:
        """Raises the error of the first evaluator that cannot score that space; the message says which."""
        for role, evaluator in self.asked.items():
            where = f"{type(self).__name__}: {role}, {type(evaluator).__name__}"
            try:
                evaluator.check(space)
            except MissingAbility as error:
                raise MissingAbility(f"{where}, cannot score {type(space).__name__}: {error}") from error
            except UsageError as error:
                raise UsageError(f"{where}: {error}") from error

    def start(self, space: Space) -> None:
        """Binds all evaluators to a space."""
        super().start(space)
        for evaluator in self.asked.values():
            evaluator.start(space)

    @property
    def priced(self) -> bool:
        """Whether all of them are."""
        return all(each.priced for each in self.asked.values())

    @property
    def built(self) -> Built | None:
        """As that of the last one that builds any: what is cheap comes first."""
        return next((each.built for each in reversed([*self.asked.values()]) if each.built is not None), None)

    @property
    def folder(self) -> Path | None:
        """See ``Evaluator``; each evaluator is given a folder in it, named after its role, such as ``stage_1``."""
        return self._folder

    @folder.setter
    def folder(self, folder: Path | None) -> None:
        self._folder = folder
        for role, evaluator in self.asked.items():
            name = self._folder_name(role)
            evaluator.folder = None if name is None else self.folder_in(folder, name)

    def _folder_name(self, role: str) -> str | None:
        """What the folder of an evaluator is called; None: it has none for now."""
        return role.replace(" ", "_")


def answers(evaluator: Evaluator, queries: Sequence[Query]) -> list[Evaluation]:
    """What an evaluator that is asked says of several together."""
    # One alone is asked alone: most evaluators have a way of their own only for that.
    return evaluator.evaluate_batch(queries) if len(queries) > 1 else [evaluator.evaluate_query(q) for q in queries]
