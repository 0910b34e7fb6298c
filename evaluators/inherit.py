"""Weights from the parent: a child starts from what its parent has learnt, and trains briefly.

References: Real et al., "Large-scale evolution of image classifiers", ICML 2017 (weights are kept wherever names and
shapes agree); Chen, Goodfellow & Shlens, "Net2Net", ICLR 2016, and Wei et al., "Network morphism", ICML 2016 (the
child computes the parent's function before it trains), for spaces that offer it.

The parent is the trial that the controller names with its proposal, as ``RegularizedEvolution`` does; a proposal
without one, such as a random one, is trained in full.
"""

from __future__ import annotations

from collections.abc import Collection

import torch

from archsearch.abilities import Morphable, trainable
from archsearch.basics.checks import number, whole_number
from archsearch.errors import UsageError
from archsearch.evaluator import Trained
from archsearch.evaluators.training import BuiltOnTraining, Training
from archsearch.networks.network import Network
from archsearch.space import Space
from archsearch.task import Task
from archsearch.training.checkpoints import below
from archsearch.training.loop import Run
from archsearch.training.meter import Meter
from archsearch.trial import Cost, Evaluation, Query


class Inherit(BuiltOnTraining):
    """Trains a child for a few updates from its parent's weights; without a parent, in full.

    Reported, in addition to what ``Training`` reports: ``inherited``, the share of the child's parameters that start
    with values of the parent, and ``function_preserved``, 1 if the child started as the same function.

    Args:
        training: How to train; None: ``Training(task)``.
        task: A task by name or path, or a ``Task``; short for a ``training`` in which only the task is set.
        steps: Updates of a child, >= 0; None: a quarter of a full training, rounded up to whole epochs.
        learning_rate: Learning rate of a child, at the start of its cosine schedule; None: that of the training, or the
            one that the architecture itself has, as in ``EvoNet``.
        morph: Whether to use the space's function-preserving edits, if it has them. Otherwise values are taken over
            where names and shapes agree.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self,
        training: Training | None = None,
        task: str | Task | None = None,
        steps: int | None = None,
        learning_rate: float | None = None,
        morph: bool = True,
    ) -> None:
        super().__init__(task, training)
        self.steps = steps
        self.learning_rate = (
            None if learning_rate is None else number("Inherit", "learning_rate", learning_rate, above=0)
        )
        self.morph = morph
        if steps is not None:
            whole_number("Inherit", "steps", steps)

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility`` if the space builds no networks, ``UsageError`` if it lacks a given setting."""
        trainable(space, "Inherit")
        self.trainer.check(space, type(self).__name__)

    def prepare(self) -> Cost:
        """As ``Training`` does."""
        return self.training.prepare()

    def evaluate_query(self, query: Query) -> Evaluation:
        """Trains a child from its parent's weights, or an architecture without a parent in full."""
        self.space.validate(query.architecture)
        trainer = self.trainer
        with trainer.session() as meter:
            run = trainer.begin(query.architecture, query.seed)
            inherited, preserved = self._take_over(run, query.parent)
            self._train(run, inherited > 0, meter)
            if query.id >= 0:
                trainer.checkpoints.save(run, query.id)
            evaluation = trainer.report(run, meter)
        metrics = {**evaluation.metrics, "inherited": inherited, "function_preserved": float(preserved)}
        return evaluation._replace(metrics=metrics)

    def trained(self, query: Query) -> Trained:
        """The trial's own checkpoint; if that is gone, it is trained again from its parent's, or in full without one.

        Raises:
            UsageError: If the parent's checkpoint is gone, too.
        """
        self.space.validate(query.architecture)
        trainer = self.trainer
        with trainer.session() as meter:
            run = trainer.begin(query.architecture, query.seed)
            if not trainer.checkpoints.restore(run, query.id):
                if query.parent is not None and trainer.checkpoints.read(query.parent) is None:
                    raise UsageError(
                        f"Inherit: the checkpoints of trial {query.id} and of its parent, trial {query.parent}, are "
                        f"gone (the training keeps {self.training.keep}); give an evaluator that trains in full, such "
                        "as Training"
                    )
                inherited, _ = self._take_over(run, query.parent)
                self._train(run, inherited > 0, meter)
            evaluation = trainer.report(run, meter)
        note = "" if query.parent is None else f"Trained on from weights of trial {query.parent}, its parent."
        return trainer.handed_out(run, evaluation, note)

    def _train(self, run: Run, is_child: bool, meter: Meter) -> None:
        trainer = self.trainer
        total = full = trainer.recipe.epochs * trainer.updates_per_epoch
        rate = None
        if is_child:
            quarter = -(-trainer.recipe.epochs // 4) * trainer.updates_per_epoch
            total = min(quarter if self.steps is None else self.steps, full)
            rate = self.learning_rate
        trainer.train(run, total, max(total, 1), meter, rate)

    def _take_over(self, run: Run, parent: int | None) -> tuple[float, bool]:
        """Gives a child its parent's weights; how many, and whether the function is the parent's."""
        loaded = None if parent is None else self.trainer.checkpoints.read(parent)
        if loaded is None:
            return 0.0, False
        tensors, facts = loaded
        weights = below(tensors, "network.")
        if not (self.morph and isinstance(self.space, Morphable)):
            return take_over_by_name(run.network, weights), tuple(facts["architecture"]) == run.architecture
        ancestor = self.trainer.begin(tuple(facts["architecture"]), 0).network
        ancestor.load_state_dict(weights)
        before = {name: parameter.clone() for name, parameter in run.network.named_parameters()}
        preserved = self.space.morph(ancestor, run.network, run.generator)
        return _share(
            run.network, [n for n, p in run.network.named_parameters() if not torch.equal(p, before[n])]
        ), preserved


def take_over_by_name(network: Network, weights: dict[str, torch.Tensor]) -> float:
    """Copies every value whose name and shape agree, running statistics included.

    Returns:
        The share of the network's parameters that were copied, 0 to 1.
    """
    own = network.state_dict()
    agree = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict(agree, strict=False)
    return _share(network, agree)


def _share(network: Network, names: Collection[str]) -> float:
    """Parameters of these names, as a share of all, 0 to 1."""
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    return sum(size for name, size in sizes.items() if name in names) / sum(sizes.values())
