"""LEMONADE: parents from where the front is thin, and expensive evaluations for few of many children.

Reference: Elsken, Metzen & Hutter, "Efficient multi-objective neural architecture search via Lamarckian evolution",
ICLR 2019 (arXiv 1804.09081), Algorithm 1. The population is the front of all that were evaluated, by the score and by a
cheap objective. A density is estimated over the cheap objective of its members. Parents are drawn inversely to their
density; of the many children, one move away, few are accepted, inversely to theirs, and only these are evaluated.

Where we differ: there is one cheap objective, the size, whose logarithm the density is estimated over. Proposals never
wait for results: when all accepted children are proposed, children of the present front are made.
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from archsearch.abilities import Trainable
from archsearch.basics.checks import at_least_one, whole_number
from archsearch.controller import Controller, Order
from archsearch.controllers.moved import begun, moved
from archsearch.space import Space
from archsearch.trial import Architecture, Trial

BANDWIDTH = 0.3
"""Standard deviation of the kernel, in units of the logarithm of the size."""


class Member(NamedTuple):
    """One that was evaluated.

    Attributes:
        architecture: Its own.
        score: Its own.
        size: Its cheap objective, lower is better.
        id: Of its trial.
    """

    architecture: Architecture
    score: float
    size: float
    id: int


class Lemonade(Controller):
    """Evolution of a front of score and size, with parents from its sparse parts (LEMONADE, Elsken et al. 2019).

    The size is the number of parameters if the space builds networks, else the number of decisions. In spaces with
    moves, such as ``LEMONADE``, a child is one move away; elsewhere it is one mutation away.

    Args:
        children: Children made from each front, >= 1; at first only their sizes are looked at.
        accepted: How many of these are evaluated, 1 to ``children``.
        first: Trials before the first front is used, >= 1.

    Attributes:
        front: Evaluated architectures of which no other is at least as good and at most as large, by rising size.

    Raises:
        UsageError: If a setting is out of range.
    """

    order: ClassVar[Order] = "steps"
    state = ("_asked", "_front", "_queue")

    def __init__(self, children: int = 20, accepted: int = 5, first: int = 5) -> None:
        self.children = at_least_one("Lemonade", "children", children)
        self.accepted = whole_number("Lemonade", "accepted", accepted, 1, self.children)
        self.first = at_least_one("Lemonade", "first", first)

    def _start(self) -> None:
        self._asked = 0
        self._front: list[Member] = []
        self._queue: list[tuple[Architecture, int | None]] = []

    @property
    def front(self) -> list[Member]:
        """See the class."""
        return [Member(tuple(architecture), score, size, id_) for architecture, score, size, id_ in self._front]

    def _ask(self) -> Architecture | tuple[Architecture, int | None]:
        self._asked += 1
        if self._asked <= self.first or not self._front:
            first = begun(self.space, self.rng)
            return first if self._asked == 1 else moved(self.space, first, self.rng).architecture
        if not self._queue:
            self._queue = self._accepted_children()
        architecture, parent = self._queue.pop(0)
        return tuple(architecture), parent

    def _accepted_children(self) -> list[tuple[Architecture, int | None]]:
        front = self.front
        sizes = np.array([member.size for member in front])
        parents = self.rng.choice(len(front), self.children, p=sparsely(sizes, sizes))
        made = [(moved(self.space, front[i].architecture, self.rng), front[i].id) for i in parents.tolist()]
        chances = sparsely(np.array([size_of(self.space, move.architecture) for move, _ in made]), sizes)
        accepted = self.rng.choice(len(made), self.accepted, replace=False, p=chances)
        return [(made[i][0].architecture, made[i][1] if made[i][0].inherits else None) for i in accepted.tolist()]

    def _hear(self, trial: Trial) -> None:
        """As of its own; there are fewer random ones at the beginning then."""
        self._asked += trial.evaluation is not None and self._asked < self.first
        self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        if trial.evaluation is None:
            return
        new = Member(trial.architecture, trial.evaluation.score, size_of(self.space, trial.architecture), trial.id)
        front = self.front
        if any(member.score >= new.score and member.size <= new.size for member in front):
            return
        kept = [member for member in front if member.score > new.score or member.size < new.size]
        self._front = sorted([*kept, new], key=lambda member: member.size)


def sparsely(sizes: npt.NDArray[np.float64], population: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Probabilities that are inverse to the density of the population's sizes: of each size, with the sum 1.

    The density is that of Gaussian kernels over logarithms (Rosenblatt 1956, Parzen 1962).

    Args:
        sizes: Of those to choose from, shape (n,), all > 0.
        population: Sizes that the density is estimated from, shape (m,).
    """
    steps = (np.log(sizes)[:, None] - np.log(population)) / BANDWIDTH
    density = np.exp(-(np.minimum(np.abs(steps), 6.0) ** 2) / 2).mean(1)  # beyond six steps all is equally far
    chances: npt.NDArray[np.float64] = 1 / density
    chances /= chances.sum()
    return chances


def size_of(space: Space, architecture: Architecture) -> float:
    """Parameters of the network, as for 32x32 images of ten classes; else the number of decisions; >= 1."""
    if not isinstance(space, Trainable):
        return float(max(1, len(architecture)))
    import torch

    from archsearch.basics.kinds import kinds_of
    from archsearch.networks.network import EXAMPLES

    with torch.device("meta"):
        network = space.network(architecture, EXAMPLES[kinds_of(space)[0]])
    return float(max(1, sum(math.prod(parameter.shape) for parameter in network.parameters())))
