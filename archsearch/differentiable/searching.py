"""One search by gradient: what a step may ask for, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch

from archsearch.differentiable.costs import CandidateCosts
from archsearch.differentiable.guards import Guard
from archsearch.differentiable.optimisations import Optimisation
from archsearch.differentiable.parameters import ArchitectureParameters
from archsearch.differentiable.part import Pass
from archsearch.differentiable.relaxations import Relaxation
from archsearch.differentiable.resources import Resource
from archsearch.errors import TrainingDiverged
from archsearch.networks.network import Weights
from archsearch.networks.undisturbed import Undisturbed
from archsearch.relaxing import Relaxed
from archsearch.training.loop import Batch, Run, expect_finite, update
from archsearch.training.meter import Meter
from archsearch.training.recipe import Recipe

ARCHITECTURE = "architecture"
"""Name of the optimiser of the architecture parameters in ``Run.others``."""


class Method(NamedTuple):
    """The parts of which a method is put together.

    Attributes:
        relaxation: From parameters to the weights of candidates.
        optimisation: In which order what is updated.
        guards: What may change the weights of candidates or the loss, wipe candidates out, or end the search.
        resource: What is added to the loss; None: nothing.
    """

    relaxation: Relaxation
    optimisation: Optimisation
    guards: Sequence[Guard] = ()
    resource: Resource | None = None


class Costs:
    """Multiply-adds of a pass of a relaxed network; those of single candidates are counted once they are needed.

    Args:
        everything: Of a pass in which all candidates run.
        count: Counts those of single candidates.
        running: Says which of the candidates that have a weight a pass computes.
        resource: Counts what the method's resource is about; None: it is multiply-adds, or there is none.
    """

    def __init__(
        self,
        everything: int,
        count: Callable[[], CandidateCosts],
        running: Callable[[Sequence[Weights]], Sequence[Weights]],
        resource: Callable[[], CandidateCosts] | None = None,
    ) -> None:
        self._everything = everything
        self._count = count
        self._running = running
        self._count_resource = resource
        self._candidates: CandidateCosts | None = None
        self._resource: CandidateCosts | None = None

    @property
    def candidates(self) -> CandidateCosts:
        """Those of each candidate."""
        if self._candidates is None:
            self._candidates = self._count()
        return self._candidates

    @property
    def resource(self) -> CandidateCosts:
        """What the method's resource is about, of each candidate."""
        if self._count_resource is None:
            return self.candidates
        if self._resource is None:
            self._resource = self._count_resource()
        return self._resource

    def of(self, weights: Sequence[Weights], sizes: Sequence[int]) -> int:
        """Of a pass with these weights; ``sizes``: candidates of each choice."""
        if all(len(some) == size for some, size in zip(weights, sizes, strict=True)):
            return self._everything
        return round(self.candidates.of(self._running(weights)))


