"""Stages: a search that begins anew several times, in a deeper network with fewer candidates each time.

Reference: Chen, Xie, Wu & Tian, "Progressive differentiable architecture search: bridging the depth gap between search
and evaluation" (P-DARTS), ICCV 2019, sections 3.2 and 3.3, and the authors' code. In three stages networks of 5, 11 and
17 cells have 8, 5 and 3 candidates on each edge; skip connections are dropped, more in later stages; of those that are
left in the normal cell the weakest ones go until there are two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from archsearch.basics.checks import number, whole_number
from archsearch.differentiable.guards import OperationDropout
from archsearch.differentiable.parameters import ArchitectureParameters
from archsearch.differentiable.part import Part
from archsearch.errors import UsageError
from archsearch.relaxing import RelaxedChoice


class Stages(Part):
    """A search in stages, each with new weights and architecture parameters, in a network of its own (P-DARTS).

    The epochs of the search are shared out equally, and each stage has its own schedules, frozen epochs included. At
    its end the weakest candidates of each choice are wiped out; at the end of the last one remains, which is ``none``
    only where there is nothing else, and the skip connections are cut down. A choice keeps one candidate besides
    ``none`` and its skip connection until then, so that the latter can be cut.

    Args:
        skeletons: Settings of the network around the searched part, such as ``{"layers": 5}``: of each stage but the
            last, which has those of the training. Those that a space does not know are passed over if it knows another.
        kept: How many candidates of a choice are left after each stage but the last, >= 2, in an order that does not
            rise. None: they fall in equal steps, rounded down: of 8 in three stages 5, 3 and 1, as in the paper.
        dropout: Rates of ``OperationDropout`` at the begin of each stage, the last one included, 0 to below 1. None:
            nothing is dropped.
        decay: See ``OperationDropout``.
        skips: Skip connections of the derived architecture at most, >= 0, in the first kind of cell, such as the normal
            one. None: any number.

    Raises:
        UsageError: If a setting is out of range, or there are more or fewer than stages.
    """

    def __init__(
        self,
        skeletons: list[dict[str, int]],
        kept: list[int] | None = None,
        dropout: list[float] | None = None,
        decay: float = 3.0,
        skips: int | None = 2,
    ) -> None:
        if not isinstance(skeletons, (list, tuple)) or not skeletons or not all(isinstance(s, dict) for s in skeletons):
            raise UsageError(
                f"Stages: skeletons: expected a list of mappings such as {{'layers': 5}}, one for each stage but the "
                f"last, got {skeletons!r:.80}"
            )
        self.skeletons = [dict(skeleton) for skeleton in skeletons]
        if kept is not None:
            self._expect_length("kept", kept, self.count - 1, "stage but the last")
            kept = [whole_number("Stages", "kept", n, 2) for n in kept]
            if sorted(kept, reverse=True) != kept:
                raise UsageError(
                    f"Stages: kept: expected numbers that do not rise, got {kept}; what went does not return"
                )
        self.kept = kept
        if dropout is not None:
            self._expect_length("dropout", dropout, self.count, "stage")
            dropout = [number("Stages", "dropout", rate, low=0, below=1) for rate in dropout]
        self.dropout = dropout
        self.decay = number("Stages", "decay", decay, low=0)
        self.skips = None if skips is None else whole_number("Stages", "skips", skips)

    @staticmethod
    def _expect_length(name: str, found: object, n: int, what: str) -> None:
        if not isinstance(found, (list, tuple)) or len(found) != n:
            raise UsageError(f"Stages: {name}: expected a list of {n}, one for each {what}, got {found!r:.80}")

    @property
    def count(self) -> int:
        """How many stages there are."""
        return len(self.skeletons) + 1

    def skeleton(self, stage: int) -> dict[str, int]:
        """What is different in the network of a stage, which are counted from 0."""
        return self.skeletons[stage] if stage < len(self.skeletons) else {}

    def guards(self, stage: int, frozen: float) -> tuple[OperationDropout, ...]:
        """Those of a stage, of which the architecture parameters are frozen for such a share."""
        return () if self.dropout is None else (OperationDropout(self.dropout[stage], self.decay, frozen),)

    def left(self, stage: int, size: int) -> int:
        """How many candidates of a choice that had ``size`` are left after a stage."""
        if stage == self.count - 1:
            return 1
        steps = 1 + (size - 1) * (self.count - 1 - stage) // self.count
        return min(size, max(2, steps if self.kept is None else self.kept[stage]))

    def drop_weakest(
        self, stage: int, parameters: ArchitectureParameters, strengths: Sequence[Sequence[float]]
    ) -> None:
        """Wipes out the weakest candidates of each choice, at the end of a stage that is not the last."""
        alive_ones = parameters.by_choice(parameters.alive)
        for choice, alive, own in zip(parameters.choices, alive_ones, strengths, strict=True):
            ranked = sorted(torch.nonzero(alive).flatten().tolist(), key=lambda i: -own[i])
            cut = self.left(stage, len(alive))
            kept, others = ranked[:cut], ranked[cut:]
            if all(i in (choice.none, choice.skip) for i in kept) and others:
                kept[-1] = others[0]
            alive[[i for i in ranked if i not in kept]] = False

    def settled(
        self,
        strengths: Sequence[Sequence[float]],
        choices: Sequence[RelaxedChoice],
        skipping: Callable[[list[list[float]]], Sequence[int]],
    ) -> list[list[float]]:
        """The strengths at the end of the last stage: those of one candidate of each choice, all others being 0.

        Args:
            strengths: Of the candidates of each choice.
            choices: The choices.
            skipping: Which of the first kind of cell have a skip connection in what is derived from strengths.
        """
        found = [list(own) for own in strengths]
        for own, choice in zip(found, choices, strict=True):
            if choice.none is not None and any(own[i] for i in range(len(own)) if i not in (choice.none, choice.skip)):
                own[choice.none] = 0.0
        while self.skips is not None:
            taken = skipping(found)
            weakest_first = sorted((found[i][skip], i, skip) for i in taken if (skip := choices[i].skip) is not None)
            free = [(i, skip) for _, i, skip in weakest_first if any(s for j, s in enumerate(found[i]) if j != skip)]
            if len(taken) <= self.skips or not free:
                break
            number_of_choice, skip = free[0]
            found[number_of_choice][skip] = 0.0
        best = [max(range(len(own)), key=own.__getitem__) for own in found]
        return [[s if i == only else 0.0 for i, s in enumerate(own)] for own, only in zip(found, best, strict=True)]
