"""Several scores at initialisation as one, by their ranks: no labels, and no scale that they would have to share.

Ranks are aggregated as in Lee & Ham, "AZ-NAS: assembling zero-cost proxies for network architecture search", CVPR 2024
(sums of the logarithms of ranks, so that what is among the worst by any score is not made good for by others), and in
Tybl & Neumann, "Training-free neural architecture search through variance of knowledge of deep network weights", CVPR
2025. New here: a reference sample gives the ranks, so that a single architecture has a score, and scores of one kind
share one vote.

Which scores take part unless others are given: with ``published`` those of the second paper's aggregate; else
``synflow``, ``naswot`` and ``jacob_cov``, which rank better where networks are small, and take less time.
docs/predictors.md tells how that was settled.
"""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from archsearch.abilities import Trainable
from archsearch.basics.checks import whole_number
from archsearch.errors import UsageError
from archsearch.evaluator import Evaluator
from archsearch.evaluators.reference_sample import Referenced, checked_members, separate
from archsearch.evaluators.tabular import Tabular
from archsearch.evaluators.training import Training
from archsearch.evaluators.zero_cost import ZeroCost
from archsearch.networks.layers import Layers
from archsearch.space import Space
from archsearch.task import Task
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation, Query, Trial
from archsearch.wrapping import answers

SIZE = "size"
SIZES = ("params", "flops", "layers")
"""What is known of a network's size; trainable layers are counted where the space builds networks."""

KINDS: Mapping[str, str] = {
    **dict.fromkeys((*SIZES, "l2_norm"), SIZE),
    "synflow": "flow",
    **dict.fromkeys(("naswot", "nwot", "naswot_paper", "swap"), "activations"),
    **dict.fromkeys(("jacob_cov", "jacov", "epe_nas"), "gradients of images"),
    **dict.fromkeys(("grad_norm", "snip", "grasp", "fisher", "plain"), "gradients of weights"),
    **dict.fromkeys(("expressivity", "progressivity"), "features"),
    "trainability": "signal",
    "vkdnw": "spectrum",
}
"""What scores look at, of which each has one vote; what is not here is of a kind of its own."""

SCORES: Sequence[Literal["synflow", "naswot", "jacob_cov"]] = ("synflow", "naswot", "jacob_cov")
PUBLISHED: Sequence[Literal["vkdnw", "jacov", "expressivity", "trainability"]] = (
    "vkdnw",
    "jacov",
    "expressivity",
    "trainability",
)
"""Those that take part unless others are given: computed, and looked up."""

PUBLISHED_SIZES = ("flops",)
"""The layers are in ``vkdnw``."""

FEWEST, FEW, MANY = 10, 200, 1_000
"""Sizes of the reference sample: the least; where networks are scored; where scores are looked up."""

TWINS = 4
"""Architectures that are drawn for each of the reference sample, as many may compute the same."""


