"""What a comparison of evaluators advises: right where the answer is known, and no more than its seeds can tell."""

import itertools
import math
import re

import numpy as np
import pytest
from comparison_lab import CHEAP, DEAR, SHARED, SPACE, quality

from archsearch.judging.compared import recommend
from archsearch.judging.comparison_report import sentences
from archsearch.ranking import best_of


def test_advice_is_right_where_the_answer_is_known(crossing):
    """Expected truth of each pick by the formula of the best of n; the margins are many standard errors."""
    whole = list(SPACE.enumerate())
    truth = np.array([quality(each) for each in whole])
    expected = {}
    for name, each in (("cheap", CHEAP), ("dear", DEAR), ("shared", SHARED)):
        noise = each.noise * np.random.Generator(np.random.PCG64(0)).standard_normal((200, len(truth)))
        counts = [min(400, int((budget - each.set_up) / each.each)) for budget in crossing.budgets]
        expected[name] = [
            np.mean([best_of(truth, truth + row, n) for row in noise]) if n > 0 else -math.inf for n in counts
        ]
    best = [max(expected, key=lambda name: expected[name][i]) for i in range(4)]
    assert best == ["cheap", "cheap", "shared", "dear"]
    found = crossing.recommendations()
    assert [each.name for each in found] == best
    for i, each in enumerate(found):
        assert each.truth == pytest.approx(expected[each.name][i], abs=0.6)
    assert "cheap" in crossing.recommend(100)
    assert "shared" in crossing.recommend(2_000)
    assert "With 5.6 h of billed cost: dear leads" in crossing.recommend(20_000)
    assert "least budget" in crossing.recommend(1)


def test_sentences_name_ranges_and_rivals(crossing):
    said = sentences(crossing)
    assert re.match(r"With 30 s to 3.3 min of billed cost: cheap leads\. Its picks have a true score of ", said[0])
    assert len(said) == 3
    level = crossing.recommendations()[-1].level  # said as a search with ``certainty`` says it
    assert level
    assert f"leads, and is not distinguishable from {len(level)} other" in said[-1]
    assert f" at 5 % ({'; '.join(level)}). Its picks have" in said[-1]
    assert "over 10 seeds" in said[-1]
    assert f"the best: {crossing.best:.4g}" in said[-1]


def test_advice_cheap_and_bad_dear_and_good():
    rng = np.random.Generator(np.random.PCG64(0))
    bad, good = rng.normal(1, 0.1, (8, 1)), rng.normal(2, 0.1, (8, 1))
    nothing = np.full((8, 1), math.nan)
    both = {"bad": np.hstack([bad, bad]), "good": np.hstack([nothing, good])}
    assert [each.name for each in recommend(both, [1, 2])] == ["bad", "good"]
    assert recommend(both, [1, 2])[1].level == ()
    assert recommend({"none": nothing}, [1])[0].name is None
    # What chance alone tells apart is level, and does not change the advice.
    common = rng.normal(0, 1, (8, 1))
    alike = common + 0.01 * rng.normal(0, 1, (8, 2, 6)).transpose(1, 0, 2)
    advice = recommend({"a": alike[0], "b": alike[1]}, range(1, 7))
    free = ["ab"[int(np.argmax(alike[:, :, i].mean(axis=1)))] for i in range(6)]
    kept = [each.name for each in advice]
    assert sum(a != b for a, b in itertools.pairwise(kept)) < sum(a != b for a, b in itertools.pairwise(free))
    assert all(each.level == ({"a": ("b",), "b": ("a",)}[each.name]) for each in advice)


def test_a_clearly_better_one_takes_over_though_few_seeds_cannot_prove_it():
    values = {"first": np.array([[2.0, 2.0], [2.1, 2.6]]), "later": np.array([[1.0, 3.0], [1.1, 3.1]])}
    advice = recommend(values, [1, 2])
    assert [each.name for each in advice] == ["first", "later"]
    assert advice[1].level == ("first",)  # 0.75 with a standard error of 0.25, and t is 12.7


def test_one_seed_tells_nothing_apart_by_luck_but_says_so():
    found = recommend({"a": np.array([[1.0]]), "b": np.array([[2.0]])}, [5])
    assert found[0].name == "b"
    assert math.isnan(found[0].spread)
