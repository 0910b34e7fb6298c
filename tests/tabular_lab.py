"""What the tests of ``Tabular`` and ``Function`` have in common."""

from __future__ import annotations

from archsearch.evaluators import Tabular
from archsearch.space import Space
from archsearch.spaces import Choices, NASBench201


def started(space=None, **settings) -> Tabular:
    evaluator = Tabular(**settings)
    evaluator.start(space or NASBench201())
    return evaluator


class Numbers(Space):
    def __init__(self) -> None:
        super().__init__(arities=[5] * 6)


SPACE = Choices({"kernel": [3, 5], "width": [16, 32]})