class ZeroCostEnsemble(Referenced):
    """Combines several scores at initialisation, by their ranks in a reference sample, without labels.

    The score is the geometric mean of an architecture's ranks, as shares of the reference sample: between 0 and 1, the
    higher the better. Scores of one kind have one vote together, the geometric mean of theirs: ``size`` (parameters,
    multiply-adds and trainable layers, as far as they are known), ``flow`` (``synflow``), ``activations`` (``naswot``,
    ``swap``), ``gradients of images`` (``jacob_cov``), ``gradients of weights`` (``grad_norm``, ``snip``, ``grasp``,
    ``fisher``), ``features`` (``expressivity``, ``progressivity``), ``signal`` (``trainability``), ``spectrum``
    (``vkdnw``); any other score is of a kind of its own. Between two references ranks are interpolated; beyond them
    they go on rising ever more slowly.

    Reported: what each score gave, by its name, ``params`` and ``flops``. Billed: all scores. Set-up: what they need,
    and the reference sample, which the workers of the search evaluate.

    Args:
        evaluators: The evaluators whose scores are combined, one or more, such as ``ZeroCost`` with several scores. One
            that has a part in common with an earlier one is copied. None: ``synflow``, ``naswot`` and ``jacob_cov``.
        training: For the default evaluators: see ``ZeroCost``.
        task: For the default evaluators: see ``ZeroCost``.
        batch: For the default evaluators: see ``ZeroCost``.
        published: Look scores up instead, in the tables of NAS-Bench-201 for that dataset: ``jacov``, which is
            published, and ``vkdnw``, ``expressivity`` and ``trainability``, which we computed. The size is then the
            multiply-adds alone, since ``vkdnw`` knows of layers.
        sizes: Whether the size has a vote, too.
        reference: Size of the reference sample, >= 10, of networks that differ (``Space.canonical``); fewer if there
            are not as many. None: 200, or 1,000 with ``published``. It is drawn from the ``architectures`` that an
            evaluator lists, if one does, else from the space.
        seed: Seed of the reference sample and its evaluation, >= 0.

    Raises:
        UsageError: If a setting is out of range, or settings exclude each other.
    """

    def __init__(
        self,
        evaluators: list[Evaluator] | None = None,
        training: Training | None = None,
        task: str | Task | None = None,
        batch: int = 64,
        published: Literal["cifar10", "ImageNet16-120"] | None = None,
        sizes: bool = True,
        reference: int | None = None,
        seed: int = 0,
    ) -> None:
        self.evaluators = evaluators
        self.training = training
        self.task = task
        self.batch = whole_number("ZeroCostEnsemble", "batch", batch, 2)
        self.published = published
        if not isinstance(sizes, bool):
            raise UsageError(f"ZeroCostEnsemble: sizes: expected true or false, got {sizes!r}")
        self.sizes = sizes
        self.reference = reference
        if reference is None:
            reference = FEW if published is None else MANY
        self._references = whole_number("ZeroCostEnsemble", "reference", reference, FEWEST)
        self.seed = whole_number("ZeroCostEnsemble", "seed", seed)
        self.asked = _by_name(separate(self._members()))
        self._layers: Layers | None = None
        self._forget()

    def _members(self) -> list[Evaluator]:
        ways: dict[str, object] = {"evaluators": self.evaluators, "published": self.published}
        ways["training or task"] = self.task if self.training is None else self.training
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise UsageError(f"ZeroCostEnsemble: {' and '.join(given)} are ways to say which scores; give one")
        if self.evaluators is not None:
            checked_members("ZeroCostEnsemble", self.evaluators, "one")
            return self.evaluators
        if self.published is not None:
            return [Tabular(self.published, zero_cost=score) for score in PUBLISHED]
        training = self.training
        return [ZeroCost(score, training, self.task, self.batch) for score in SCORES]

    def _forget(self) -> None:
        super()._forget()
        self._ranks: dict[str, Ranks] = {}

    def start(self, space: Space) -> None:
        """Binds all evaluators to a space; the reference sample of another one is forgotten."""
        super().start(space)
        self._layers = Layers(space) if self.sizes and isinstance(space, Trainable) else None

    # -- the reference sample ------------------------------------------------------------------------

    def prepare(self) -> Cost:
        """Prepares the evaluators, and has them score the reference sample; in a run that goes on, what is left."""
        self._recall()
        references = self._draw()
        for number in range(len(self.asked)):
            self._prepare_one(number)
            self._score(number, references)
        known: dict[str, list[float]] = {}
        for i, query in references.items():
            found = [facts["scores"][str(i)] for facts in self._facts]
            for name, value in self._figures(found, query).items():
                known.setdefault(name, []).append(value)
        silent = set(SIZES) - set(SIZES if self.published is None else PUBLISHED_SIZES)
        self._ranks = {name: Ranks(values) for name, values in known.items() if name not in silent}
        return self._spent()

    def _drawn(self, rng: np.random.Generator) -> list[Architecture]:
        """Networks that differ: what computes the same has the same ranks, and would be scored again for nothing."""
        found: dict[Hashable, Architecture] = {}
        for each in self.draw(TWINS * self._references, rng):
            found.setdefault(self.space.canonical(each), each)
        return list(found.values())[: self._references]

    @staticmethod
    def _kept(trial: Trial) -> Any:
        """The score, and the sizes that came with it."""
        if trial.score is None:
            return None
        return {"score": trial.score, **{name: trial.metrics[name] for name in SIZES if name in trial.metrics}}

    def _figures(self, found: Sequence[Mapping[str, float] | None], query: Query) -> dict[str, float]:
        """All that has a rank, by name, of what the evaluators say of an architecture (None: it failed)."""
        figures = {role: each["score"] for role, each in zip(self.asked, found, strict=True) if each is not None}
        if not self.sizes:
            return figures
        sizes = {name: each[name] for each in found if each is not None for name in SIZES if name in each}
        if self._layers is not None:
            sizes["layers"] = self._layers(query.architecture)
        return {name: float(value) for name, value in {**sizes, **figures}.items() if math.isfinite(value)}

    # -- scoring -------------------------------------------------------------------------------------

    def evaluate_batch(self, queries: Sequence[Query]) -> list[Evaluation]:
        """Scores several, each evaluator all of them together.

        Raises:
            UsageError: If there is no reference sample yet.
        """
        if not self._ranks:
            raise UsageError("ZeroCostEnsemble: call prepare first, as a search does: there are no references yet")
        for query in queries:
            self.space.validate(query.architecture)
        columns = [answers(evaluator, queries) for evaluator in self.asked.values()]
        return [self._summary(query, row) for query, row in zip(queries, zip(*columns, strict=True), strict=True)]

    def _summary(self, query: Query, found: Sequence[Evaluation]) -> Evaluation:
        begun = time.process_time()
        sizes = [{name: each.metrics[name] for name in SIZES if name in each.metrics} for each in found]
        given = [{"score": each.score, **size} for each, size in zip(found, sizes, strict=True)]
        figures = self._figures(given, query)
        votes: dict[str, list[float]] = {}
        for name, value in figures.items():
            if name in self._ranks:
                votes.setdefault(KINDS.get(name, name), []).append(math.log(self._ranks[name].share(value)))
        score = math.exp(_mean(map(_mean, votes.values())))
        cost = sum((each.cost for each in found), NO_COST)
        return Evaluation(score, figures, cost + Cost(device_seconds=max(0.0, time.process_time() - begun)))


