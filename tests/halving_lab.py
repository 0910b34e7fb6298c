"""Asking and telling, for the tests of ``SuccessiveHalving`` and ``Hyperband``."""

from __future__ import annotations

import pytest

from archsearch import Controller, Evaluation, Trial
from archsearch.controllers.successive_halving import Hyperband, SuccessiveHalving
from archsearch.testing import FixedSpace
from archsearch.trial import Proposal

BOTH = pytest.mark.parametrize("cls", [SuccessiveHalving, Hyperband])


def started(controller: Controller, seed: int = 0) -> Controller:
    controller.start(FixedSpace(), seed)
    return controller


def result(proposal: Proposal, score: float | None, curve: tuple[float, ...] = ()) -> Trial:
    evaluation = None if score is None else Evaluation(score, curve=curve)
    failure = "exception" if score is None else ""
    id_, architecture, parent, budget = proposal
    return Trial(id_, architecture, parent, evaluation, failure=failure, budget=budget)


def ask(controller: Controller) -> Proposal:
    (proposal,) = controller.ask()
    return proposal


def is_new(proposal: Proposal) -> bool:
    assert proposal.budget is not None
    return proposal.budget.start == 0
