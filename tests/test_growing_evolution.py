"""``RegularizedEvolution`` that removes nobody, with tournaments of a share: the evolution of Liu et al., ICLR 2018."""

import numpy as np
import pytest
from scipy import stats
from spaces_lab import ALPHA

from archsearch import search
from archsearch.controllers import RegularizedEvolution
from archsearch.errors import UsageError
from archsearch.evaluators import Function
from archsearch.space import Space
from archsearch.spaces import Hierarchical
from archsearch.testing import CONTROLLER_CHECKS
from archsearch.trial import Evaluation, Trial

SPACE = Space(arities=[4] * 6)


def grown(controller, members):
    """The controller, asked and told of so many members, whose scores are their ids."""
    controller.start(SPACE, seed=0)
    for _ in range(members):
        (proposal,) = controller.ask()
        controller.tell([Trial(proposal.id, proposal.architecture, proposal.parent, Evaluation(float(proposal.id)))])
    return controller


def parents(controller, n):
    return [proposal.parent for proposal in controller.ask(n)]


@pytest.mark.parametrize(("members", "drawn"), [(8, 1), (40, 2), (100, 5), (310, 16)])
def test_parents_are_the_best_of_a_share(members, drawn):
    """Of k drawn with replacement from N, the best is the i-th with probability (i^k - (i - 1)^k) / N^k."""
    controller = grown(RegularizedEvolution(8, 0.05, removal="none"), members)
    n = 5000
    counts = np.bincount(parents(controller, n), minlength=members)
    expected = n * np.diff((np.arange(members + 1) / members) ** drawn)
    # From the worst member on, so many together that at least 20 are expected.
    groups = np.floor(np.cumsum(expected) / 20).clip(max=n / 20 - 1).astype(int)
    found, mean = (np.bincount(groups, weights=each) for each in (counts, expected))
    assert stats.chisquare(found[mean > 0], mean[mean > 0]).pvalue > ALPHA


def test_nobody_is_removed():
    kept = grown(RegularizedEvolution(8, 1, removal="none"), 60)
    aged = grown(RegularizedEvolution(8, 1), 60)
    assert set(parents(kept, 2000)) == set(range(60))
    assert set(parents(aged, 2000)) == set(range(52, 60))


def test_the_first_population_is_random():
    controller = RegularizedEvolution(200, 0.05, removal="none")
    history = search(Hierarchical(), controller, Function(sum), trials=400, seed=0).history
    assert [trial.parent is None for trial in history] == [True] * 200 + [False] * 200
    first, later = (np.mean([trial.score for trial in part]) for part in (list(history)[:200], list(history)[-50:]))
    assert later > first + 20, "sums of 46 uniform options have mean 138 and standard deviation 13.6"


@pytest.mark.parametrize("check", ["resume_equals_not_stopping", "results_in_any_order", "settings_round_trip"])
def test_it_keeps_the_contract(check):
    """Of all checks only ``cost_stays_flat`` would fail: as its docstring says, its state grows with the trials."""
    CONTROLLER_CHECKS[check](lambda: RegularizedEvolution(10, 0.2, removal="none"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"removal": "worst"}, "removal: expected one of oldest, none, got 'worst'"),
        ({"tournament_size": 1.5}, "tournament_size: expected a finite number above 0 and below 1, got 1.5"),
        ({"tournament_size": 0.0}, "tournament_size: expected a finite number above 0"),
        ({"tournament_size": 0}, "tournament_size: expected a whole number >= 1"),
        ({"tournament_size": True}, "tournament_size: expected a whole number >= 1"),
    ],
)
def test_settings_out_of_range(wrong, message):
    with pytest.raises(UsageError, match=message):
        RegularizedEvolution(**wrong)
