"""Optimisations: in which order, and by which gradient, weights and architecture parameters are updated.

References: Liu, Simonyan & Yang, "DARTS", ICLR 2019, sections 2.3 and 2.4 (first order, second order by finite
differences, and, as a baseline, one level on all data); He et al., "MiLeNAS", CVPR 2020 (mixed level); Bi et al.,
"Stabilizing DARTS with amended gradient estimation on architectural parameters", 2019 (the Hessian in place of its
inverse).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch

from archsearch.basics.checks import at_least_one, number
from archsearch.differentiable.part import Part
from archsearch.training.loop import Batch

Loss = Callable[[], torch.Tensor]

DIFFERENCE = 0.01
"""Norm of the step of the finite difference (DARTS, section 2.3, footnote)."""


class Search(Protocol):
    """What a step may ask for; ``archsearch.differentiable.searching.Searching`` gives it."""

    @property
    def weights(self) -> list[torch.Tensor]:
        """The weights of the network."""

    @property
    def architecture(self) -> list[torch.Tensor]:
        """The architecture parameters."""

    def loss(self, batch: Batch, searching: bool) -> torch.Tensor:
        """The loss of a new pass, which is billed with its way back.

        In a pass for the architecture parameters, it has what candidates cost in it, and the penalty of the relaxation.
        """

    @property
    def cross_entropy(self) -> float:
        """The loss of that pass without what was added."""

    def direction(self, gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """What the optimiser of the weights would follow, momentum and decay included."""

    def rate(self) -> float:
        """The learning rate of the weights in this update."""

    def train_weights(self, batch: Batch) -> float:
        """Updates the weights by their gradient; the loss."""

    def update_weights(self) -> None:
        """Updates the weights by the gradients that they have."""

    def move_architecture(self, gradients: Sequence[torch.Tensor]) -> None:
        """Updates the architecture parameters."""


class Optimisation(Part):
    """Base of all optimisations. An author writes ``gradient``, or ``step`` where that is not all.

    Args:
        every: The architecture parameters are updated in every so manyth step, >= 1.

    Attributes:
        holds_out: Whether it needs training images that the weights are not trained on.
    """

    written = ("gradient", "step")
    holds_out: bool = True
    every: int = 1

    def __init__(self, every: int = 1) -> None:
        self.every = at_least_one(type(self).__name__, "every", every)

    def step(self, search: Search, batch: Batch, held_out: Batch, moves: bool) -> Sequence[float]:
        """One update of the weights and, if it ``moves``, of the architecture parameters.

        Args:
            search: What may be asked for.
            batch: Images for the weights.
            held_out: Others, for the architecture parameters; the same, if it holds none out.
            moves: Whether the architecture parameters are updated.

        Returns:
            The losses that the weights were trained with.
        """
        if moves:
            search.move_architecture(self.gradient(search, batch, held_out))
        return [search.train_weights(batch)]

    def gradient(self, search: Search, batch: Batch, held_out: Batch) -> Sequence[torch.Tensor]:
        """What the architecture parameters follow, one tensor for each; arguments as those of ``step``."""
        raise NotImplementedError


class FirstOrder(Optimisation):
    """The architecture parameters follow the gradient at the present weights, then the weights follow theirs."""

    def gradient(self, search: Search, batch: Batch, held_out: Batch) -> Sequence[torch.Tensor]:
        """See ``Optimisation``."""
        return gradients(search.loss(held_out, True), search.architecture)


class SecondOrder(Optimisation):
    """The architecture parameters follow the gradient through one step of the weights, by finite differences."""

    def gradient(self, search: Search, batch: Batch, held_out: Batch) -> Sequence[torch.Tensor]:
        """See ``Optimisation``."""
        return unrolled_gradient(
            lambda: search.loss(batch, True),
            lambda: search.loss(held_out, True),
            search.weights,
            search.architecture,
            search.rate(),
            search.direction,
        )


class Amended(Optimisation):
    """The architecture parameters follow the gradient with the Hessian of the weights in place of its inverse.

    Args:
        every: See ``Optimisation``.
        amendment: Weight of the second term, > 0. The default is ours.
    """

    def __init__(self, every: int = 1, amendment: float = 0.1) -> None:
        super().__init__(every)
        self.amendment = number("Amended", "amendment", amendment, above=0)

    def gradient(self, search: Search, batch: Batch, held_out: Batch) -> Sequence[torch.Tensor]:
        """See ``Optimisation``."""
        return amended_gradient(
            lambda: search.loss(batch, True),
            lambda: search.loss(held_out, True),
            search.weights,
            search.architecture,
            self.amendment,
        )


class OneLevel(Optimisation):
    """Weights and architecture parameters follow one gradient, on all training images."""

    holds_out = False

    def step(self, search: Search, batch: Batch, held_out: Batch, moves: bool) -> Sequence[float]:
        """See ``Optimisation``."""
        if not moves:
            return [search.train_weights(batch)]
        loss = search.loss(batch, True)
        leaves = [*search.weights, *search.architecture]
        found = torch.autograd.grad(loss, leaves, allow_unused=True)
        own = len(search.weights)
        for weight, gradient in zip(search.weights, found[:own], strict=True):
            weight.grad = gradient
        search.update_weights()
        search.move_architecture(filled(found[own:], search.architecture))
        return [search.cross_entropy]


class MixedLevel(Optimisation):
    """The architecture parameters follow the gradient on both parts of the training images (MiLeNAS).

    Args:
        every: See ``Optimisation``.
        held_out_weight: Of the gradient on the images that the weights are not trained on, > 0; the other's is 1.
    """

    def __init__(self, every: int = 1, held_out_weight: float = 1.0) -> None:
        super().__init__(every)
        self.held_out_weight = number("MixedLevel", "held_out_weight", held_out_weight, above=0)

    def gradient(self, search: Search, batch: Batch, held_out: Batch) -> Sequence[torch.Tensor]:
        """See ``Optimisation``."""
        own, other = (gradients(search.loss(each, True), search.architecture) for each in (batch, held_out))
        return [a + self.held_out_weight * b for a, b in zip(own, other, strict=True)]


def gradients(loss: torch.Tensor, leaves: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The gradient of a loss; zeros for what it does not depend on."""
    return filled(torch.autograd.grad(loss, leaves, allow_unused=True), leaves)


