"""What policies make of logits, and what they descend: one place for all of them, in closed form.

Reference: Pham et al., "Efficient neural architecture search via parameter sharing", ICML 2018 (ENAS): logits are
divided by a temperature and squashed, the entropy is rewarded, and skip connections are kept near a prior.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np


class PolicyLoss(NamedTuple):
    """-mean(advantage * log p(a) + entropy_weight * entropy - skip_weight * divergence), by the logits.

    Entropy and divergence are summed over the decisions on the way to an architecture; the divergence is that of
    Kullback and Leibler, of a skip's probability from its prior, over the decisions that are skips.

    Attributes:
        entropy_weight: See ``Reinforce``.
        temperature: Likewise.
        bound: Likewise.
        skip_prior: Likewise; None: there is no such term.
        skip_weight: Likewise.
        skips: Positions of the decisions that are skips; of their two options, 1 says that it is there.
    """

    entropy_weight: float = 0.0
    temperature: float = 1.0
    bound: float | None = None
    skip_prior: float | None = None
    skip_weight: float = 0.0
    skips: frozenset[int] = frozenset()

    def squash(self, logits: Any) -> tuple[Any, Any]:
        """What a network gave, an array, as logits of a softmax, and their derivative by it: an array or a number."""
        if self.bound is None:
            return (logits, 1.0) if self.temperature == 1 else (logits / self.temperature, 1 / self.temperature)
        tangent = np.tanh(logits / self.temperature)
        return self.bound * tangent, self.bound / self.temperature * (1 - tangent * tangent)

    def ascent(self, logs: Any, options: Any, advantages: Any, slopes: Any, positions: Any) -> Any:
        """What is averaged in the loss, with the other sign, by what ``squash`` was given.

        With p the softmax of a decision's logits z, H its entropy, a its option, and D the divergence of p from r, in
        closed form::

            d log p_a / d z_j = [j = a] - p_j      d H / d z_j = -p_j (log p_j + H)
            d D / d z_j = p_j (log p_j - log r_j - D)

        Args:
            logs: Log-probabilities of the options of decisions, shape (..., options); -1e9 where there is none.
            options: Those that were taken, shape (...).
            advantages: Of their architectures, of a shape that goes with ``logs``.
            slopes: The derivative from ``squash``.
            positions: Of the decisions in their architectures, of a shape that goes with ``options``.
        """
        p = np.exp(logs)
        ascent = -p
        np.put_along_axis(ascent, options[..., None], 1 + np.take_along_axis(ascent, options[..., None], -1), -1)
        ascent *= advantages
        if self.entropy_weight:
            ascent -= self.entropy_weight * p * (logs - (p * logs).sum(-1, keepdims=True))
        if self.skip_prior is not None:
            log_prior = np.zeros(logs.shape[-1], logs.dtype)
            log_prior[:2] = math.log(1 - self.skip_prior), math.log(self.skip_prior)
            apart = logs - log_prior
            pull = self.skip_weight * p * (apart - (p * apart).sum(-1, keepdims=True))
            ascent -= np.where(np.isin(positions, list(self.skips))[..., None], pull, 0)
        ascent *= slopes
        return ascent
