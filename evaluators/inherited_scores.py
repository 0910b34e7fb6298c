"""Scores with inherited weights: of a path of a super-network, as it is or after some updates of its own.

``OneShot`` and ``Differentiable`` differ in how their super-networks are trained, not in how architectures are scored.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch

from archsearch.basics.checks import at_least_one, whole_number
from archsearch.basics.seeding import stream
from archsearch.errors import UsageError
from archsearch.evaluator import Trained
from archsearch.evaluators.chain_scoring import Chain, score_chains
from archsearch.evaluators.chain_statistics import Statistics
from archsearch.evaluators.inheriting import inherit, recompute_statistics
from archsearch.evaluators.super_network import SuperNetwork
from archsearch.evaluators.training import BuiltOnTraining, Training
from archsearch.networks.network import Network
from archsearch.networks.structure import showing
from archsearch.networks.undisturbed import batch_norms
from archsearch.space import Space
from archsearch.task import Task
from archsearch.training.loop import Run
from archsearch.training.meter import Meter
from archsearch.training.trainer import EVALUATION_BATCH
from archsearch.trial import Evaluation, Query

LENGTH = 10
"""The super-network is trained for this many times the epochs of a training, unless it is told otherwise."""

FORGOTTEN = 0.01
"""Statistics are recomputed before a network is scored, unless its own updates left no more of inherited ones than so
much: what those updates saw is then what individual training would have seen."""

MEMORY = 2**31
"""Bytes of activations that scoring several architectures of a chain space together may hold."""


class InheritedScores(BuiltOnTraining):
    """Base of evaluators that score architectures with the weights of a super-network.

    An author writes ``_forget``, which makes ``_shared`` anew and ends with that of this class.

    Args:
        training: See ``BuiltOnTraining``.
        task: See ``BuiltOnTraining``.
        epochs: >= 1, or None.
        statistics: See ``OneShot``; so for all others.
        statistics_batches: >= 1.
        validation_batches: >= 1, or None.
        seed: >= 0.

    Attributes:
        steps: Updates of the inherited weights before an architecture is scored.
        learning_rate: Of these updates; None: that of the training.
        restart: Whether they begin with a mixture of inherited and initial weights.

    Raises:
        UsageError: If a setting is out of range.
    """

    _shared: SuperNetwork
    _images: dict[str, Any]

    steps: int = 0
    learning_rate: float | None = None
    restart: bool = True

    @abc.abstractmethod
    def __init__(
        self,
        training: Training | None,
        task: str | Task | None,
        epochs: int | None,
        statistics: Statistics,
        statistics_batches: int,
        validation_batches: int | None,
        seed: int,
    ) -> None:
        super().__init__(task, training)
        name = type(self).__name__
        self.epochs = None if epochs is None else at_least_one(name, "epochs", epochs)
        if statistics not in get_args(Statistics):
            raise UsageError(
                f"{name}: statistics: expected one of {', '.join(get_args(Statistics))}, got {statistics!r}"
            )
        self.statistics = statistics
        self.statistics_batches = at_least_one(name, "statistics_batches", statistics_batches)
        if validation_batches is not None:
            validation_batches = at_least_one(name, "validation_batches", validation_batches)
        self.validation_batches = validation_batches
        self.seed = whole_number(name, "seed", seed)

    def _forget(self) -> None:
        self._images = {}

    def __getstate__(self) -> dict[str, Any]:
        """What workers need."""
        return self.__dict__ | {"_images": {}}

    @property
    def curve(self) -> list[Mapping[str, float]]:
        """How the training of the super-network went."""
        return self._shared.curve

    @property
    def _length(self) -> int:
        """Epochs of the super-network."""
        return self.epochs or LENGTH * self.trainer.recipe.epochs

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
            run.network.drop_path = run.network.dropout = 0.0  # of the last epoch: nothing is dropped from here on
        with showing(run.network, run.architecture):
            if self.statistics == "recomputed" and self._inherited_statistics(run.network) > FORGOTTEN:
                self._recompute_statistics(run, meter)
            run.batch_statistics = self.statistics == "batch"
            score, run.valid_loss, run.valid_metric = trainer.judge(run, "valid", meter, self._chosen(query))
        run.curve.append(score)
        return trainer.report(run, meter, test=False)

    def _trained(self, query: Query, origin: str) -> Trained:
        """A stand-alone network with the weights and statistics that were scored; ``origin``: where they are from."""
        self.space.validate(query.architecture)
        with self.trainer.session() as meter:
            run = self._inherited(query, meter, alone=True)
            evaluation = self._score(query, run, meter)
            if self.statistics == "batch":  # in evaluation mode it needs some of its own
                self._recompute_statistics(run, meter)
        found = [origin]
        if self.steps:
            found.append(f"They were trained on for {self.steps} updates.")
        else:
            found.append("They were not trained on: a training of its own would give better ones.")
        if self.interval:
            found.append("The super-network learnt during the search; these weights are of its end.")
        if self.statistics == "batch":
            found.append(
                "It was scored with the statistics of each batch; for evaluation mode they were recomputed from "
                f"{self.statistics_batches} training batches, so that it may score otherwise."
            )
        return self.trainer.handed_out(run, evaluation, " ".join(found))

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
        if self.steps or alone:
            run = self.trainer.begin(query.architecture, query.seed)
            inherit(run.network, self._shared.values(), self._share)
            return run
        network = self._shared.network()
        return Run(query.architecture, network, torch.optim.SGD(network.parameters(), 0.0), torch.Generator())

    @property
    def _share(self) -> float:
        """How much of the inherited weights there is at the start."""
        full = self.trainer.recipe.epochs * self.trainer.updates_per_epoch
        return max(0.0, 1 - self.steps / full) if self.restart else 1.0

    def _inherited_statistics(self, network: Network) -> float:
        """Share of the inherited statistics of batch normalisation that the updates have left, 0 to 1.

        Those of a network that was trained as long as an individual one have nothing that is to be recomputed.
        """
        momenta = [layer.momentum for layer in batch_norms(network)]
        kept = max((1.0 if momentum is None else (1 - momentum) ** self.steps for momentum in momenta), default=0.0)
        return self._share * kept

    def _score_chains(self, queries: Sequence[Query]) -> list[Evaluation]:
        """Scores architectures of a chain space together, on the same images."""
        trainer, network = self.trainer, self._shared.network()
        architectures = [query.architecture for query in queries]
        everything, labels = trainer.data.part("valid", trainer.where)
        chosen = self._chosen(queries[0])
        images = everything[:] if chosen is None else everything[chosen]
        labels = labels if chosen is None else labels[chosen]
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
        if not batch_norms(run.network):
            return
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
        """Which validation examples to score on; None: all. Other ones after each ``advance``."""
        n, batches = self.trainer.data.size("valid"), query.budget.stop if query.budget else self.validation_batches
        if batches is None or batches * self.trainer.batch_examples >= n:
            return None
        images = max(2, batches * self.trainer.batch_examples)  # one alone has no statistics
        if "order" not in self._images:
            order = self.trainer.data.drawn(n, stream(self.seed, f"validation {self._shared.sample}"))
            self._images["order"] = torch.from_numpy(order)
        chosen: torch.Tensor = self._images["order"][:images]
        return chosen
