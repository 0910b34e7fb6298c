"""Small spaces and searches that the checks use."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable

import numpy as np

from archsearch.controller import Controller
from archsearch.space import Space
from archsearch.testing.suite import MakeController, expect
from archsearch.trial import Architecture, Evaluation, Proposal, Trial

TRIALS = 260
"""Trials of one run: well past the initial population (100) of the controllers' defaults."""

AHEAD = 7
"""Results that are late in an asynchronous run, as with eight workers."""


# -- small spaces to search in -----------------------------------------------------------------


class FixedSpace(Space):
    """Six decisions of five options each: 15,625 architectures."""

    def __init__(self) -> None:
        super().__init__(arities=(5,) * 6)


class ConditionalSpace(Space):
    """Two layers, each a convolution (3 kernels, 4 widths), a pooling (2 sizes) or nothing: 225 architectures."""

    _SETTINGS = ((3, 4), (2,), ())

    def __init__(self) -> None:
        super().__init__(max_length=6, max_options=4)

    def _position(self, prefix: Architecture) -> tuple[int, int, int]:
        """Layers begun, kind of the last one, and how many of its settings are decided."""
        layers, kind, settings = 0, 2, 0
        for option in prefix:
            if settings < len(self._SETTINGS[kind]):
                settings += 1
            else:
                layers, kind, settings = layers + 1, option, 0
        return layers, kind, settings

    def arity(self, prefix: Architecture) -> int:
        """A setting of the last layer, else the kind of the next one."""
        layers, kind, settings = self._position(prefix)
        if settings < len(self._SETTINGS[kind]):
            return self._SETTINGS[kind][settings]
        return len(self._SETTINGS) if layers < 2 else 0

    def label(self, prefix: Architecture) -> str:
        """Layer, and for a setting the kind of that layer and which setting it is."""
        layers, kind, settings = self._position(prefix)
        return f"{layers}.{kind}.{settings}" if settings < len(self._SETTINGS[kind]) else f"{layers}"


class VariableLengthSpace(Space):
    """One to eight decisions of four options; option 0 ends the architecture: 13,120 architectures."""

    def __init__(self) -> None:
        super().__init__(max_length=8, max_options=4)

    def arity(self, prefix: Architecture) -> int:
        """Four until option 0 or the greatest length comes."""
        return 0 if len(prefix) == self.max_length or prefix[-1:] == (0,) else 4

    def subtree(self, prefix: Architecture) -> tuple[int, bool]:
        """What follows depends on the length, and on whether it has ended."""
        return len(prefix), prefix[-1:] == (0,)


class OnePointSpace(Space):
    """Three decisions of one option: a single architecture."""

    def __init__(self) -> None:
        super().__init__(arities=(1, 1, 1))


class SeparableSpace(Space):
    """Twelve decisions of five options: 244,140,625 architectures, on which learning is measured."""

    def __init__(self) -> None:
        super().__init__(arities=(5,) * 12)


SPACES: tuple[type[Space], ...] = (FixedSpace, ConditionalSpace, VariableLengthSpace)


def score(architecture: Architecture) -> float:
    """The share of decisions that are right, 0 to 1, weighted so that few architectures tie; separable."""
    weights = [1 + 0.05 * i for i in range(len(architecture))]
    hits = [weight for i, weight in enumerate(weights) if architecture[i] == (3 * i + 1) % 5]
    return sum(hits) / sum(weights)


# -- running a controller ----------------------------------------------------------------------


def started(make: MakeController, space: Space | None = None, seed: int = 1) -> Controller:
    """A new controller, begun."""
    controller = make()
    controller.start(FixedSpace() if space is None else space, seed)
    return controller


def completed(proposal: Proposal) -> Trial:
    """The trial of a proposal, with the score of the toy problem."""
    return scored(proposal, score(proposal.architecture))


def scored(proposal: Proposal, score: float) -> Trial:
    """The trial of a proposal, with this score."""
    return Trial(proposal.id, proposal.architecture, proposal.parent, Evaluation(score))


def _failed(proposal: Proposal) -> Trial:
    return Trial(proposal.id, proposal.architecture, proposal.parent, failure="exception", error="on purpose")


def failing_every(n: int, fail: Callable[[Proposal], Trial] = _failed) -> Callable[[Proposal], Trial]:
    """Every n-th proposal fails; the others are completed."""
    return lambda proposal: completed(proposal) if proposal.id % n else fail(proposal)


def search(
    controller: Controller,
    trials: int,
    answer: Callable[[Proposal], Trial] = completed,
    pending: deque[Proposal] | None = None,
    ahead: int = 0,
) -> list[Proposal]:
    """Asks one by one; a result is told once more than ``ahead`` of them are due, oldest first."""
    pending = deque() if pending is None else pending
    proposals = []
    for _ in range(trials):
        proposals += controller.ask()
        pending.append(proposals[-1])
        if len(pending) > ahead:
            controller.tell([answer(pending.popleft())])
    return proposals


def some(space: Space, n: int, seed: int = 1) -> list[Architecture]:
    """``n`` members, all different if the space has as many; what else ``sample`` gives is for another check."""
    rng = np.random.default_rng(seed)
    found = dict.fromkeys(a for a in (space.sample(rng) for _ in range(4 * n)) if a in space)
    expect(bool(found), f"none of {4 * n} samples is in the space")
    return list(itertools.islice(itertools.cycle(found), n))
