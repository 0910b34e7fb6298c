"""Numbers in ``Choices``: levels in order, near steps, a column each; and what controllers make of them."""

import itertools
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from contract_factories import FACTORIES
from scipy.stats import kendalltau

from archsearch import search
from archsearch.components import build, describe, entry_points, load
from archsearch.controller import Order
from archsearch.controllers import BayesianOptimization, RegularizedEvolution, Reinforce
from archsearch.errors import UsageError
from archsearch.evaluators import Function
from archsearch.models import GaussianProcess, RandomForest
from archsearch.models.encoding import FEW, default_encodings, encode
from archsearch.spaces import Choices, NASBench201
from archsearch.spaces.choices_numbers import Integer, Real, near

JOINT = Choices({"rate": Real(1e-5, 1e-1, log=True), "units": Integer(1, 512, log=True), "op": ["a", "b", "c"]})
OPENED = {
    "op": ["a", "b"],
    "n": {"integer": [1, 4], "when": {"op": "a"}},
    "x": {"real": [0.0, 1.0], "levels": 11, "repeat": "n", "when": {"op": "a"}},
    "size": {"options": ["small", "middle", "large"], "ordered": True},
}


def options(decision):
    return Choices({"it": decision})._decisions[0].options


def test_levels_are_evenly_spaced():
    assert np.allclose(options(Real(1e-5, 1e-1, log=True)), np.geomspace(1e-5, 1e-1, 64), rtol=1e-5)
    assert np.allclose(options(Real(-1, 2, levels=7)), np.linspace(-1, 2, 7), rtol=1e-5)
    assert options(Integer(-2, 3)) == [-2, -1, 0, 1, 2, 3]
    assert options(Integer(1, 512, log=True))[:12] == list(range(1, 13))  # rounding leaves none out where all are near
    for low, high, levels in ((1, 1000, 10), (3, 10**9, 64), (8, 512, 7)):
        found = options(Integer(low, high, log=True, levels=levels))
        assert (found[0], found[-1]) == (low, high)
        assert found == sorted(set(found))
        assert np.abs(np.log(found) - np.log(np.geomspace(low, high, levels))).max() < np.log(1.5)


def test_scales_rise_from_0_to_1():
    for scale in (JOINT.positions(()), JOINT.positions((0,))):
        assert (scale[0], scale[-1]) == (0, 1)
        assert all(one < other for one, other in itertools.pairwise(scale))
    assert JOINT.positions((0, 0)) is None
    assert np.allclose(JOINT.positions(()), np.linspace(0, 1, 64), atol=1e-5)
    assert Choices(OPENED).in_order
    assert not Choices({"a": [1, 2]}).in_order
    assert not NASBench201().in_order