class Searching:
    """What a step of an ``Optimisation`` may ask for; it is the step of an epoch, as ``run_epochs`` takes it.

    Attributes:
        cross_entropy: Of the newest pass, without what was added to it.

    Args:
        run: The training; its ``others`` have the optimiser of the architecture parameters.
        parameters: The architecture parameters.
        method: The parts.
        recipe: Says which loss, and whether gradients are clipped.
        meter: Adds up what is spent.
        costs: Of a pass.
        rate: The learning rate of the weights in an update, by its number.
        held_out: Batches for the architecture parameters; None: those that the weights are trained on.
        moves: Whether the architecture parameters are updated in this epoch.
        total: Updates of the whole search.
    """

    def __init__(
        self,
        run: Run,
        parameters: ArchitectureParameters,
        method: Method,
        recipe: Recipe,
        meter: Meter,
        costs: Costs,
        rate: Callable[[int], float],
        held_out: Iterator[Batch] | None,
        moves: bool,
        total: int,
    ) -> None:
        self.run = run
        self.parameters = parameters
        self.method = method
        self.recipe = recipe
        self.meter = meter
        self.costs = costs
        self.total = total
        self.cross_entropy = math.nan
        self._rate = rate
        self._held_out = held_out
        self._moves = moves

    def __call__(self, run: Run, batch: Batch, progress: float) -> Sequence[float]:
        """An update; see ``Step``."""
        optimisation = self.method.optimisation
        moves = self._moves and run.step % optimisation.every == 0
        held_out = batch if self._held_out is None or not moves else next(self._held_out)
        return optimisation.step(self, batch, held_out, moves)

    # -- what an optimisation asks for -----------------------------------------------------------

    @property
    def weights(self) -> list[torch.Tensor]:
        """The weights of the network."""
        return list(self.run.network.parameters())

    @property
    def architecture(self) -> list[torch.Tensor]:
        """The architecture parameters."""
        return self.parameters.leaves

    def now(self, searching: bool) -> Pass:
        """The next pass."""
        return Pass(searching, self.run.step / self.total, self.run.generator, self.parameters.choices)

    def loss(self, batch: Batch, searching: bool) -> torch.Tensor:
        """The loss of a new pass, which is billed with its way back.

        Args:
            batch: The images.
            searching: Whether it is for the architecture parameters: then it has what candidates cost in it.
        """
        relaxation = self.method.relaxation
        now = self.now(searching)
        weights = relaxation.weights(self.parameters, now)
        for guard in self.method.guards:
            if guard.perturbs_all or not searching:
                weights = guard.perturbed(weights, now, lambda others: self._tried(batch, others))
        loss = self._passed(batch, weights)
        return self._with_prices(loss, weights, now) if searching else loss

    def _with_prices(self, loss: torch.Tensor, weights: Sequence[Weights], now: Pass) -> torch.Tensor:
        """The loss with what candidates cost, and all penalties."""
        relaxation, parameters = self.method.relaxation, self.parameters
        if self.method.resource is not None:
            strengths = relaxation.priced(parameters, weights)
            loss = self.method.resource.loss(loss, self.costs.resource, strengths)
        penalties = [guard.penalty(relaxation, parameters, now) for guard in self.method.guards]
        for penalty in (relaxation.penalty(parameters), *penalties):
            loss = loss if penalty is None else loss + penalty
        return loss

    def _passed(self, batch: Batch, weights: Sequence[Weights]) -> torch.Tensor:
        """The loss of a pass with these weights, without prices and penalties."""
        run, network = self.run, self.run.network
        assert isinstance(network, Relaxed)
        outputs = network.relaxed(*batch.through(weights))
        loss = run.goal.loss(outputs, batch.targets, self.recipe.label_smoothing)
        self.cross_entropy = expect_finite(loss.item(), self.run)  # read once: each time waits for the device
        self.meter.trained(batch.examples, self.costs.of(weights, self.parameters.sizes))
        return loss

    def _tried(self, batch: Batch, weights: Sequence[Weights]) -> torch.Tensor:
        """The same, which leaves the network as it is."""
        with Undisturbed(self.run.network, batch=True):
            return self._passed(batch, weights)

    def direction(self, gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """What SGD would follow, momentum and decay included; of other optimisers, the gradient with the decay."""
        group, found = self.run.optimizer.param_groups[0], []
        for weight, gradient in zip(self.weights, gradients, strict=True):
            way = gradient + group["weight_decay"] * weight.detach()
            buffer = self.run.optimizer.state[weight].get("momentum_buffer")
            found.append(way if buffer is None else way + group["momentum"] * buffer)
        return found

    def rate(self) -> float:
        """The learning rate of the weights in this update."""
        return self._rate(self.run.step)

    def train_weights(self, batch: Batch) -> float:
        """Updates the weights by their gradient; the loss."""
        self.run.optimizer.zero_grad(set_to_none=True)
        self.loss(batch, False).backward()  # type: ignore[no-untyped-call]
        self.update_weights()
        return self.cross_entropy

    def update_weights(self) -> None:
        """Updates the weights by the gradients that they have."""
        clip = self.recipe.clip_norm
        update(self.run.optimizer, self.rate(), self.run.network.parameters() if clip else (), clip)
        self.meter.updated()

    def move_architecture(self, gradients: Sequence[torch.Tensor]) -> None:
        """Updates the architecture parameters."""
        parameters, relaxation = self.parameters, self.method.relaxation
        for leaf, gradient in zip(parameters.leaves, gradients, strict=True):
            leaf.grad = gradient
        before = parameters.logits.detach().clone()
        relaxation.about_to_step(parameters)
        self.run.others[ARCHITECTURE].step()
        if not all(bool(leaf.isfinite().all()) for leaf in parameters.leaves):
            raise TrainingDiverged(
                f"the architecture parameters are no longer finite after {self.run.step} updates; a smaller "
                f"{relaxation.rate_setting} may help"
            )
        relaxation.stepped(parameters, before, (self.total - self.run.step - 1) // self.method.optimisation.every)
        self.meter.updated()
