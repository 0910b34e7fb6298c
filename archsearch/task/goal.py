"""What networks are trained for: a loss, a metric with a direction, and the order in which examples are dealt out.

A task has a goal; the training loop asks it for everything that depends on what inputs and targets are. Whatever is
predicted, a search maximises a score: the metric where more of it is better, else the loss with a minus.
"""

from __future__ import annotations

import abc
from typing import ClassVar, Literal, NamedTuple

import torch
from torch.nn import functional

from archsearch.basics.kinds import IMAGES, TOKENS

Order = Literal["shuffled", "segments"]


class Judged(NamedTuple):
    """How good a network is on a part of a task.

    Attributes:
        score: What a search maximises.
        loss: Mean over the examples.
        metric: What people read.
    """

    score: float
    loss: float
    metric: float


class Goal(abc.ABC):
    """Base class of goals. Tallies of batches are added up, so that a metric need not be a mean over examples.

    Attributes:
        kind: Of the network that is wanted, one of ``archsearch.basics.kinds``.
        metric: Its name, such as accuracy.
        higher_is_better: Its direction.
        order: How examples are dealt out: shuffled, each apart from the others; or segments of a few long streams, one
            after the other, each of which a network begins with the hidden state that the one before left.
    """

    kind: ClassVar[str]
    metric: ClassVar[str]
    higher_is_better: ClassVar[bool]
    order: ClassVar[Order]

    @abc.abstractmethod
    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        """The mean loss of a batch, which training minimises.

        Args:
            outputs: Of a network.
            targets: Of the batch.
            smoothing: Of the labels, where targets are such; 0 <= smoothing < 1.
        """

    @abc.abstractmethod
    def tally(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Sums over a batch from which loss and metric follow, of 64-bit floats, on the processor."""

    @abc.abstractmethod
    def figures(self, tally: torch.Tensor) -> tuple[float, float]:
        """Mean loss and metric of what was tallied."""

    def judged(self, tally: torch.Tensor) -> Judged:
        """How good what was tallied is."""
        loss, metric = self.figures(tally)
        return Judged(metric if self.higher_is_better else -loss, loss, metric)


class Classification(Goal):
    """Images are told apart: cross-entropy, and accuracy in percent."""

    kind = IMAGES
    metric = "accuracy"
    higher_is_better = True
    order = "shuffled"

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        """Mean cross-entropy of logits, shape (batch, classes)."""
        return functional.cross_entropy(outputs, targets, label_smoothing=smoothing)

    def tally(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Images, those that are right, and the sum of their cross-entropies."""
        right = int((outputs.argmax(1) == targets).sum())
        loss = float(functional.cross_entropy(outputs, targets, reduction="sum"))
        return torch.tensor([len(targets), right, loss], dtype=torch.float64)

    def figures(self, tally: torch.Tensor) -> tuple[float, float]:
        """Mean cross-entropy, and accuracy in percent."""
        images, right, loss = tally.tolist()
        return loss / images, 100 * right / images


class NextToken(Goal):
    """The next token of a text is predicted: cross-entropy in nats a token, and perplexity, its exponential."""

    kind = TOKENS
    metric = "perplexity"
    higher_is_better = False
    order = "segments"

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        """Mean cross-entropy of logits, shape (streams, length, vocabulary)."""
        return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), label_smoothing=smoothing)

    def tally(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Tokens, and the sum of their cross-entropies."""
        loss = float(functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="sum"))
        return torch.tensor([targets.numel(), loss], dtype=torch.float64)

    def figures(self, tally: torch.Tensor) -> tuple[float, float]:
        """Mean cross-entropy, and perplexity."""
        tokens, loss = tally.tolist()
        return loss / tokens, float(torch.tensor(loss / tokens, dtype=torch.float64).exp())
