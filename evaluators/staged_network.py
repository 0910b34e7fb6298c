"""A super-network that is searched in stages, each in a network of its own; what it ends with is the last one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch

from archsearch.abilities import most_probable
from archsearch.differentiable.stages import Stages
from archsearch.evaluators.relaxed_network import Plan, RelaxedNetwork
from archsearch.networks.network import Network
from archsearch.training.checkpoints import Checkpoint
from archsearch.training.loop import Run
from archsearch.training.trainer import Trainer

_STAGE = 0x61C88647
"""Keeps the stages' initial values and orders of the images apart."""


class StagedNetwork(RelaxedNetwork):
    """Weights and architecture parameters that are trained anew in each stage, with the candidates that are left.

    Args:
        trainer: See ``RelaxedNetwork``; so for all others but the last.
        make: Is given the settings in which the network of a stage is different.
        length: Epochs of all stages together, a multiple of their number.
        seed: >= 0.
        on_epoch: Told after each epoch.
        plan: How to search.
        stages: What is different in each.
    """

    def __init__(
        self,
        trainer: Trainer,
        make: Callable[..., Network],
        length: int,
        seed: int,
        on_epoch: Callable[[int, int], None],
        plan: Plan,
        stages: Stages,
    ) -> None:
        super().__init__(trainer, make, length, seed, on_epoch, plan)
        self._stages = stages
        self._guards = plan.method.guards
        self._facts["stage"] = 0

    def _fresh(self) -> None:
        self._begin_stage(0)

    def _begin_stage(self, stage: int) -> None:
        """A new network and new architecture parameters, with all candidates."""
        self._facts["stage"] = stage
        guards = self._stages.guards(stage, self._frozen / self._span)
        self._method = self._method._replace(guards=(*self._guards, *guards))
        self._begin_run(self._seed ^ stage * _STAGE, functools.partial(self._make, **self._stages.skeleton(stage)))

    def _go_on_from(self, saved: Checkpoint) -> None:
        if saved.facts["stage"]:
            self._begin_stage(saved.facts["stage"])
        super()._go_on_from(saved)

    @property
    def _span(self) -> int:
        return self._length // self._stages.count

    @property
    def _epoch(self) -> int:
        return int(self._facts["stage"]) * self._span + super()._epoch

    def _settle(self, epoch: int) -> None:
        """At the end of the last stage one candidate of each choice is left, and not too many skip connections."""
        parameters = self._parameters
        assert parameters is not None
        if epoch < self._length:
            return

        def skipping(strengths: list[list[float]]) -> Sequence[int]:
            self._facts["strengths"] = strengths
            return self._skipping(most_probable(self, self._trainer.space))

        settled = self._stages.settled(self._facts["strengths"], parameters.choices, skipping)
        self._facts["strengths"] = settled
        for alive, own in zip(parameters.by_choice(parameters.alive), settled, strict=True):
            alive &= torch.tensor(own) > 0

    def _prune(self, run: Run) -> None:
        """At the end of a stage the weakest candidates go, too, and the next stage begins."""
        super()._prune(run)
        parameters, stage = self._parameters, int(self._facts["stage"])
        assert parameters is not None
        if self._epoch % self._span or self._epoch == self._length:
            return
        with torch.no_grad():
            strengths = [own.tolist() for own in self._method.relaxation.all_strengths(parameters)]
        self._stages.drop_weakest(stage, parameters, strengths)
        alive = parameters.alive
        self._begin_stage(stage + 1)
        assert self._parameters is not None
        self._parameters.alive.copy_(alive)
