"""``TrialIds`` against a list of all ids; and what version 0.1.0 stored of them."""

import json

import numpy as np
import pytest

from archsearch.controllers import RegularizedEvolution, SuccessiveHalving
from archsearch.controllers import successive_halving as module
from archsearch.controllers.trial_ids import TrialIds
from archsearch.testing import SeparableSpace
from archsearch.trial import Evaluation, Trial


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("kept", [1, 7, 10_000])
def test_the_newest_proposals_are_remembered_and_no_older_ones(kept, share):
    rng = np.random.default_rng(0)
    ids, known = TrialIds(proposals=kept), []
    for id_ in range(300):
        if rng.random() < share:
            continue  # not of the inner controller
        ids.add(len(known), id_)
        known.append(id_)
        oldest = max(0, len(known) - 1 - kept)
        assert [ids.of(i) for i in range(len(known))] == [None] * oldest + known[oldest:]
        ids = TrialIds(json.loads(json.dumps(ids.state())), proposals=kept)
    assert ids.of(None) is None


@pytest.mark.parametrize("runs", [1, 3])
def test_the_newest_runs_are_remembered_and_no_older_ones(runs):
    ids = TrialIds(runs=runs)
    for inner_id in range(50):
        ids.add(inner_id, inner_id + inner_id // 10 * 3)  # three others after every ten
    begin = 50 - 10 * runs
    assert [ids.of(i) for i in range(50)] == [None] * begin + [i + i // 10 * 3 for i in range(begin, 50)]


def result(proposal):
    return Trial(proposal.id, proposal.architecture, proposal.parent, Evaluation(float(sum(proposal.architecture))))


def test_states_of_0_1_0_go_on_exactly(monkeypatch):
    monkeypatch.setattr(module, "PARENTS", 12)

    def started():
        controller = SuccessiveHalving(RegularizedEvolution(population_size=8, tournament_size=3))
        controller.start(SeparableSpace(), 3)
        return controller

    whole, first = started(), started()
    begun = []
    for each in (whole, first):
        for _ in range(60):
            (proposal,) = each.ask()
            if each is first and proposal.budget.start == 0:
                begun.append(proposal.id)
            each.tell([result(proposal)])
    state = json.loads(json.dumps(first.state_dict()))
    del state["state"]["firsts"]
    state["state"]["trial_ids"] = begun[-12:]
    again = started()
    again.load_state_dict(state)
    for _ in range(60):
        (expected,), (proposal,) = whole.ask(), again.ask()
        assert proposal == expected
        whole.tell([result(expected)])
        again.tell([result(proposal)])