def test_a_file_and_a_description_say_the_same(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("rate: {real: [1e-5, 0.1], log: true}\nunits: {integer: [1, 512], log: true}\nop: [a, b, c]\n")
    space = Choices(path)
    assert [each.options for each in space._decisions] == [each.options for each in JOINT._decisions]
    assert build(describe(JOINT)) == JOINT
    assert all(
        JOINT.parse(JOINT.format(each)) == each for each in map(JOINT.sample, map(np.random.default_rng, range(50)))
    )


def test_numbers_open_decisions_and_keep_constraints():
    space = Choices(OPENED, constraints=["sum(x) <= 1"])
    every = list(space.enumerate())
    assert space.size() == len(every)
    made = [space.decode(each) for each in every]
    tenths = options({"real": [0.0, 1.0], "levels": 11})
    fitting = sum(sum(each) <= 1 for n in (1, 2, 3, 4) for each in itertools.product(tenths, repeat=n))
    by_hand = 3 + 3 * fitting  # of op=b, and of op=a
    assert len(every) == by_hand
    assert max(sum(value for name, value in each.items() if name.startswith("x")) for each in made) <= 1 + 1e-9
    rng = np.random.default_rng(0)
    architecture = every[500]
    for _ in range(100):
        architecture = space.mutate(architecture, rng)
        assert architecture in space


def test_mutations_go_to_near_levels_and_reach_all():
    rng, scale = np.random.default_rng(0), JOINT.positions(())
    found = Counter(near(scale, 30, rng) for _ in range(20_000))
    assert 30 not in found
    assert set(found) == set(range(64)) - {30}
    away = np.abs(np.array(list(found.elements())) - 30)
    assert np.mean(away <= 6) > 0.4  # a tenth of the range, where 12 of 63 would be by chance
    assert min(found[29], found[31]) > 4 * max(found[2], found[60])
    unchanged = Counter()
    architecture = (30, 5, 1)
    for _ in range(2_000):
        child = JOINT.mutate(architecture, rng)
        differ = [i for i in range(3) if child[i] != architecture[i]]
        assert len(differ) == 1
        unchanged[differ[0]] += 1
    assert min(unchanged.values()) > 500


def test_encodings_have_one_column_for_a_number():
    assert default_encodings(Choices({"x": Real(0, 1)})) == ["numbers"]
    architectures = [(0, 0, 2), (63, 10, 0)]
    numbers, categories = encode(JOINT, architectures, ["numbers", "categories"])
    assert np.allclose(numbers, [[0, 0], [1, JOINT.positions((0,))[10]]])
    assert categories.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert min(JOINT.arities[:2]) > FEW
    few = Choices({"a": {"options": [16, 32, 64], "ordered": True}, "b": ["c", "d"]})
    numbers, categories = encode(few, [(0, 1), (2, 0)], default_encodings(few))
    assert numbers.tolist() == [[0.0], [1.0]]
    assert categories.tolist() == [[1, 0, 0, 0, 1], [0, 0, 1, 1, 0]]


def test_kinds_that_come_twice_are_counted():
    assert default_encodings(JOINT) == ["numbers", "categories"]
    assert default_encodings(Choices({"a": [1, 2], "b": [1, 2]})) == ["one_hot"]
    assert default_encodings(Choices({"a 1": [1, 2], "a 2": [1, 2]})) == ["one_hot", "counts"]
    repeated = Choices({"x": Real(0, 1), "a 1": ["b", "c"], "a 2": ["b", "c"]})
    assert default_encodings(repeated) == ["numbers", "categories", "counts"]


def test_absent_numbers_are_told_apart():
    space = Choices(OPENED)
    architectures = [
        space.encode({"op": "b", "size": "middle"}),
        space.encode({"op": "a", "n": 1, "x.1": 0.5, "size": "large"}),
    ]
    numbers, categories = encode(space, architectures, ["numbers", "categories"])
    names = [name for name in space.by_name.names if name != "op"]
    size, x = 2 * names.index("size"), 2 * names.index("x.1")
    assert numbers[:, size].tolist() == [0.5, 1.0]
    assert numbers[:, x : x + 2].tolist() == [[0.5, 0.0], [0.5, 1.0]]
    assert categories.shape == (2, 3 + 5 + 4)  # op, n and size, each with one for absent
    rows = encode(space, list(space.enumerate())[:3000], ["numbers", "categories"])
    assert len(np.unique(np.concatenate(rows, axis=1), axis=0)) == 3000


def score(made):
    return -abs(np.log(made["rate"] / 1e-3)) - abs(np.log(made["units"] / 64)) / 2 + "abc".index(made["op"])


@pytest.mark.parametrize("model", [GaussianProcess, RandomForest])
def test_models_learn_more_from_the_order(model):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        drawn = [JOINT.sample(rng) for _ in range(240)]
        scores = [score(JOINT.decode(each)) for each in drawn]
        taus = []
        for encodings in (None, ["one_hot", "counts"]):
            fitted = model(encodings=encodings)
            fitted.fit(JOINT, drawn[:40], scores[:40], seed)
            taus.append(kendalltau(fitted.predict(drawn[40:]).mean, scores[40:]).statistic)
        assert taus[0] > taus[1] + 0.1


def test_encodings_of_nothing_are_refused():
    for space, encoding, order in (
        (NASBench201(), "numbers", "in order"),
        (Choices({"x": Real(0, 1)}), "categories", "in no order"),
    ):
        model, rng = GaussianProcess(encodings=[encoding]), np.random.default_rng(0)
        with pytest.raises(UsageError, match=f"encodings: {encoding}: .*{order}, {type(space).__name__} has none"):
            model.fit(space, [space.sample(rng) for _ in range(3)], [1.0, 2.0, 3.0])


REFUSED = {
    "real: expected the lowest and the highest, two numbers": {"real": [1, 0]},
    "integer: expected the lowest and the highest, two whole numbers": {"integer": [1, 2.5]},
    "log: expected true or false, and true only of numbers above 0": {"real": [0, 1], "log": True},
    "levels: expected a whole number >= 2, got 1": {"real": [0, 1], "levels": 1},
    "real: expected no options beside it": {"real": [0, 1], "options": [1]},
    "ordered: expected true or false, got 'yes'": {"options": [1, 2], "ordered": "yes"},
    "unknown key low": {"real": [0, 1], "low": 1},
}


@pytest.mark.parametrize("message", REFUSED)
def test_malformed_numbers_are_refused(message):
    with pytest.raises(UsageError) as caught:
        Choices({"rate": REFUSED[message]})
    assert f"decision 'rate': {message}" in str(caught.value)


# -- controllers -----------------------------------------------------------------------------------

CONTROLLERS = {
    name: load(name, "controllers")
    for name, point in entry_points("controllers").items()
    if ".controllers." in point.value
}


def test_the_documentation_says_what_each_controller_makes_of_them():
    text = (Path(__file__).parents[1] / "docs" / "controllers.md").read_text()
    section = text.partition("## Options in order\n")[2].partition("\n## ")[0]
    for order in Order.__args__:
        (line,) = re.findall(rf"^\| `{order}` \|.*\| (.*) \|$", section, re.M)
        assert sorted(re.findall(r"`(\w+)`", line)) == sorted(n for n, c in CONTROLLERS.items() if c.order == order)


@pytest.mark.parametrize("name", sorted(CONTROLLERS))
def test_who_ignores_the_order_says_so(name):
    controller, said = FACTORIES.get(name, CONTROLLERS[name])(), []
    controller.say = said.append
    if name in ("CoEvolution", "GreedyGrowth", "Derived", "MovePolicy"):
        return  # for other spaces
    controller.start(JOINT, 0)
    assert all(proposal.architecture in JOINT for proposal in controller.ask(5))
    about = [text for text in said if "order" in text]
    if controller.order == "inner":
        return  # that one says so
    ignores = controller.order == "ignored"
    assert about == [f"{name} makes no use of the order of the options of rate, units"] * ignores


def test_a_search_with_a_model_finds_the_best_rate():
    for controller in (BayesianOptimization(), RegularizedEvolution(population_size=10), Reinforce()):
        result = search(JOINT, controller, Function(score), trials=30, seed=0)
        assert result.completed == 30
        if isinstance(controller, BayesianOptimization):
            assert 2e-4 < JOINT.decode(result.best.architecture)["rate"] < 5e-3
