"""A controller and the results of others: those of an older run, of a person, of an adviser."""

from __future__ import annotations

import json

import numpy as np

from archsearch.controller import Controller
from archsearch.space import Space
from archsearch.testing.suite import MakeController, controller_check, expect
from archsearch.testing.toys import FixedSpace, VariableLengthSpace, score, search, started
from archsearch.trial import Budget, Evaluation, Proposal, Trial

OTHERS = 60
"""Results of others that a controller hears."""


@controller_check
def hears_results_of_others(make: MakeController) -> None:
    """Results that it did not propose may come before the first proposal and at any time after: asking goes on.

    Failures and results of several lengths are among them. Its own ids rise by one all the same; a parent is one of
    its own proposals or a negative id that it has heard; and what it has heard is part of its state.
    """
    for space in (FixedSpace(), VariableLengthSpace()):
        controller = started(make, space)
        controller.hear(others(space, OTHERS))
        proposals = search(controller, 40)
        controller.hear(others(space, OTHERS, seed=2))
        restored = started(make, space, seed=2)
        restored.load_state_dict(json.loads(json.dumps(controller.state_dict())))
        going_on, resumed = _after(controller), _after(restored)
        expect(going_on == resumed, "after results of others its state does not say how it goes on")
        proposals += going_on
        expect([proposal.id for proposal in proposals] == list(range(80)), "what it heard has moved its own ids")
        for proposal in proposals:
            expect(proposal.architecture in space, f"proposal {proposal.id} is not in the space")
            known = proposal.parent is None or -2 * OTHERS <= proposal.parent < proposal.id
            expect(known, f"proposal {proposal.id} names {proposal.parent!r} as its parent, which it never heard of")
            budget = proposal.budget
            own = budget is None or budget.origin is None or budget.origin >= 0
            expect(own, f"proposal {proposal.id} goes on with the training of others, which is not there")


def _after(controller: Controller) -> list[Proposal]:
    return search(controller, 40)


def others(space: Space, n: int, seed: int = 1) -> list[Trial]:
    """Results that nobody asked for: good and bad ones, failures, trained to several lengths, with curves."""
    rng = np.random.default_rng(seed)
    trials = []
    for id_ in range(n):
        architecture = space.sample(rng)
        found = score(architecture)
        budget = Budget(1 + id_ % 9) if id_ % 4 == 0 else None
        evaluation = None if id_ % 7 == 3 else Evaluation(found, {"params": 1.0}, curve=(found / 2,) * (1 + id_ % 9))
        trials.append(
            Trial(id_, architecture, None, evaluation, budget=budget, failure="" if evaluation else "timeout")
        )
    return trials
