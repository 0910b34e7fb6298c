"""One-shot evaluation: all architectures share the weights of one super-network, which is trained once.

References: Guo et al., "Single path one-shot neural architecture search with uniform sampling", ECCV 2020 (SPOS: one
path, drawn uniformly, per update; batch-norm statistics recomputed before an architecture is scored); Chu, Zhang & Xu,
"FairNAS", ICCV 2021 (strict fairness: per update as many paths as a choice has candidates, each candidate of each
choice in exactly one of them, their gradients added up); Bender et al., "Understanding and simplifying one-shot
architecture search", ICML 2018 (all candidates at once, and more and more of them dropped); Pham et al., "Efficient
neural architecture search via parameter sharing", ICML 2018 (ENAS: paths that the controller proposed, weights and
controller trained in turn); Li & Talwalkar, "Random search and reproducibility for neural architecture search", UAI
2019 (scores on a few batches first); Yu et al., "BigNAS: scaling up neural architecture search with big single-stage
models", ECCV 2020 (the sandwich rule of Yu & Huang, ICCV 2019, and in-place distillation); Cai et al., "Once-for-all:
train one network and specialize it for efficient deployment", ICLR 2020 (progressive shrinking); Jeon et al.,
"Subnet-aware dynamic supernet training for neural architecture search", CVPR 2025 (rates and momenta by complexity).

A candidate is scored with inherited weights after ``steps`` updates of its own: 0 is pure weight sharing, and a full
training's worth comes close to individual training. How well that ranks is not assumed: see docs/optimization_gap.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from archsearch.abilities import Elastic, Mixing, SharedWeights
from archsearch.basics.checks import at_least_one, number, whole_number
from archsearch.basics.kinds import IMAGES, kinds_of
from archsearch.basics.seeding import stream
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluator import Trained
from archsearch.evaluators.chain_statistics import Statistics
from archsearch.evaluators.hyper_network import HyperNetwork
from archsearch.evaluators.inherited_scores import InheritedScores
from archsearch.evaluators.inheriting import inherit
from archsearch.evaluators.super_network import SuperNetwork
from archsearch.evaluators.training import Training
from archsearch.networks.network import Network, structure_of
from archsearch.relaxing import RelaxedDecisions
from archsearch.space import Space
from archsearch.task import Task
from archsearch.training.loop import Run
from archsearch.training.meter import Meter
from archsearch.training.optimizer import PathUpdates, make_optimizer, moments
from archsearch.training.paths import (
    CandidatePaths,
    DroppedPaths,
    FairPaths,
    SandwichPaths,
    UniformPaths,
    dimensions,
    mixed_multiply_adds,
)
from archsearch.trial import NO_COST, Cost, Query, Trial

Sampler = Literal["uniform", "grouped", "fair", "dropout", "controller", "sandwich"]
Source = Literal["shared", "hyper_network"]

SIZED_FOR_GROUPS = 64
"""Random paths whose multiply-adds say what heavy and light is."""


class OneShot(InheritedScores):
    """Scores an architecture with weights inherited from a super-network that is trained once, before the search.

    Reported: what ``Training`` reports, for the network with inherited weights, without the test accuracy. Set-up: the
    training of the super-network; a run that is resumed continues from the last finished epoch. A pass of the
    super-network is billed as the mean of 16 random paths. Billed per architecture: passes over data, and the updates
    if there are ``steps``. Architectures that are scored together in chain spaces (``MobileNet``, ``NASBenchMacro``),
    as by ``search(..., batch=50)``, share the computation of common beginnings.

    Under a controller with budgets, such as ``Finalists``, a budget is a number of batches of validation images; more
    than there are means all of them.

    Args:
        training: How to train, and the skeleton; None: ``Training(task)``.
        task: A task by name or path, or a ``Task``; short for a ``training`` in which only the task is set.
        epochs: Length of the super-network's training, and of its schedule, >= 1; None: 10 times that of ``training``.
        sampler: Paths of an update: uniform (one random architecture; SPOS), fair (as many as a choice has candidates,
            each candidate of each choice exactly once; FairNAS; all choices must have equally many), grouped (one path,
            of which each choice decides first, with equal chances, for or against weights to learn), dropout (all
            candidates, dropped at random; Bender et al.), controller (one that the controller proposed; ENAS), sandwich
            (the largest, the smallest and some random ones; BigNAS, OFA; of spaces whose architectures are parts of
            the largest one, such as ``OnceForAll``).
        dropout: For the sampler dropout: probability, 0 < dropout < 1, that all k candidates of a choice are dropped.
            Each is dropped with the k-th root of it, to which the probability rises linearly.
        uniform_epochs: For the sampler controller: epochs before the search, with uniform paths, >= 1.
        trials_per_epoch: For the sampler controller: number of trials, >= 1, after which there is an epoch with their
            architectures.
        random_paths: For the sampler sandwich: random architectures per update, >= 0.
        distillation: For the sampler sandwich: weight of the largest architecture's outputs in the loss of the others,
            0 to 1; the labels have the rest.
        stages: For the sampler sandwich: what becomes elastic, one after another, in equal parts of the epochs, after
            the largest architecture was trained alone (progressive shrinking; OFA). Give all names that the space has,
            such as kernel, depth, width. One that is named several times becomes elastic in so many steps. None: all at
            once (BigNAS).
        alone_epochs: With ``stages``: epochs of the largest architecture alone, >= 1; None: an equal part, too.
        warm_up_epochs: For the samplers uniform and grouped: epochs at the start, >= 0, in which only candidates that
            have weights to learn are drawn.
        operation_dropout: For the same samplers: probability, 0 to below 1, with which ``none`` replaces a candidate
            without weights to learn, such as a skip connection, while the super-network is trained.
        rate_by_size: How the learning rate of an update depends on the multiply-adds of its path: the share of the
            highest rate is raised to the power (mean multiply-adds / those of the path) ** rate_by_size. 0: not at all;
            above: it falls later for heavy paths and earlier for light ones; below: the other way round.
        momentum_groups: Number of groups of paths with similar multiply-adds, >= 1, each of which has its own momentum.
        note_updates: Whether to record how often, and with which gradients, each candidate is trained; see ``noted``.
        source: Source of the weights: shared, or hyper_network (SMASH): generated from the architecture by a network,
            which is trained instead of a super-network.
        weights: A trained super-network, ``evaluator/super-network.safetensors`` of a run with the same space and
            training; its cost is billed as it was then. None: it is trained now.
        statistics: Statistics of batch normalisation in scoring: recomputed from training images, unless ``steps``
            leave at most 1 % of the inherited ones; those of the batch that is scored (512 images; a single one left
            over joins the batch before); or inherited as they are.
        statistics_batches: Training batches that statistics are recomputed from, >= 1, the same for all architectures.
        validation_batches: Batches of validation images to score on, >= 1, the same for all architectures; None: all.
            Never fewer than 2 images.
        steps: Updates of the inherited weights before an architecture is scored, >= 0.
        learning_rate: Learning rate of these updates, the highest of their schedule; None: that of the training.
        restart: Whether they begin with a mixture of inherited and initial weights, in which the initial ones have the
            share that ``steps`` are of a training; so a whole training's steps give the weights of an individual one.
        seed: Seed of the super-network (initial weights, paths, order of the images) and of the choice of images; >= 0.

    Attributes:
        curve: Of the super-network's training, a row now and then: epoch, mean training loss, mean accuracy of four
            paths with the statistics of the batch; also in the run folder, ``evaluator/super-network.csv``.
        noted: With ``note_updates``: name of a candidate's module in the super-network, if it has weights, to how many
            updates gave it gradients, and the sum of their norms; in the run folder, ``evaluator/candidates.csv``.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self,
        training: Training | None = None,
        task: str | Task | None = None,
        epochs: int | None = None,
        sampler: Sampler = "uniform",
        dropout: float = 0.1,
        uniform_epochs: int = 1,
        trials_per_epoch: int = 20,
        random_paths: int = 2,
        distillation: float = 0.0,
        stages: list[str] | None = None,
        alone_epochs: int | None = None,
        warm_up_epochs: int = 0,
        operation_dropout: float = 0.0,
        rate_by_size: float = 0.0,
        momentum_groups: int = 1,
        note_updates: bool = False,
        source: Source = "shared",
        weights: str | None = None,
        statistics: Statistics = "recomputed",
        statistics_batches: int = 4,
        validation_batches: int | None = None,
        steps: int = 0,
        learning_rate: float | None = None,
        restart: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(training, task, epochs, statistics, statistics_batches, validation_batches, seed)
        self.sampler = sampler
        self.dropout = dropout
        self.uniform_epochs = uniform_epochs
        self.trials_per_epoch = trials_per_epoch
        self.random_paths = random_paths
        self.distillation = distillation
        self.stages = stages
        self.alone_epochs = alone_epochs
        self.warm_up_epochs = warm_up_epochs
        self.operation_dropout = operation_dropout
        self.rate_by_size = rate_by_size
        self.momentum_groups = momentum_groups
        self.note_updates = note_updates
        self.source = source
        self.weights = None if weights is None else str(Path(weights).absolute())
        self.steps = steps
        self.learning_rate = learning_rate
        self.restart = restart
        self.interval = trials_per_epoch if sampler == "controller" else 0
        self._check_settings()
        self._forget()

    def _check_settings(self) -> None:
        for name in ("uniform_epochs", "trials_per_epoch"):
            at_least_one("OneShot", name, getattr(self, name))
        whole_number("OneShot", "steps", self.steps)
        for name, known in (("sampler", Sampler), ("source", Source)):
            if getattr(self, name) not in get_args(known):
                raise UsageError(
                    f"OneShot: {name}: expected one of {', '.join(get_args(known))}, got {getattr(self, name)!r}"
                )
        self.dropout = number("OneShot", "dropout", self.dropout, above=0, below=1)
        self._check_sandwich()
        self._check_updates()
        if self.learning_rate is not None:
            self.learning_rate = number("OneShot", "learning_rate", self.learning_rate, above=0)
        if self.sampler == "dropout" and self.source == "hyper_network":
            raise UsageError(
                "OneShot: the sampler dropout mixes candidates, which a hyper_network does not; use uniform"
            )
        if self.sampler == "controller" and self.weights is not None:
            raise UsageError("OneShot: the sampler controller trains weights during the search; leave weights out")

    def _check_sandwich(self) -> None:
        whole_number("OneShot", "random_paths", self.random_paths)
        self.distillation = number("OneShot", "distillation", self.distillation, low=0, high=1)
        if self.sampler != "sandwich" and (self.distillation or self.stages):
            raise UsageError(
                f"OneShot: {'distillation' if self.distillation else 'stages'}: only of the sampler sandwich, got the "
                f"sampler {self.sampler}; leave it out, or use the sampler sandwich"
            )
        if self.sampler == "sandwich" and self.source == "hyper_network":
            raise UsageError("OneShot: the sampler sandwich shares weights; leave the source hyper_network out")
        if self.alone_epochs is not None:
            at_least_one("OneShot", "alone_epochs", self.alone_epochs)

    def _check_updates(self) -> None:
        whole_number("OneShot", "warm_up_epochs", self.warm_up_epochs)
        at_least_one("OneShot", "momentum_groups", self.momentum_groups)
        self.operation_dropout = number("OneShot", "operation_dropout", self.operation_dropout, low=0, below=1)
        self.rate_by_size = number("OneShot", "rate_by_size", self.rate_by_size)
        for name, default, samplers in (
            ("warm_up_epochs", 0, ("uniform", "grouped")),
            ("operation_dropout", 0.0, ("uniform", "grouped")),
            ("rate_by_size", 0.0, ("uniform", "grouped", "controller")),
            ("momentum_groups", 1, ("uniform", "grouped", "controller")),
        ):
            if getattr(self, name) != default and self.sampler not in samplers:
                raise UsageError(
                    f"OneShot: {name}: only of the samplers {', '.join(samplers)}, got the sampler {self.sampler}; "
                    "leave it out, or use one of these"
                )
        if self.note_updates and self.weights is not None:
            raise UsageError("OneShot: note_updates: nothing is trained where weights are given; leave one of them out")

    def _forget(self) -> None:
        depends = self.rate_by_size or self.momentum_groups > 1 or self.note_updates
        self._shared = SuperNetwork(
            self.trainer,
            self._make,
            self._sampler,
            self._length,
            self.seed,
            self._progress,
            keeps=bool(self.interval),
            distillation=self.distillation,
            updates=self._updates if depends else None,
        )
        super()._forget()

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility`` if the space has no super-network, or none that the sampler can train."""
        if not isinstance(space, SharedWeights):
            raise MissingAbility(
                f"OneShot shares weights, and {type(space).__name__} has no super-network; use a space such as "
                "NASBench201, or give your space a method super_network(task)"
            )
        self.trainer.check(space, type(self).__name__)
        if self.source == "hyper_network" and IMAGES not in kinds_of(space):
            raise MissingAbility(
                f"OneShot: a hyper_network writes the weights of networks for {IMAGES}, those of "
                f"{type(space).__name__} are for {kinds_of(space)[0]}; use the source shared"
            )
        if self.sampler == "fair" and (space.arities is None or len(set(space.arities)) != 1):
            raise MissingAbility(
                f"OneShot: the sampler fair needs choices with equally many candidates, {type(space).__name__} has "
                "others; use the sampler uniform"
            )
        if self.sampler == "sandwich":
            self._check_elastic(space)
        if self._parts_candidates:
            self._check_candidates(space)
        if self.sampler == "dropout" and (not isinstance(structure_of(space), Mixing) or space.arities is None):
            raise MissingAbility(
                "OneShot: the sampler dropout needs a super-network that computes several candidates at once; that "
                f"of {type(space).__name__} has no method mixture; use the sampler uniform"
            )

    def _check_candidates(self, space: Space) -> None:
        if not isinstance(space, RelaxedDecisions):
            raise MissingAbility(
                "OneShot: the sampler grouped, warm_up_epochs and operation_dropout need a space that says which "
                f"candidates have weights to learn, {type(space).__name__} does not; use a space such as NASBench201, "
                "or give yours the base archsearch.relaxing.RelaxedDecisions"
            )
        if self.operation_dropout and all(choice.none is None for choice in space.relaxed_choices()):
            raise MissingAbility(
                f"OneShot: operation_dropout puts none in the place of a candidate, which {type(space).__name__} does "
                "not have; use a space such as NASBench201"
            )

    def _check_elastic(self, space: Space) -> None:
        if not isinstance(space, Elastic):
            raise MissingAbility(
                "OneShot: the sampler sandwich needs architectures that are parts of the largest one, those of "
                f"{type(space).__name__} are not; use a space such as OnceForAll, or give yours dimension(prefix)"
            )
        if self.stages is not None:
            known = dimensions(space)
            if set(self.stages) != known:
                raise UsageError(
                    f"OneShot: stages: expected each of {', '.join(sorted(known))} of {type(space).__name__}, in any "
                    f"order, got {', '.join(self.stages) or 'none'}"
                )
            self._begins()

    # -- the super-network -------------------------------------------------------------------------

    def _make(self) -> Network:
        """What is trained for all architectures."""
        if self.source == "shared":
            return self.trainer.network(None)
        return HyperNetwork(self.space, self.trainer.network)

    def prepare(self) -> Cost:
        """Trains the super-network, or what is left to train of it; with the sampler controller its first epochs.

        Raises:
            UsageError: If ``weights`` are not those of this super-network.
        """
        self.training.prepare()
        epochs = self.uniform_epochs if self.sampler == "controller" else self._length
        return self._shared.prepare(epochs, None if self.weights is None else Path(self.weights))

    def _progress(self, epoch: int, epochs: int) -> None:
        if self.on_progress is not None:
            self.on_progress("super-network", epoch, epochs)

    def _sampler(self, network: Network) -> UniformPaths:
        if self.sampler == "fair":
            return FairPaths(self.space, self.seed)
        if self.sampler == "sandwich":
            return SandwichPaths(self.space, self.seed, self.random_paths, self.stages or (), self._begins())
        if self._parts_candidates:
            alone = self.warm_up_epochs / self._length
            return CandidatePaths(self.space, self.seed, self.sampler == "grouped", alone, self.operation_dropout)
        if self.sampler != "dropout":
            return UniformPaths(self.space, self.seed)
        arities = self.space.arities
        assert arities is not None
        macs = self.trainer.size(None)[0], mixed_multiply_adds(network, arities, self.trainer.data.input_shape)
        return DroppedPaths(self.space, self.seed, self.dropout, macs)

    @property
    def _parts_candidates(self) -> bool:
        """Whether candidates with weights to learn and those without are drawn in different ways."""
        return self.sampler == "grouped" or self.warm_up_epochs > 0 or self.operation_dropout > 0

    def _updates(self, run: Run) -> PathUpdates:
        """What of an update depends on its paths; the run gets an optimiser for each further group."""
        trainer, groups = self.trainer, self.momentum_groups
        recipe = trainer.recipe_of(None)
        run.others = {moments(i): make_optimizer(run.network, recipe, trainer.where) for i in range(1, groups)}
        drawn = [self.space.sample(stream(i, "size"), "architectures") for i in range(SIZED_FOR_GROUPS)]
        sizes = [trainer.size(path)[0] for path in drawn]
        return PathUpdates(lambda path: trainer.size(path)[0], sizes, self.rate_by_size, groups, self.note_updates)

    @property
    def noted(self) -> Mapping[str, Sequence[float]]:
        """See the class."""
        return self._shared.noted

    def _begins(self) -> list[float]:
        """Share of the epochs at which each stage begins."""
        stages, epochs = len(self.stages or ()), self._length
        alone = max(1, epochs // (stages + 1)) if self.alone_epochs is None else self.alone_epochs
        if stages > epochs - alone:
            raise UsageError(
                f"OneShot: stages: expected at least {stages + alone} epochs for {stages} stages after {alone} epochs "
                f"of the largest architecture alone, got {epochs}"
            )
        return [(alone + i * (epochs - alone) // stages) / epochs for i in range(stages)]

    def advance(self, sample: Sequence[Trial]) -> Cost:
        """With the sampler controller: trains for an epoch, paths drawn from the architectures of ``sample``."""
        if not sample or not self.interval:
            return NO_COST
        cost, due = self._shared.advance(sample)
        if due:
            self._images = {}
        return cost

    # -- scoring -----------------------------------------------------------------------------------

    def trained(self, query: Query) -> Trained:
        """A stand-alone network with the weights and statistics that were scored, of the super-network as it is now."""
        if self.source == "hyper_network":
            return self._trained(query, "Weights are those that a hyper-network generated for this architecture.")
        return self._trained(query, "Weights are inherited from a super-network.")

    def _inherited(self, query: Query, meter: Meter, alone: bool = False) -> Run:
        network = self._shared.network()
        if not isinstance(network, HyperNetwork):
            return super()._inherited(query, meter, alone)
        run = self.trainer.begin(query.architecture, query.seed)
        inherit(run.network, network.weights(query.architecture), self._share)
        meter.forwarded(1, network.generation_multiply_adds(query.architecture))
        return run
