"""Progressive search: how many models it trains, that all are the predictor's best, what grows from what."""

import functools
import itertools
import json
import zlib

import numpy as np
import pytest

from archsearch import Evaluation, search
from archsearch.controllers import Finalists, Progressive, RandomSearch
from archsearch.controllers import progressive as module
from archsearch.controllers.growing import Growing
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluators import Function
from archsearch.model import Model, Prediction
from archsearch.models import GaussianProcess, RandomForest
from archsearch.spaces import PNAS, Choices, ConvChain
from archsearch.testing import ConditionalSpace, FixedSpace, VariableLengthSpace
from archsearch.trial import Trial

SPACE = PNAS(least=1)
BEAM = 8


@functools.cache
def worth(architecture):
    """What the known model expects: unlike for all cells, the same for those that are equal."""
    return zlib.crc32(repr(SPACE.canonical(architecture)).encode()) / 2**32


class Known(Model):
    """Expects what it always expected."""

    def _fit(self, rng):
        pass

    def _predict(self, architectures, features):
        return Prediction(np.array([worth(each) for each in architectures]), np.zeros(len(architectures)))


class Additive(Known):
    """As quick as a model can be: the sum of the decisions."""

    def _predict(self, architectures, features):
        return Prediction(np.array(architectures).sum(1).astype(float), np.zeros(len(architectures)))


def run(controller, trials, space=SPACE, ahead=0, score=worth, fails=lambda proposal: False):
    """Proposals of a search in which so many results are late."""
    controller.start(space, 0)
    proposals = []
    for i in range(trials):
        proposals += controller.ask()
        if i >= ahead:
            told = proposals[i - ahead]
            evaluation = None if fails(told) else Evaluation(score(told.architecture))
            controller.tell([Trial(*told[:3], evaluation)])
    return proposals


def nodes(architecture):
    return architecture[0] + 1


def one_more(architecture):
    """All cells with one node more, written out."""
    sources, operations = range(nodes(architecture) + 2), range(8)
    for node in itertools.product(sources, sources, operations, operations):
        yield (architecture[0] + 1, *architecture[1:], *node)


# -- what is trained ---------------------------------------------------------------------------------


@pytest.mark.parametrize("beam", [BEAM, pytest.param(256, marks=pytest.mark.slow)])
def test_136_models_then_a_beam_of_each_size(beam):
    total = 136 + 4 * beam
    assert beam != 256 or total == 1160
    proposals = run(Progressive(Additive(), beam=beam), total)
    sizes = [nodes(p.architecture) for p in proposals]
    assert sizes == [1] * 136 + [2] * beam + [3] * beam + [4] * beam + [5] * beam
    assert len({SPACE.canonical(p.architecture) for p in proposals}) == total


def test_nothing_but_the_models_best_is_trained_and_nothing_better_is_left_out():
    proposals = run(Progressive(Known(), beam=BEAM), 136 + 3 * BEAM)
    grown_from = {1: proposals[:136]}
    for level in (2, 3, 4):
        begin = 136 + (level - 2) * BEAM
        trained = proposals[begin : begin + BEAM]
        candidates = {SPACE.canonical(a): worth(a) for p in grown_from[level - 1] for a in one_more(p.architecture)}
        best = sorted(candidates, key=candidates.__getitem__, reverse=True)[:BEAM]
        assert [SPACE.canonical(p.architecture) for p in trained] == best
        grown_from[level] = trained
        for p in trained:
            parent = proposals[p.parent].architecture
            assert nodes(parent) == level - 1
            assert p.architecture[1 : len(parent)] == parent[1:]


def test_behind_the_largest_size_come_the_next_best_of_it():
    space = PNAS(blocks=2, least=1)
    proposals = run(Progressive(Known(), beam=BEAM, first=20), 20 + 3 * BEAM, space)
    candidates = {SPACE.canonical(a): worth(a) for p in proposals[:20] for a in one_more(p.architecture)}
    best = sorted(candidates, key=candidates.__getitem__, reverse=True)[: 3 * BEAM]
    assert [SPACE.canonical(p.architecture) for p in proposals[20:]] == best


def test_with_late_results_sizes_are_as_large_and_only_what_is_known_is_a_parent():
    proposals = run(Progressive(RandomForest(trees=5), beam=BEAM), 136 + 4 * BEAM, ahead=7)
    assert [nodes(p.architecture) for p in proposals[135::BEAM]] == [1, 2, 3, 4, 5]
    assert all(p.parent is None or p.parent < p.id - 7 for p in proposals)


def test_what_failed_grows_no_further():
    proposals = run(Progressive(Known(), beam=BEAM), 136 + 4 * BEAM, fails=lambda p: p.id % 2 == 1)
    assert nodes(proposals[-1].architecture) == 5
    assert all(p.parent % 2 == 0 for p in proposals[136:])


def test_where_all_fails_the_search_goes_on():
    proposals = run(Progressive(Known(), beam=BEAM), 150, fails=lambda p: True)
    assert [p.parent for p in proposals] == [None] * 150