class Ranks:
    """The ranks of a figure among those of the reference sample, as shares of it.

    A reference with b below it and e equals, itself included, of n has the share (b + e / 2) / n.

    Args:
        values: Of the references, one or more.
    """

    def __init__(self, values: Sequence[float]) -> None:
        at, counts = np.unique(np.asarray(values, np.float64), return_counts=True)
        self._at, self._shares = at, (np.cumsum(counts) - counts / 2) / len(values)
        self._scale = float(np.median(np.abs(np.asarray(values) - np.median(values)))) or 1.0

    def share(self, value: float) -> float:
        """Between 0 and 1, and strictly rising with the value up to rounding."""
        lowest, highest = self._at[0], self._at[-1]
        if value < lowest:
            return max(float(self._shares[0] * self._near(lowest - value)), SMALLEST)
        if value > highest:
            return float(1 - (1 - self._shares[-1]) * self._near(value - highest))
        return float(np.interp(value, self._at, self._shares))

    def _near(self, distance: float) -> float:
        # Not 1 / (1 + distance / scale), which overflows where references are equal but for their last bits.
        return self._scale / (self._scale + distance)


SMALLEST = 1e-12
"""Least share, whose logarithm can be taken."""


def _by_name(evaluators: Sequence[Evaluator]) -> dict[str, Evaluator]:
    """The evaluators by the name of their score, else of their class; numbered where a name comes again."""
    named: dict[str, Evaluator] = {}
    for each in evaluators:
        score = each.zero_cost if isinstance(each, Tabular) else getattr(each, "score", None)
        name = score if isinstance(score, str) and score.isidentifier() else type(each).__name__
        number = sum(key.partition(" ")[0] == name for key in named)
        named[f"{name} {number + 1}" if number else name] = each
    return named


def _mean(values: Iterable[float]) -> float:
    several = list(values)
    return sum(several) / len(several)
