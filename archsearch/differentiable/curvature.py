"""The largest eigenvalue of a loss over some parameters, from products with the Hessian alone.

Zela et al., "Understanding and robustifying differentiable architecture search", ICLR 2020: where it grows, the
validation loss is sharp around the architecture parameters, and discretisation costs much.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

ITERATIONS = 30
"""Products with the Hessian at most."""

PRECISION = 1e-3
"""Relative change of the eigenvalue at which the iteration ends."""


def largest_eigenvalue(
    loss: torch.Tensor, leaves: Sequence[torch.Tensor], iterations: int = ITERATIONS, precision: float = PRECISION
) -> tuple[float, int]:
    """The eigenvalue of largest absolute value of the Hessian of ``loss``, by power iteration.

    Args:
        loss: A scalar that was computed from the leaves.
        leaves: The parameters.
        iterations: Products with the Hessian at most, >= 1.
        precision: Relative change at which the iteration ends.

    Returns:
        The eigenvalue, with its sign, and how many products it took.
    """
    slopes = torch.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)
    used = [(leaf, slope) for leaf, slope in zip(leaves, slopes, strict=True) if slope is not None]
    own, flat = [leaf for leaf, _ in used], torch.cat([slope.flatten() for _, slope in used])
    vector = torch.ones_like(flat)
    # Not all alike: shifting all parameters of a choice does not change a softmax.
    vector += torch.linspace(-1, 1, len(flat)).to(flat)
    vector /= vector.norm()
    value = 0.0
    for n in range(1, iterations + 1):
        product = torch.cat(
            [
                (torch.zeros_like(leaf) if each is None else each).flatten()
                for leaf, each in zip(
                    own,
                    torch.autograd.grad(flat @ vector, own, retain_graph=True, allow_unused=True),
                    strict=True,
                )
            ]
        )
        before, value = value, float(vector @ product)
        norm = product.norm()
        if not norm > 0 or abs(value - before) <= precision * abs(value):
            return value, n
        vector = product / norm
    return value, iterations