def test_it_goes_on_exactly_from_its_state_within_a_size():
    steady = Progressive(RandomForest(trees=5), beam=BEAM)
    run(steady, 150, ahead=3)
    restored = Progressive(RandomForest(trees=5), beam=BEAM)
    restored.start(SPACE, 1)
    restored.load_state_dict(json.loads(json.dumps(steady.state_dict())))
    for _ in range(20):
        one, other = steady.ask(), restored.ask()
        assert one == other
        for controller, (proposal,) in ((steady, one), (restored, other)):
            controller.tell([Trial(*proposal[:3], Evaluation(worth(proposal.architecture)))])
    assert nodes(one[0].architecture) == 5


def test_it_beats_random_search_where_operations_and_inputs_add_up():
    """Three seeds, 168 trials each, in standard deviations of random scores: by 1 at least; when written by 2."""
    space = PNAS(blocks=3, least=1)
    found, drawn = [], []
    for seed in range(3):
        weights = np.random.default_rng(seed).normal(size=(3, 8))  # of operations on either input, and on other nodes

        def score(architecture, weights=weights):
            parts = np.array(architecture[1:]).reshape(-1, 4)
            return float(weights[np.minimum(parts[:, :2], 2), parts[:, 2:]].sum())

        rng = np.random.default_rng(seed)
        spread = np.std([score(space.sample(rng)) for _ in range(1000)])
        for controller, best in ((Progressive(RandomForest(trees=20), beam=16), found), (RandomSearch(), drawn)):
            controller.start(space, seed)
            scores = []
            for _ in range(168):
                (p,) = controller.ask()
                scores.append(score(p.architecture))
                controller.tell([Trial(*p[:3], Evaluation(scores[-1]))])
            best.append(max(scores) / spread)
    assert np.mean(found) > np.mean(drawn) + 1


# -- what grows --------------------------------------------------------------------------------------


REPEATED = Choices(
    {"a": ["x", "y"], "n": [1, 2, 3], "op": {"options": [1, 2, 3], "repeat": "n"}, "b": ["u", "v"]},
)


def kind_of(space):
    return type(space).__name__


@pytest.mark.parametrize(
    "space", [REPEATED, ConditionalSpace(), VariableLengthSpace(), ConvChain(stages=2)], ids=kind_of
)
def test_one_step_larger_are_the_longer_neighbours_with_the_fewest_decisions_more(space):
    growing, rng = Growing(space), np.random.default_rng(0)
    every = list(space.enumerate())
    least = min(map(len, every))
    assert growing.smallest(10**6, rng) == [each for each in every if len(each) == least]
    grew = 0
    for architecture in (every[int(place)] for place in rng.integers(len(every), size=100)):
        longer = {each for each in space.neighbours(architecture) if len(each) > len(architecture)}
        size = min(map(len, longer), default=0)
        found = growing.grown(architecture, 10**6, rng)
        assert sorted(found) == sorted(each for each in longer if len(each) == size)
        grew += bool(found)
    assert grew > 5


def test_repeated_choices_grow_by_one_repetition():
    grown = Growing(REPEATED).grown((1, 0, 2, 1), 100, np.random.default_rng(0))
    assert grown == [(1, 1, 2, new, 1) for new in range(3)]


def test_of_too_many_some_are_drawn(monkeypatch):
    growing, rng = Growing(SPACE), np.random.default_rng(0)
    cell = (1, *PNAS(2).sample(rng))
    drawn = growing.grown(cell, 100, rng)
    assert 90 <= len(set(drawn)) == len(drawn) <= 100
    assert set(drawn) < set(one_more(cell))
    assert {each[-4] for each in drawn} == {0, 1, 2, 3}
    assert len(set(growing.smallest(50, rng)) & set(growing.smallest(256, rng))) > 30
    monkeypatch.setattr(module, "MOST_CANDIDATES", 1000)
    assert [nodes(p.architecture) for p in run(Progressive(Additive(), beam=4), 144)[136:]] == [2] * 4 + [3] * 4


def test_large_smallest_sizes_are_drawn():
    proposals = run(Progressive(Additive(), beam=5, first=20), 30)
    assert [nodes(p.architecture) for p in proposals] == [1] * 20 + [2] * 5 + [3] * 5
    assert len({p.architecture for p in proposals}) == 30


# -- mistakes ------------------------------------------------------------------------------------------


def test_a_space_in_which_nothing_grows_is_refused_before_anything_is_spent(tmp_path):
    for controller in (Progressive(), Finalists(Progressive(), samples=10, finalists=1)):
        with pytest.raises(MissingAbility, match=r"all of PNAS have 20 decisions; expected .* PNAS\(least=1\)"):
            search(PNAS(), controller, Function(len), trials=3, seed=0, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    Progressive().start(FixedSpace(), 0)  # outside a search anything can be tried


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"beam": 0}, "beam"), ({"first": 0}, "first"), ({"labels": 1}, "labels"), ({"model": len}, "expected a model")],
)
def test_wrong_settings(settings, why):
    with pytest.raises(UsageError, match=why):
        Progressive(**settings)


def test_any_model_will_do():
    assert nodes(run(Progressive(GaussianProcess(), beam=2, first=10, labels=12), 12)[-1].architecture) == 2
