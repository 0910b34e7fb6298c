"""The base of all guards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from archsearch.differentiable.parameters import ArchitectureParameters
from archsearch.differentiable.part import Part, Pass, Record
from archsearch.differentiable.relaxations import Relaxation
from archsearch.networks.network import Weights


class Retry(NamedTuple):
    """To go back, and on with another weight decay.

    Attributes:
        epoch: The epoch after whose end the search goes on, from 1.
        decay: Weight decay of the network's weights from there on.
    """

    epoch: int
    decay: float


LossOf = Callable[[list[Weights]], torch.Tensor]
"""The training loss with these weights of candidates, of a new pass that is billed with its way back; the network, its
statistics of batches included, stays as it is."""


class Guard(Part):
    """Base of all guards; an author overrides one of the methods.

    Attributes:
        needs_eigenvalue: Whether the largest eigenvalue is to be noted after each epoch, which takes time.
        perturbs_all: Whether it perturbs passes for the architecture parameters, too.
        keeps: So many epochs before the last one ``retry`` may go back; the states of all of them are kept.
    """

    needs_eigenvalue: bool = False
    perturbs_all: bool = False
    keeps: int = 0

    def perturbed(self, weights: list[Weights], now: Pass, loss: LossOf) -> list[Weights]:
        """Changes the weights of candidates while the weights of the network are trained.

        Args:
            weights: Of each choice.
            now: Which pass it is.
            loss: Tries others on the same images.
        """
        return weights

    def penalty(self, relaxation: Relaxation, parameters: ArchitectureParameters, now: Pass) -> torch.Tensor | None:
        """What is added to the loss of the architecture parameters; None: nothing."""
        return None

    def retry(self, records: Sequence[Record], decay: float) -> Retry | None:
        """Whether to go back, told of all epochs so far and of the weight decay; asked before ``stop``."""
        return None

    def stop(self, records: Sequence[Record]) -> int | None:
        """Whether to stop, told of all epochs so far: the epoch whose architecture parameters are taken, or None."""
        return None

    def prune(self, parameters: ArchitectureParameters, now: Pass, records: Sequence[Record]) -> None:
        """May set entries of ``parameters.alive`` to False after an epoch, but for the last candidate of a choice."""
