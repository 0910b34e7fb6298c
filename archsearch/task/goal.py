"""What networks are trained for: a loss, a metric with a direction, and the order in which examples are dealt out.

A task has a goal; the training loop asks it for everything that depends on what inputs and targets are. Whatever is
predicted, a search maximises a score: the metric where more of it is better, else the loss with a minus.
"""

from __future__ import annotations

import abc
from typing import ClassVar, Literal, NamedTuple

import torch
from torch.nn import functional

from archsearch.basics.kinds import IMAGES, PIXELS, TABLES, TOKENS

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
        smooths: Whether targets are labels, which can be smoothed.
    """

    kind: str
    smooths: ClassVar[bool] = True
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

    def distilled(self, outputs: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """What training minimises where a teacher's outputs are the targets (Hinton et al. 2015).

        By default the mean cross-entropy of logits with the probabilities that the teacher's logits give.

        Args:
            outputs: Of a network, shape (..., classes).
            teacher: The same; without gradient.
        """
        return functional.cross_entropy(outputs.flatten(0, -2), teacher.flatten(0, -2).softmax(-1))

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
    """Examples are told apart: cross-entropy, and accuracy in percent.

    Args:
        kind: Of the network that is wanted: for images or for tables.
    """

    metric = "accuracy"
    higher_is_better = True
    order = "shuffled"

    def __init__(self, kind: str = IMAGES) -> None:
        self.kind = kind

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        """Mean cross-entropy of logits, shape (batch, classes)."""
        return functional.cross_entropy(outputs, targets, label_smoothing=smoothing)

    def tally(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Examples, those that are right, and the sum of their cross-entropies."""
        right = int((outputs.argmax(1) == targets).sum())
        loss = float(functional.cross_entropy(outputs, targets, reduction="sum"))
        return torch.tensor([len(targets), right, loss], dtype=torch.float64)

    def figures(self, tally: torch.Tensor) -> tuple[float, float]:
        """Mean cross-entropy, and accuracy in percent."""
        examples, right, loss = tally.tolist()
        return loss / examples, 100 * right / examples


class Regression(Goal):
    """A number is predicted from a row of a table: mean squared error, and R2, the share of the variance explained."""

    kind = TABLES
    smooths = False
    metric = "r2"
    higher_is_better = True
    order = "shuffled"

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        """Mean squared error of outputs, shape (batch, 1), from targets, shape (batch,)."""
        return functional.mse_loss(outputs[:, 0], targets)

    def distilled(self, outputs: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Mean squared difference of the outputs."""
        return functional.mse_loss(outputs, teacher)

    def tally(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Examples, the sum of squared errors, and the sums of the targets and of their squares."""
        wanted = targets.double()
        errors = (outputs[:, 0].double() - wanted).square().sum()
        return torch.stack([torch.tensor(float(len(wanted))), errors, wanted.sum(), wanted.square().sum()]).cpu()

    def figures(self, tally: torch.Tensor) -> tuple[float, float]:
        """Mean squared error, and R2: 1 for a perfect model, 0 for one that always says the mean of the part."""
        examples, errors, total, squares = tally.tolist()
        spread = squares - total**2 / examples
        # As scikit-learn has it, where there is nothing to explain.
        return errors / examples, 1 - errors / spread if spread > 0 else float(errors == 0)


class Segmentation(Goal):
    """Each pixel is told a class: cross-entropy, and the mean over the classes of intersection by union, in percent.

    Classes that are neither in the targets of a part nor predicted are left out of the mean.
    """

    kind = PIXELS
    metric = "mean_iou"
    higher_is_better = True
    order = "shuffled"

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        """Mean cross-entropy of logits, shape (batch, classes, height, width)."""
        return functional.cross_entropy(outputs, targets, label_smoothing=smoothing)

    def distilled(self, outputs: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """See ``Goal``; of logits with the classes in the second place."""
        return functional.cross_entropy(outputs, teacher.softmax(1))

    def tally(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Pixels, the sum of their cross-entropies, and the pixels of each pair (target, prediction)."""
        classes = outputs.shape[1]
        pairs = (targets * classes + outputs.argmax(1)).flatten()
        counts = torch.bincount(pairs, minlength=classes**2).double().cpu()
        loss = float(functional.cross_entropy(outputs, targets, reduction="sum"))
        return torch.cat([torch.tensor([targets.numel(), loss], dtype=torch.float64), counts])

    def figures(self, tally: torch.Tensor) -> tuple[float, float]:
        """Mean cross-entropy, and mean intersection by union in percent."""
        pixels, loss = tally[:2].tolist()
        classes = round((len(tally) - 2) ** 0.5)
        counts = tally[2:].view(classes, classes)
        both, either = counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()
        seen = either > 0
        return loss / pixels, float(100 * (both[seen] / either[seen]).mean())


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
