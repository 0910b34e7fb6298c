"""Bases of evaluators that ask others: what the one below knows is what they know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from archsearch.evaluator import Evaluator
from archsearch.space import Space
from archsearch.trial import Architecture, Evaluation, Query

if TYPE_CHECKING:
    import numpy as np


class Together(Evaluator):
    """An evaluator that scores one as it scores several: an author writes ``evaluate_batch``."""

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Scores one architecture outside a search."""
        return self.evaluate_batch([Query(-1, architecture, seed)])[0]

    def evaluate_query(self, query: Query) -> Evaluation:
        """Scores one trial."""
        return self.evaluate_batch([query])[0]

    def evaluate_batch(self, queries: Sequence[Query]) -> list[Evaluation]:
        """See ``Evaluator``."""
        raise NotImplementedError


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

    def draw(self, n: int, rng: np.random.Generator) -> list[Architecture]:
        """As the evaluator does."""
        return self.evaluator.draw(n, rng)

    def check(self, space: Space) -> None:
        """As the evaluator does."""
        self.evaluator.check(space)

    def measure(self, architecture: Architecture) -> Mapping[str, float]:
        """As the evaluator does."""
        return self.evaluator.measure(architecture)
