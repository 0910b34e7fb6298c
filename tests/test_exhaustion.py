"""Spaces that are used up: every controller ends, or goes on repeating, after few proposals and fits of a model."""

from itertools import pairwise

import pytest

from archsearch import Evaluation, Evaluator, search
from archsearch.components import entry_points
from archsearch.controllers import Bananas, BayesianOptimization, Finalists, RandomSearch
from archsearch.limits.exhaustion import WORTH_COUNTING, Exhaustion
from archsearch.model import Model
from archsearch.running.course import MAX_REUSED_IN_A_ROW
from archsearch.spaces import Choices, NASBench201

SPACES = {
    "one": (lambda: Choices({"a": [1]}), 1),
    "two": (lambda: Choices({"a": [1, 2]}), 2),
    "nine": (lambda: Choices({"a": [1, 2, 3], "b": [1, 2, 3]}), 9),
    "conditional": (
        lambda: Choices({"a": ["x", "y"], "b": {"options": [1, 2, 3], "when": {"a": "x"}}}),
        4,
    ),
    "repeated": (lambda: Choices({"n": [0, 1, 2], "b": {"options": ["x", "y"], "repeat": "n"}}), 7),
}
CONTROLLERS = {name: point.load() for name, point in entry_points("controllers").items()}
GROWING = [name for name, (make, _) in SPACES.items() if make().arities is None]
PAIRS = [(name, space) for name in CONTROLLERS for space in (GROWING if name == "Progressive" else SPACES)]
"""Progressive refuses spaces of fixed length."""
LOCAL = {"HillClimbing", "Lemonade", "MovePolicy"}
"""They edit the best they know, and what is far from it they may never see."""
SETTINGS = {"Finalists": {"samples": 4, "finalists": 2, "budget": 1, "full_budget": 3}}


class Sums(Evaluator):
    """The sum of the options; trains for as long as it is asked to."""

    def check_budgets(self, budgets):
        pass

    def evaluate(self, architecture, seed):
        return Evaluation(float(sum(architecture)))

    def probabilities(self, prefix):
        """All options alike: what a controller that reads a distribution is given."""
        options = self.space.arity(prefix)
        return [1 / options] * options

    def derived(self):
        """The first option of each decision."""
        architecture = ()
        while self.space.arity(architecture):
            architecture = (*architecture, 0)
        return architecture


@pytest.fixture
def fits(monkeypatch):
    """How often a model was fitted."""
    count = []
    fit = Model.fit

    def counted(self, *args, **kwargs):
        count.append(type(self).__name__)
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(Model, "fit", counted)
    return count


def counting(controller, asked):
    """The controller, which notes how many proposals it was asked for."""
    ask = controller.ask

    def noted(n=1):
        proposals = ask(n)
        asked.extend(proposals)
        return proposals

    controller.ask = noted
    return controller


@pytest.mark.parametrize(("name", "space"), PAIRS)
def test_a_search_that_repeats_nothing_ends_soon_after_a_small_space_is_used_up(name, space, fits):
    make, size = SPACES[space]
    asked = []
    controller = counting(CONTROLLERS[name](**SETTINGS.get(name, {})), asked)
    result = search(make(), controller, Sums(), trials=1000, seed=0, duplicates="reuse")
    lengths = max(1, len(controller.budgets))
    assert result.stopped == "exhausted"
    assert (1 if name in LOCAL else size) <= result.completed <= size * lengths
    # What was not evaluated yet may be proposed late; longer trainings of what is bad, never.
    # Such a late one begins the row anew, which is bounded: by seed that happens never, once or twice.
    evaluated = sorted(trial.id for trial in result.history if trial.attempts)
    assert max(after - before for before, after in pairwise([-1, *evaluated, len(asked)])) <= MAX_REUSED_IN_A_ROW + 1
    stubborn = lengths > 1 or name in LOCAL
    assert len(asked) <= (3 * MAX_REUSED_IN_A_ROW if stubborn else 400) + WORTH_COUNTING * size * lengths
    assert len(fits) <= 10


@pytest.mark.parametrize("space", SPACES)
def test_a_controller_that_never_repeats_ends_with_the_space(space):
    make, size = SPACES[space]
    result = search(make(), CONTROLLERS["Derived"](), Sums(), trials=120, seed=0)
    assert (result.completed, result.stopped) == (size, "exhausted")


@pytest.mark.parametrize(("name", "space"), [pair for pair in PAIRS if pair[0] != "Derived"])
def test_a_search_that_repeats_goes_on_at_little_cost(name, space, fits):
    make, _ = SPACES[space]
    asked = []
    controller = counting(CONTROLLERS[name](**SETTINGS.get(name, {})), asked)
    result = search(make(), controller, Sums(), trials=120, seed=0)
    assert (result.completed, result.stopped) == (120, "trials")
    assert len(asked) == 120
    assert len(fits) <= 2


@pytest.mark.parametrize("cls", [Bananas, BayesianOptimization])
def test_no_model_is_fitted_once_everything_was_proposed(cls, fits):
    controller = cls(initial=4, batch=3)
    result = search(Choices({"a": [1, 2, 3], "b": [1, 2, 3]}), controller, Sums(), trials=300, seed=0)
    assert result.completed == 300
    assert 1 <= len(fits) <= 6


@pytest.mark.parametrize("cls", [Bananas, BayesianOptimization])
def test_a_used_up_search_goes_on_exactly_from_its_state(cls):
    space = Choices({"a": [1, 2, 3], "b": [1, 2, 3]})
    first, second = cls(), cls()
    search(space, first, Sums(), trials=40, seed=0)
    second.start(space, 0)
    second.load_state_dict(first.state_dict())
    assert first.ask(20) == second.ask(20)


def test_with_limits_only_what_is_allowed_is_counted():
    class Sized(Sums):
        def measure(self, architecture):
            return {"params": float(sum(architecture) + 1)}

    asked = []
    controller = counting(RandomSearch(), asked)
    result = search(
        Choices({"a": [1, 2, 3], "b": [1, 2, 3]}),
        controller,
        Sized(),
        trials=100,
        seed=0,
        duplicates="reuse",
        limits={"params": 3},
    )
    assert (result.completed, result.stopped) == (6, "exhausted")
    assert len(asked) < 300


def test_several_workers_and_batches_end_as_soon():
    for settings in ({"executor": "simulated", "workers": 7}, {"batch": 5}, {"lag": 2}):
        asked = []
        result = search(
            Choices({"a": [1, 2, 3], "b": [1, 2, 3]}),
            counting(RandomSearch(), asked),
            Sums(),
            trials=100,
            seed=0,
            duplicates="reuse",
            **settings,
        )
        assert result.stopped == "exhausted"
        assert len(asked) < 500


def test_large_spaces_are_not_counted():
    assert Exhaustion(Choices({f"d{i}": list(range(9)) for i in range(9)}), (), None).possible is None
    assert Exhaustion(NASBench201(), (), None).possible < 5**6  # equal networks count once
    assert Exhaustion(Choices({"a": [1, 2]}), Finalists().budgets, None).possible == 4
