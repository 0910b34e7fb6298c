"""Random search: the baseline that every other controller must beat.

Each proposal is drawn afresh, so that repeats are possible. By default each decision is uniform given those before it,
as in all controllers; with ``over="architectures"`` all encodings are equally likely where they can be counted. Neither
is uniform over networks: several encodings may compute the same one. In spaces of fixed length the two are the same.

Reference: Bergstra & Bengio, "Random search for hyper-parameter optimization", JMLR 13, 2012; for architecture
search Li & Talwalkar, "Random search and reproducibility for neural architecture search", UAI 2019.
"""

from __future__ import annotations

from typing import get_args

from archsearch.controller import Controller
from archsearch.errors import UsageError
from archsearch.space import Over
from archsearch.trial import Architecture


class RandomSearch(Controller):
    """Random search: every proposal is drawn afresh from the space.

    Args:
        over: What draws are uniform over if decisions depend on earlier ones: ``decisions``, each given those before,
            or ``architectures``, all of them (see ``Space.sample``).

    Raises:
        UsageError: If there is no such ``over``.
    """

    learns = False
    over: Over = "decisions"  # so that subclasses with an __init__ of their own have it

    def __init__(self, over: Over = "decisions") -> None:
        if over not in get_args(Over):
            raise UsageError(f"RandomSearch: over: expected {' or '.join(get_args(Over))}, got {over!r}")
        self.over = over

    def _ask(self) -> Architecture:
        return self.space.sample(self.rng, self.over)
