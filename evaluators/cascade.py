"""A cascade: cheap evaluators first, and only what is promising goes on to the dearer ones.

Several evaluators of rising cost judge one after another, each only what the ones before let pass. What passes is
decided by thresholds that are learnt beforehand, from a reference sample of random architectures, not by comparison
with the other candidates of a search: so a result depends on the architecture and its seed alone, neither on the order
nor on the number of workers, and is the same in a batch as alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from archsearch.basics.checks import at_least_one, is_finite, whole_number
from archsearch.errors import UsageError
from archsearch.evaluator import Evaluator
from archsearch.evaluators.reference_sample import Referenced, checked_members, separate
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation, Query
from archsearch.wrapping import answers

FEWEST_REFERENCES = 2
"""Architectures of the reference sample that must reach the last threshold."""

GAP = 1e-6
"""Least distance of the scores of two stages."""


class Cascade(Referenced):
    """Scores by several evaluators of rising cost, each of which sees only the best of what the one before it has seen.

    An architecture passes a stage if its score there is at least the stage's threshold: the score that the best
    ``keep`` of the reference sample reach. The reference sample is random architectures that passed the stages before.
    Under random search about that share passes; under a controller that learns more do, and so does everything that
    ties with the threshold.

    An architecture that passes all stages has the last evaluator's score, unchanged. One that is rejected scores less,
    the earlier the lower: at stage i of n, between ``floor - (n - i)`` and 1 above that. Within these bounds it ranks
    by that stage's score, as 1 / (1 + d), where d is how far the score is below the threshold, in median distances of
    the rejected references.

    Reported: ``stage``, the number of evaluators that scored it; ``stage_1``, ``stage_2`` ..., their scores; and, if
    all stages were passed, what the last evaluator reports. Billed: all evaluators that it went through. Set-up: what
    all evaluators need, and the reference sample, which the workers of the search evaluate.

    Args:
        evaluators: Two or more, the cheapest first. None may learn during the search. If one has a part in common with
            an earlier one, such as the same ``Training``, it is copied, since each keeps its own files.
        keep: Share that each evaluator but the last lets pass, 0 < keep < 1; or a share for each of them.
        reference: Size of the reference sample, large enough that two or more reach the last threshold. It is drawn
            from the ``architectures`` that an evaluator lists, if one does, else from the space.
        floor: A value below all scores of the last evaluator: 0 suits accuracies. A trial that scores less there fails.
        seed: Seed of the reference sample and its evaluation, >= 0.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self,
        evaluators: list[Evaluator],
        keep: float | list[float] = 0.5,
        reference: int = 50,
        floor: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.evaluators = evaluators
        self.keep = keep
        self.reference = at_least_one("Cascade", "reference", reference)
        self.floor = floor
        self.seed = whole_number("Cascade", "seed", seed)
        self._check_settings()
        self.evaluators = separate(evaluators)
        self.asked = {f"stage {stage}": evaluator for stage, evaluator in enumerate(self.evaluators, 1)}
        self._forget()

    def _check_settings(self) -> None:
        checked_members("Cascade", self.evaluators, "two")
        gates = len(self.evaluators) - 1
        self._keep = list(self.keep) if isinstance(self.keep, (list, tuple)) else [self.keep] * gates
        if len(self._keep) != gates or not all(is_finite(share) and 0 < share < 1 for share in self._keep):
            raise UsageError(
                f"Cascade: keep: expected a share, 0 < keep < 1, or {gates} of them, one for each evaluator but the "
                f"last, got {self.keep!r}"
            )
        if not is_finite(self.floor):
            raise UsageError(f"Cascade: floor: expected a finite number, got {self.floor!r}")
        left = self.reference
        for stage, share in enumerate(self._keep):
            if left >= FEWEST_REFERENCES and round(share * left) < 1:
                raise UsageError(
                    f"Cascade: keep: {share:g} of {left} references is less than one, so the threshold would let next "
                    f"to nothing pass; expected at least {1 / left:.2g}, or give a larger reference"
                )
            if stage < gates - 1:
                left = _kept(share, left)
        if left < FEWEST_REFERENCES:
            raise UsageError(
                f"Cascade: reference: of {self.reference} architectures {left} would reach the last threshold, "
                f"expected at least {FEWEST_REFERENCES}; give a larger reference"
            )

    def _forget(self) -> None:
        super()._forget()
        self._gates: list[Gate] = []

    # -- thresholds --------------------------------------------------------------------------------

    def _drawn(self, rng: np.random.Generator) -> list[Architecture]:
        return self.draw(self.reference, rng)

    def prepare(self) -> Cost:
        """Prepares the evaluators, and learns the thresholds; in a run that goes on, what is left of that."""
        self._recall()
        references = self._draw()
        self._gates = []
        for stage, facts in enumerate(self._facts):
            self._prepare_one(stage)
            if stage < len(self._keep):
                self._score(stage, references)
                scores = {i: facts["scores"][str(i)] for i in references}
                sound = [score for score in scores.values() if score is not None]
                self._gates.append(gate(sound, self._keep[stage]))
                passed = self._gates[-1].threshold
                references = {i: references[i] for i, score in scores.items() if score is not None and score >= passed}
        return self._spent()

    # -- scoring -----------------------------------------------------------------------------------

    def evaluate_batch(self, queries: Sequence[Query]) -> list[Evaluation]:
        """Scores several stage by stage: each evaluator is asked together for all that have come so far.

        Raises:
            UsageError: If there are no thresholds yet, or a score of the last evaluator is below the floor.
        """
        if len(self._gates) != len(self._keep):
            raise UsageError("Cascade: call prepare first, as a search does: there are no thresholds yet")
        for query in queries:
            self.space.validate(query.architecture)
        found: list[list[Evaluation]] = [[] for _ in queries]
        places = list(range(len(queries)))
        for stage, evaluator in enumerate(self.evaluators):
            for i, evaluation in zip(places, answers(evaluator, [queries[i] for i in places]), strict=True):
                found[i].append(evaluation)
            if stage < len(self._gates):
                places = [i for i in places if found[i][-1].score >= self._gates[stage].threshold]
        return [self._summary(evaluations) for evaluations in found]

    def _summary(self, evaluations: Sequence[Evaluation]) -> Evaluation:
        """The result of an architecture from those of the stages that it came through."""
        stages, last = len(evaluations), evaluations[-1]
        metrics: dict[str, float] = {"stage": stages}
        metrics |= {f"stage_{stage}": each.score for stage, each in enumerate(evaluations, 1)}
        cost = sum((each.cost for each in evaluations), NO_COST)
        if stages < len(self.evaluators):
            score = self.floor - (len(self.evaluators) - stages) + self._gates[stages - 1].rank(last.score)
            return Evaluation(score, metrics, cost)
        if last.score < self.floor:
            raise UsageError(
                f"Cascade: floor: {type(self.evaluators[-1]).__name__} gave {last.score:g}, below the floor of "
                f"{self.floor:g}, where rejected architectures rank; start anew with a lower floor"
            )
        return Evaluation(last.score, {**last.metrics, **metrics}, cost, last.curve)


def _kept(share: float, n: int) -> int:
    """How many of ``n`` references pass, at least."""
    return max(1, round(share * n))


@dataclasses.dataclass(frozen=True)
class Gate:
    """What lets architectures pass a stage.

    Attributes:
        threshold: The least score that passes.
        scale: Median distance of the rejected references below it.
    """

    threshold: float
    scale: float

    def rank(self, score: float) -> float:
        """Where a rejected score ranks within its stage, 0 to 1, rising with the score; NaN stays NaN."""
        return min(1 / (1 + (self.threshold - score) / self.scale), 1 - GAP)


def gate(scores: Sequence[float], share: float) -> Gate:
    """Lets the best ``share`` of the reference scores pass, and what ties with them."""
    ranked = sorted(scores, reverse=True)
    threshold = ranked[_kept(share, len(ranked)) - 1]
    below = [threshold - score for score in ranked if score < threshold]
    return Gate(float(threshold), float(np.median(below)) if below else 1.0)