def filled(found: Sequence[torch.Tensor | None], leaves: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Gradients, with zeros where there are none."""
    return [torch.zeros_like(leaf) if each is None else each for each, leaf in zip(found, leaves, strict=True)]


def unrolled_gradient(
    train: Loss,
    valid: Loss,
    weights: Sequence[torch.Tensor],
    architecture: Sequence[torch.Tensor],
    rate: float,
    direction: Callable[[Sequence[torch.Tensor]], list[torch.Tensor]] = list,
) -> list[torch.Tensor]:
    """The gradient of the validation loss, by the architecture parameters, after one step of the weights.

    DARTS, equations 6 to 8. With w' = w - rate * direction, and g the gradient of ``valid`` by w' there, the second
    term is -rate times the mixed second derivative of ``train`` times g, which is taken from the gradients of
    ``train`` by the architecture parameters at w plus and minus a small multiple of g.

    Args:
        train: Computes the training loss at the present values.
        valid: Computes the validation loss at the present values.
        weights: Leaves; changed meanwhile, and put back.
        architecture: Leaves.
        rate: Length of the step.
        direction: From the gradient by the weights to what is followed; by default itself.
    """
    step = direction(gradients(train(), weights))
    with shifted(weights, step, -rate):
        both = gradients(valid(), [*architecture, *weights])
    first, onward = both[: len(architecture)], both[len(architecture) :]
    second = product(train, weights, onward, architecture)
    return [own - rate * other for own, other in zip(first, second, strict=True)]


def amended_gradient(
    train: Loss,
    valid: Loss,
    weights: Sequence[torch.Tensor],
    architecture: Sequence[torch.Tensor],
    amendment: float,
) -> list[torch.Tensor]:
    """The gradient of the validation loss at weights that are the best ones, with H in place of its inverse.

    The true one is the gradient at fixed weights minus the mixed second derivative of ``train`` times the inverse of
    its Hessian H times g, the gradient of ``valid`` by the weights. Here the second term is ``amendment`` times the
    mixed second derivative times H times g; both products are finite differences. With one weight the two second terms
    point the same way. With several nothing is promised: of random quadratic problems in which the gradient at fixed
    weights is more than 90 degrees off, this one is less than that in about half.

    Args:
        train: Computes the training loss at the present values.
        valid: Computes the validation loss at the present values.
        weights: Leaves; changed meanwhile, and put back.
        architecture: Leaves.
        amendment: Weight of the second term.
    """
    both = gradients(valid(), [*architecture, *weights])
    first, onward = both[: len(architecture)], both[len(architecture) :]
    second = product(train, weights, product(train, weights, onward, weights), architecture)
    return [own - amendment * other for own, other in zip(first, second, strict=True)]


def product(
    loss: Loss, weights: Sequence[torch.Tensor], vector: Sequence[torch.Tensor], leaves: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """Second derivatives of a loss, by leaves and weights, times a vector: a central difference of two gradients.

    Args:
        loss: Computes the loss at the present values.
        weights: Leaves; moved meanwhile along the vector, by a step of norm ``DIFFERENCE``, and put back.
        vector: Of the weights' shapes.
        leaves: By what the gradients are.
    """
    norm = float(torch.sqrt(sum((each.square().sum() for each in vector), torch.zeros(()))))
    if norm == 0:
        return [torch.zeros_like(leaf) for leaf in leaves]
    length, ends = DIFFERENCE / norm, []
    for sign in (1, -1):
        with shifted(weights, vector, sign * length):
            ends.append(gradients(loss(), leaves))
    return [(plus - minus) / (2 * length) for plus, minus in zip(ends[0], ends[1], strict=True)]


@contextmanager
def shifted(values: Sequence[torch.Tensor], by: Sequence[torch.Tensor], times: float) -> Iterator[None]:
    """Inside, values are moved; afterwards they are again what they were, bit by bit."""
    kept = [value.detach().clone() for value in values]
    with torch.no_grad():
        for value, way in zip(values, by, strict=True):
            value.add_(way, alpha=times)
    try:
        yield
    finally:
        with torch.no_grad():
            for value, before in zip(values, kept, strict=True):
                value.copy_(before)
