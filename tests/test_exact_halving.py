"""Successive halving promotes exactly whom Algorithm 2 of the paper does, however long a rung has become."""

import bisect
import json
import random

import pytest

from archsearch.controllers import successive_halving as module
from archsearch.controllers.successive_halving import Hyperband, SuccessiveHalving
from archsearch.testing import FixedSpace
from archsearch.trial import Evaluation, Trial


def candidate(score, id_):
    return module._Candidate(-score, id_, id_, (0, 1))


def stream(kind, n, seed=0):
    """Scores in the order in which they come."""
    rng = random.Random(seed)
    if kind == "random":
        return [rng.random() for _ in range(n)]
    if kind == "few values":
        return [float(rng.randrange(4)) for _ in range(n)]
    if kind == "ever better":
        return [i + rng.random() for i in range(n)]
    if kind == "ever worse":
        return [rng.random() - i for i in range(n)]
    if kind == "better, then hopeless":
        return [float(i) for i in range(n // 4)] + [-rng.random() for _ in range(n - n // 4)]
    return [rng.gauss(i / n, 0.2) for i in range(n)]  # a search that learns


KINDS = ["random", "few values", "ever better", "ever worse", "better, then hopeless", "learning"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_promotions_are_those_of_the_paper(kind, reduction):
    """By brute force: all results in order, and those of the top that were not promoted."""
    rung, ordered, promoted, rng = module._Rung(), [], set(), random.Random(1)
    for id_, score in enumerate(stream(kind, 1500)):
        rung.add(candidate(score, id_))
        bisect.insort(ordered, (-score, id_))
        for _ in range(rng.choice((0, 1, 1, 2))):
            able = (each for _, each in ordered[: len(ordered) // reduction] if each not in promoted)
            expected = next(able, None)
            got = rung.promote(reduction)
            assert (None if got is None else got.id) == expected
            if expected is not None:
                promoted.add(expected)
        if id_ % 500 == 499:  # stopped and resumed
            rung = module._Rung.of_state(json.loads(json.dumps(rung.state())))
    assert promoted


@pytest.mark.parametrize("cls", [SuccessiveHalving, Hyperband])
def test_out_of_order_results_and_failures_promote_as_the_paper_does(cls):
    controller, rng = cls(min_budget=1, max_budget=9), random.Random(3)
    controller.start(FixedSpace(), 0)
    lengths = [[1, 3, 9]] if cls is SuccessiveHalving else [[1, 3, 9], [3, 9], [9]]
    rungs = {(bracket, length): [] for bracket, each in enumerate(lengths) for length in each}
    promoted, of_bracket, due, promotions = set(), {}, [], 0
    for _ in range(4000):
        expected = None
        for bracket, length in sorted(rungs, key=lambda place: -place[1]):
            if length != 9 and expected is None:
                results = rungs[bracket, length]
                top = results[: len(results) // 3]
                able = [id_ for _, id_ in top if id_ not in promoted]
                if able:
                    expected = (able[0], lengths[bracket][lengths[bracket].index(length) + 1])
                    promoted.add(able[0])
        (proposal,) = controller.ask()
        if expected is None:
            assert proposal.budget.start == 0
            of_bracket[proposal.id] = next(i for i, each in enumerate(lengths) if each[0] == proposal.budget.stop)
        else:
            promotions += 1
            assert (proposal.parent, proposal.budget.stop) == expected
            of_bracket[proposal.id] = of_bracket[proposal.parent]
        due.append(proposal)
        if len(due) >= 8:
            done = due.pop(rng.randrange(len(due)))
            if rng.random() < 0.1:
                controller.tell([Trial(done.id, done.architecture, failure="exception", budget=done.budget)])
                continue
            score = round(rng.random(), 3)
            bisect.insort(rungs[of_bracket[done.id], done.budget.stop], (-score, done.id))
            controller.tell([Trial(done.id, done.architecture, None, Evaluation(score), budget=done.budget)])
    assert promotions > 500


def test_a_third_is_promoted_of_a_hundred_thousand():
    rung, promoted = module._Rung(), 0
    for id_, score in enumerate(stream("random", 100_000)):
        rung.add(candidate(score, id_))
        while rung.promote(3):
            promoted += 1
    assert promoted / 100_000 == pytest.approx(1 / 3, abs=0.004)  # the surplus is of the first results


def test_a_state_of_an_older_version_goes_on():
    """It had a sample of the results, here all of them, and the best of those that wait."""
    ordered = sorted((-score, id_) for id_, score in enumerate(stream("random", 150)))
    waiting = [[score, id_, id_, [0, 1]] for score, id_ in ordered if id_ % 2]
    old = {"results": 150, "every": 1, "candidates": waiting, "sample": [list(each) for each in ordered]}
    rung = module._Rung.of_state(json.loads(json.dumps(old)))
    promoted = []
    while best := rung.promote(3):
        promoted.append(best.id)
    assert promoted == [id_ for _, id_ in ordered[:50] if id_ % 2]
