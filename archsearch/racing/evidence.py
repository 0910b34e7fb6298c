"""What noisy scores prove, at whatever moment one looks: figures in units of the noise, all of them valid together.

Scores of one architecture are taken to be normal around its true score, with one spread for all. A mixture of
likelihood ratios over normal alternatives (Robbins, "Statistical methods related to the law of the iterated logarithm",
1970) is a martingale with mean 1 at the true score, so it exceeds 1 / error at any time with at most that probability
(Ville), whoever decides, by whatever was seen, which architecture is scored next. ``radius`` inverts it for one
architecture (Howard, Ramdas, McAuliffe & Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences",
Annals of Statistics 2021, section 3.2); the product for two architectures, at the most favourable true scores that deny
that one is better, is ``evidence`` (Kaufmann & Koolen, "Mixture martingales revisited with applications to sequential
tests and confidence intervals", JMLR 2021).
"""

from __future__ import annotations

import functools
import math

RHO = 0.5
"""How many scores the normal alternatives are worth: the bounds are tightest for about 8 scores, and valid for all."""


def radius(n: int, error: float) -> float:
    """How far the mean of ``n`` scores can be from the true score, but with probability ``error`` for all n together.

    In units of the noise; to both sides.
    """
    return math.sqrt((n + RHO) * (math.log((n + RHO) / RHO) - 2.0 * math.log(error))) / n


def evidence(gap: float, n: int, m: int) -> float:
    """Logarithm of the evidence that the mean which is higher by ``gap`` belongs to the higher true score.

    It exceeds log(1 / error) at any time with at most the probability ``error`` where that is not so.

    Args:
        gap: Difference of the means, in units of the noise.
        n: Scores in one of them.
        m: Scores in the other.
    """
    if gap <= 0.0:
        return 0.0
    spread = (n + RHO) / (n * n) + (m + RHO) / (m * m)
    return gap * gap / (2.0 * spread) - 0.5 * math.log((n + RHO) * (m + RHO) / (RHO * RHO))


def single_radius(error: float) -> float:
    """As ``radius`` for a first score, looked at alone."""
    from scipy.special import ndtri

    return -float(ndtri(error / 2.0))


@functools.lru_cache(maxsize=1_024)
def least_chi_square(count: int, error: float) -> float:
    """What the sum of ``count`` squares of standard normal numbers falls below with probability ``error``."""
    from scipy.special import gammaincinv

    return 2.0 * float(gammaincinv(count / 2.0, error))
