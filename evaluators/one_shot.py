"""One-shot evaluation: all architectures share the weights of one super-network, which is trained once.

References: Guo et al., "Single path one-shot neural architecture search with uniform sampling", ECCV 2020 (SPOS: one
path, drawn uniformly, per update; batch-norm statistics recomputed before an architecture is scored); Chu, Zhang & Xu,
"FairNAS", ICCV 2021 (strict fairness: per update as many paths as a choice has candidates, each candidate of each
choice in exactly one of them, their gradients added up); Bender et al., "Understanding and simplifying one-shot
architecture search", ICML 2018 (all candidates at once, and more and more of them dropped); Pham et al., "Efficient
neural architecture search via parameter sharing", ICML 2018 (ENAS: paths that the controller proposed, weights and
controller trained in turn); Li & Talwalkar, "Random search and reproducibility for neural architecture search", UAI
2019 (scores on a few batches first).

A candidate is scored with inherited weights after ``steps`` updates of its own: 0 is pure weight sharing, and a full
training's worth comes close to individual training. How well that ranks is not assumed: see docs/optimization_gap.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from archsearch.abilities import Mixing, SharedWeights
from archsearch.basics.checks import at_least_one, number, whole_number
from archsearch.basics.seeding import stream
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluator import Trained
from archsearch.evaluators.chain_scoring import Chain, Statistics, score_chains
from archsearch.evaluators.hyper_network import HyperNetwork
from archsearch.evaluators.inheriting import inherit, recompute_statistics
from archsearch.evaluators.super_network import SuperNetwork
from archsearch.evaluators.training import BuiltOnTraining, Training
from archsearch.networks.network import InputShape, Network
from archsearch.space import Space
from archsearch.task import Task
from archsearch.training.loop import Run
from archsearch.training.meter import Meter
from archsearch.training.paths import DroppedPaths, FairPaths, UniformPaths, mixed_multiply_adds
from archsearch.training.trainer import EVALUATION_BATCH
from archsearch.trial import NO_COST, Cost, Evaluation, Query, Trial

Sampler = Literal["uniform", "fair", "dropout", "controller"]
Source = Literal["shared", "hyper_network"]

LENGTH = 10
"""The super-network is trained for this many times the epochs of a training, unless it is told otherwise."""

MEMORY = 2**31
"""Bytes of activations that scoring several architectures of a chain space together may hold."""


class OneShot(BuiltOnTraining):
    """Scores an architecture with weights inherited from a super-network that is trained once, beforehand.

    Reported: what ``Training`` reports, of the network with inherited weights, without the test accuracy. Set-up: the
    training of the super-network; a run that is resumed goes on from the last finished epoch. A pass of it is billed as
    the mean of 16 random paths. Per architecture: passes over data, and the updates if there are ``steps``. What is
    scored together in chain spaces (``MobileNet``, ``NASBenchMacro``), as by ``search(..., batch=50)``, shares the
    computation of common beginnings.

    Under a controller with budgets, such as ``Finalists``, a budget is a number of batches of validation images; more
    than there are means all of them.

    Args:
        training: How to train, and the skeleton; None: ``Training(task)``.
        task: A task by name or path, or a ``Task``: short for a ``training`` with nothing else.
        epochs: Length of the super-network's training, and of its schedule, >= 1; None: 10 times that of ``training``.
        sampler: Paths of an update: uniform (one random architecture; SPOS), fair (as many as a choice has candidates,
            each candidate of each choice exactly once; FairNAS; all choices must have equally many), dropout (all
            candidates, dropped at random; Bender et al.), controller (one that the controller proposed; ENAS).
        dropout: Of the sampler dropout: probability, 0 < dropout < 1, that all k candidates of a choice are dropped.
            Each is dropped with its k-th root, to which that rises linearly.
        uniform_epochs: Of the sampler controller: epochs before the search, with uniform paths, >= 1.
        trials_per_epoch: Of the sampler controller: after so many trials, >= 1, an epoch with their architectures.
        source: Of the weights: shared, or hyper_network (SMASH): generated from the architecture by a network, which is
            trained in the super-network's place.
        weights: A trained super-network, ``evaluator/super-network.safetensors`` of a run with the same space and
            training; its cost is billed as it was then. None: it is trained.
        statistics: Of batch normalisation in scoring: recomputed from training images, those of the batch that is
            scored (of 512 images; one left over joins the batch before), or inherited as they are.
        statistics_batches: Training batches that statistics are recomputed from, >= 1, the same for all architectures.
        validation_batches: Batches of validation images to score on, >= 1, the same for all architectures; None: all.
            Never fewer than 2 images.
        steps: Updates of the inherited weights before an architecture is scored, >= 0.
        learning_rate: Of these updates, the highest of their schedule; None: that of the training.
        restart: Whether they begin with a mixture of inherited and initial weights, in which the initial ones have the
            share that ``steps`` are of a training; so a whole training's steps give the weights of an individual one.
        seed: Of the super-network: initial weights, paths, order of the images; of the choice of images; >= 0.

    Attributes:
        curve: Of the super-network's training, a row now and then: epoch, mean training loss, mean accuracy of four
            paths with the statistics of the batch; also in the run folder, ``evaluator/super-network.csv``.

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
        source: Source = "shared",
        weights: str | None = None,
        statistics: Statistics = "recomputed",
        statistics_batches: int = 4,
        validation_batches: int | None = None,
        steps: int = 0,
        learning_rate: float | None = None,
        restart: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(task, training)
        self.epochs = epochs
        self.sampler = sampler
        self.dropout = dropout
        self.uniform_epochs = uniform_epochs
        self.trials_per_epoch = trials_per_epoch
        self.source = source
        self.weights = None if weights is None else str(Path(weights).absolute())
        self.statistics = statistics
        self.statistics_batches = statistics_batches
        self.validation_batches = validation_batches
        self.steps = steps
        self.learning_rate = learning_rate
        self.restart = restart
        self.seed = seed
        self.interval = trials_per_epoch if sampler == "controller" else 0
        self._check_settings()
        self._forget()

    def _check_settings(self) -> None:
        owner = type(self).__name__
        for name in ("epochs", "uniform_epochs", "trials_per_epoch", "statistics_batches", "validation_batches"):
            if getattr(self, name) is not None:
                at_least_one(owner, name, getattr(self, name))
        for name in ("steps", "seed"):
            whole_number(owner, name, getattr(self, name))
        for name, known in (("sampler", Sampler), ("statistics", Statistics), ("source", Source)):
            if getattr(self, name) not in get_args(known):
                raise UsageError(
                    f"{owner}: {name}: expected one of {', '.join(get_args(known))}, got {getattr(self, name)!r}"
                )
        self.dropout = number("OneShot", "dropout", self.dropout, above=0, below=1)
        if self.learning_rate is not None:
            self.learning_rate = number("OneShot", "learning_rate", self.learning_rate, above=0)
        if self.sampler == "dropout" and self.source == "hyper_network":
            raise UsageError(
                "OneShot: the sampler dropout mixes candidates, which a hyper_network does not; use uniform"
            )
        if self.sampler == "controller" and self.weights is not None:
            raise UsageError("OneShot: the sampler controller trains weights during the search; leave weights out")

    def _forget(self) -> None:
        self._shared = SuperNetwork(
            self.trainer, self._make, self._sampler, self._length, self.seed, self._progress, keeps=bool(self.interval)
        )
        self._images: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What workers need."""
        return self.__dict__ | {"_images": {}}

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility`` if the space has no super-network, or none that the sampler can train."""
        if not isinstance(space, SharedWeights):
            raise MissingAbility(
                f"OneShot shares weights, and {type(space).__name__} has no super-network; use a space such as "
                "NASBench201, or give your space a method super_network(task)"
            )
        self.training.check(space)
        if self.sampler == "fair" and (space.arities is None or len(set(space.arities)) != 1):
            raise MissingAbility(
                f"OneShot: the sampler fair needs choices with equally many candidates, {type(space).__name__} has "
                "others; use the sampler uniform"
            )
        if self.sampler == "dropout":
            with torch.device("meta"):
                mixes = isinstance(space.super_network(InputShape((3, 32, 32), 10)), Mixing)
            if not mixes or space.arities is None:
                raise MissingAbility(
                    "OneShot: the sampler dropout needs a super-network that computes several candidates at once; that "
                    f"of {type(space).__name__} has no method mixture; use the sampler uniform"
                )

    def check_budgets(self, budgets: Sequence[int]) -> None:
        """Any will do: they are numbers of batches of validation images."""

    def start(self, space: Space) -> None:
        """Binds the evaluator to a space; the super-network of another one is forgotten."""
        super().start(space)
        self._forget()
        if self.statistics == "batch" and self.trainer.data.size("valid") < 2:
            raise UsageError(
                f"{type(self).__name__}: statistics: a batch of one image has none, and {self.trainer.data.name} has "
                "one validation image; use recomputed"
            )

    # -- the super-network -------------------------------------------------------------------------

    @property
    def curve(self) -> list[Mapping[str, float]]:
        """See the class."""
        return self._shared.curve

    @property
    def _length(self) -> int:
        """Epochs of the super-network."""
        return self.epochs or LENGTH * self.trainer.recipe.epochs

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
        if self.sampler != "dropout":
            return UniformPaths(self.space, self.seed)
        arities = self.space.arities
        assert arities is not None
        macs = self.trainer.size(None)[0], mixed_multiply_adds(network, arities, self.trainer.data.input_shape)
        return DroppedPaths(self.space, self.seed, self.dropout, macs)

    def advance(self, sample: Sequence[Trial]) -> Cost:
        """With the sampler controller: trains for an epoch, paths drawn from the architectures of ``sample``."""
        if not sample or not self.interval:
            return NO_COST
        cost, due = self._shared.advance(sample)
        if due:
            self._images = {}
        return cost

    # -- scoring -----------------------------------------------------------------------------------

    def evaluate_query(self, query: Query) -> Evaluation:
        """Scores an architecture with inherited weights; a budget is a number of batches of validation images.

        The seed decides the order of images of the updates.

        Raises:
            UsageError: If there is no super-network yet.
        """
        self.space.validate(query.architecture)
        with self.trainer.session() as meter:
            return self._score(query, self._inherited(query, meter), meter)

    def _score(self, query: Query, run: Run, meter: Meter) -> Evaluation:
        """Scores a network with inherited weights, after what is to be done to these."""
        trainer = self.trainer
        if self.steps:
            trainer.train(run, self.steps, self.steps, meter, self.learning_rate, validate=False)
            run.network.drop_path = 0.0  # of the last epoch: nothing is dropped from here on
        if self.statistics == "recomputed":
            self._recompute_statistics(run, meter)
        run.batch_statistics = self.statistics == "batch"
        score, run.valid_loss = trainer.accuracy(run, "valid", meter, self._chosen(query))
        run.curve.append(score)
        return trainer.report(run, meter, test=False)

    def trained(self, query: Query) -> Trained:
        """A stand-alone network with the weights and statistics that were scored, of the super-network as it is now."""
        self.space.validate(query.architecture)
        with self.trainer.session() as meter:
            run = self._inherited(query, meter, alone=True)
            evaluation = self._score(query, run, meter)
            if self.statistics == "batch":  # in evaluation mode it needs some of its own
                self._recompute_statistics(run, meter)
        if self.source == "hyper_network":
            notes = ["Weights are those that a hyper-network generated for this architecture."]
        else:
            notes = ["Weights are inherited from a super-network."]
        if self.steps:
            notes.append(f"They were trained on for {self.steps} updates.")
        else:
            notes.append("They were not trained on: a training of its own would give better ones.")
        if self.interval:
            notes.append("The super-network learnt during the search; these weights are of its end.")
        if self.statistics == "batch":
            notes.append(
                "It was scored with the statistics of each batch; for evaluation mode they were recomputed from "
                f"{self.statistics_batches} training batches, so that it may score otherwise."
            )
        return self.trainer.handed_out(run, evaluation, " ".join(notes))

    def evaluate_batch(self, queries: Sequence[Query]) -> list[Evaluation]:
        """Scores several; in chain spaces what they have in common is computed once, and shared out on their bills."""
        alone = len(queries) < 2 or self.steps or self.trainer.latency
        if alone or not isinstance(self._shared.network(), Chain):
            return super().evaluate_batch(queries)
        for query in queries:
            self.space.validate(query.architecture)
        found: dict[int, Evaluation] = {}
        sizes = [query.budget.stop if query.budget else None for query in queries]
        for size in dict.fromkeys(sizes):
            places = [i for i in range(len(queries)) if sizes[i] == size]
            group = [queries[i] for i in places]
            try:
                evaluations = self._score_chains(group)
            except UsageError:  # even a single one takes more memory
                evaluations = super().evaluate_batch(group)
            found |= dict(zip(places, evaluations, strict=True))
        return [found[i] for i in range(len(queries))]

    def _inherited(self, query: Query, meter: Meter, alone: bool = False) -> Run:
        """A run of an architecture with inherited weights: of a network of its own if that is to be changed.

        Args:
            query: What is scored.
            meter: Adds up what is spent.
            alone: Whether it is a network of its own in any case.
        """
        network = self._shared.network()
        if isinstance(network, HyperNetwork):
            run = self.trainer.begin(query.architecture, query.seed)
            inherit(run.network, network.weights(query.architecture), self._share)
            meter.forwarded(1, network.generation_multiply_adds(query.architecture))
            return run
        if self.steps or alone:
            run = self.trainer.begin(query.architecture, query.seed)
            inherit(run.network, self._shared.values(), self._share)
            return run
        return Run(query.architecture, network, torch.optim.SGD(network.parameters(), 0.0), torch.Generator())

    @property
    def _share(self) -> float:
        """How much of the inherited weights there is at the start."""
        full = self.trainer.recipe.epochs * self.trainer.updates_per_epoch
        return max(0.0, 1 - self.steps / full) if self.restart else 1.0

    def _score_chains(self, queries: Sequence[Query]) -> list[Evaluation]:
        """Scores architectures of a chain space together, on the same images."""
        trainer, network = self.trainer, self._shared.network()
        architectures = [query.architecture for query in queries]
        images, labels = trainer.data.part("valid", trainer.where)
        chosen = self._chosen(queries[0])
        if chosen is not None:
            images, labels = images[chosen], labels[chosen]
        assert isinstance(network, Chain)
        with trainer.session() as meter:
            others = self._statistics_images() if self.statistics == "recomputed" else ()
            found = score_chains(
                network, architectures, images, labels, self.statistics, others, EVALUATION_BATCH, MEMORY
            )
            sizes = [trainer.measure(architecture) for architecture in architectures]
            meter.forwarded(1, found.multiply_adds)
            cost = meter.cost() * (1 / len(queries))
        n = len(labels)
        return [
            Evaluation(100 * right / n, {"valid_loss": loss / n, **size}, cost, (100 * right / n,))
            for (right, loss), size in zip(found.scores, sizes, strict=True)
        ]

    def _recompute_statistics(self, run: Run, meter: Meter) -> None:
        """Means and variances over some training batches take the place of the inherited ones."""
        images = self._statistics_images()
        recompute_statistics(run.network, run.architecture, images)
        meter.forwarded(sum(map(len, images)), self.trainer.size(run.architecture)[0])

    def _statistics_images(self) -> list[torch.Tensor]:
        if "statistics" not in self._images:
            generator = torch.Generator().manual_seed(self.seed)
            self._images["statistics"] = list(self.trainer.batches(generator, self.statistics_batches))
        batches: list[torch.Tensor] = self._images["statistics"]
        return batches

    def _chosen(self, query: Query) -> torch.Tensor | None:
        """Which validation images to score on; None: all. Other ones after each ``advance``."""
        n, batches = self.trainer.data.size("valid"), query.budget.stop if query.budget else self.validation_batches
        if batches is None or batches * self.trainer.recipe.batch_size >= n:
            return None
        images = max(2, batches * self.trainer.recipe.batch_size)  # one alone has no statistics
        if "order" not in self._images:
            order = stream(self.seed, f"validation {self._shared.sample}").permutation(n)
            self._images["order"] = torch.from_numpy(order)
        chosen: torch.Tensor = self._images["order"][:images]
        return chosen
