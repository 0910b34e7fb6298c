"""One-shot evaluation: all architectures share the weights of one super-network, which is trained once.

References: Guo et al., "Single path one-shot neural architecture search with uniform sampling", ECCV 2020 (SPOS: one
path, drawn uniformly, per update; batch-norm statistics recomputed before an architecture is scored); Chu, Zhang & Xu,
"FairNAS", ICCV 2021 (strict fairness: per update as many paths as a choice has candidates, each candidate of each
choice in exactly one of them, their gradients added up).

A candidate is scored with inherited weights after ``steps`` updates of its own: 0 is pure weight sharing, and a full
training's worth comes close to individual training. How well that ranks is not assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluator import SharedWeights
from archsearch.evaluators.training import Meter, Run, Training, _TrainingBelow, read_checkpoint
from archsearch.network import Network
from archsearch.seeding import generator_state, restore_generator, stream
from archsearch.space import Space, at_least_one
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation

Sampler = Literal["uniform", "fair"]
Statistics = Literal["recomputed", "batch", "inherited"]


class OneShot(_TrainingBelow):
    """Scores an architecture with weights inherited from a super-network that is trained once, beforehand.

    Reported: what ``Training`` reports, of the network with inherited weights. Set-up: the training of the
    super-network; a run that is resumed goes on from the last finished epoch. Its floating-point operations are those
    of the mean of 16 random paths. Per architecture: passes over data, and the updates if there are ``steps``.

    Args:
        training: How to train the super-network, and the task and skeleton of the scoring; None: ``Training()``.
        sampler: Paths of an update: uniform (one random architecture, SPOS) or fair (as many as a choice has
            candidates, each candidate of each choice exactly once, FairNAS; all choices must have equally many).
        statistics: Of batch normalisation in scoring: recomputed from training images, those of the batch that is
            scored, or inherited as they are.
        statistics_batches: Training batches that statistics are recomputed from, >= 1.
        steps: Updates of the inherited weights before an architecture is scored, >= 0.
        learning_rate: Of these updates, at the start of their cosine schedule; None: that of the training.
        seed: Of the super-network: initial weights, paths, order of the images; >= 0.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self,
        training: Training | None = None,
        sampler: Sampler = "uniform",
        statistics: Statistics = "recomputed",
        statistics_batches: int = 4,
        steps: int = 0,
        learning_rate: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(training)
        self.sampler = sampler
        self.statistics = statistics
        self.statistics_batches = at_least_one("OneShot", "statistics_batches", statistics_batches)
        self.steps = steps
        self.learning_rate = learning_rate
        self.seed = seed
        self._weights: dict[str, npt.NDArray[Any]] = {}
        for name, value, known in (("sampler", sampler, Sampler), ("statistics", statistics, Statistics)):
            if value not in get_args(known):
                raise UsageError(f"OneShot: {name}: expected one of {', '.join(get_args(known))}, got {value!r}")
        for name, number in (("steps", steps), ("seed", seed)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise UsageError(f"OneShot: {name}: expected a whole number >= 0, got {number!r}")

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

    def start(self, space: Space) -> None:
        """Binds the evaluator to a space; the super-network of another one is forgotten."""
        super().start(space)
        self._weights = {}

    # -- the super-network -------------------------------------------------------------------------

    def prepare(self) -> Cost:
        """Trains the super-network, or what is left to train of it; nothing if it is there already."""
        if self._weights:
            return NO_COST
        training = self.training
        training.prepare()
        file = None if self.folder is None else self.folder / "super-network.safetensors"
        paths = {"uniform": UniformPaths, "fair": FairPaths}[self.sampler](self.space, self.seed)
        per_epoch = training.updates_per_epoch
        total = training.recipe.epochs * per_epoch
        with training.session() as meter:
            run = training.begin(None, self.seed)
            saved = None if file is None else read_checkpoint(file)
            if saved is not None:
                training.put_back(run, *saved)
                restore_generator(paths.rng, saved[1]["paths"])
            while run.step < total:
                training.train(run, run.step + per_epoch, total, meter, paths=paths.draw)
                if file is not None:
                    training.write(run, file, paths=generator_state(paths.rng))
            # NumPy arrays, since Ray gives them to all workers of a machine without a copy for each.
            self._weights = {name: value.cpu().numpy() for name, value in run.network.state_dict().items()}
            return meter.cost()

    # -- scoring -----------------------------------------------------------------------------------

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Scores an architecture with inherited weights; ``seed`` decides the images of statistics and updates.

        Raises:
            UsageError: If there is no super-network yet.
        """
        self.space.validate(architecture)
        if not self._weights:
            raise UsageError("OneShot.evaluate: there is no super-network yet; call prepare() first, as a search does")
        training = self.training
        with training.session() as meter:
            run = training.begin(architecture, seed)
            inherit(run.network, self._weights)
            if self.steps:
                training.train(run, self.steps, self.steps, meter, self.learning_rate)
            elif self.statistics == "recomputed":
                self._recompute_statistics(run, meter)
            run.batch_statistics = self.statistics == "batch"
            if run.batch_statistics:
                run.curve.clear()  # what was scored with the running statistics
            return training.report([run], meter)

    def _recompute_statistics(self, run: Run, meter: Meter) -> None:
        """Means and variances over some training batches take the place of the inherited ones."""
        layers = [module for module in run.network.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the mean over all batches
        run.network.train()
        with torch.no_grad():
            for images in self.training.batches(run, self.statistics_batches):
                run.network(images)
                meter.forwarded(len(images), self.training.size(run)[0])
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def inherit(network: Network, weights: dict[str, npt.NDArray[Any]]) -> None:
    """Gives a stand-alone network the super-network's values of the same names, or their leading slices if larger."""
    with torch.no_grad():
        for name, value in network.state_dict().items():
            part = weights[name][tuple(map(slice, value.shape))]
            value.copy_(torch.from_numpy(np.array(part)))


# -- path samplers -----------------------------------------------------------------------------


class UniformPaths:
    """One architecture per update, drawn uniformly (SPOS).

    Args:
        space: Where to draw from.
        seed: Root seed, >= 0.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self.space = space
        self.rng = stream(seed, "paths")

    def draw(self) -> Sequence[Architecture]:
        """The architectures of the next update."""
        return [self.space.sample(self.rng)]


class FairPaths(UniformPaths):
    """As many architectures per update as a choice has candidates; each candidate is in exactly one (FairNAS)."""

    def draw(self) -> Sequence[Architecture]:
        """The architectures of the next update: each choice deals out its candidates in random order."""
        assert self.space.arities is not None
        dealt = [self.rng.permutation(arity).tolist() for arity in self.space.arities]
        return list(zip(*dealt, strict=True))
