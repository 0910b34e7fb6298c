"""``Derived``: who proposes by a distribution, and what it refuses."""

import math

import numpy as np
import pytest
from differentiable_search_lab import SPACE, make

from archsearch import resume, search
from archsearch.abilities import draw, most_probable
from archsearch.controllers import Derived, Finalists, RandomSearch, RegularizedEvolution
from archsearch.differentiable.relaxations import (
    Gumbel,
)
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluators import OneShot, Tabular, Training
from archsearch.keeping.folder import RunFolder
from archsearch.running.scoring import Prepared
from archsearch.testing import FixedSpace


def search_in(folder, trials, limit=None):
    return search(SPACE, Derived(limit=8), make(relaxation=Gumbel(hard=False)), trials=trials, seed=3, out=folder)


def test_a_run_with_derived_goes_on_as_if_it_had_not_stopped(tmp_path):
    whole = [trial.architecture for trial in sorted(search_in(tmp_path / "whole", 8).history, key=lambda t: t.id)]
    search_in(tmp_path / "parts", 3)
    result = resume(tmp_path / "parts", trials=8)
    assert [trial.architecture for trial in sorted(result.history, key=lambda t: t.id)] == whole
    assert "derived" in result.note


def test_a_run_with_derived_that_was_killed_is_replayed(tmp_path, monkeypatch):
    whole = [trial.architecture for trial in sorted(search_in(tmp_path / "whole", 8).history, key=lambda t: t.id)]
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write_part", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            search_in(tmp_path / "parts", 3)
    (tmp_path / "parts" / "lock").unlink(missing_ok=True)
    result = resume(tmp_path / "parts", trials=8)
    assert [trial.architecture for trial in sorted(result.history, key=lambda t: t.id)] == whole


# -- who proposes --------------------------------------------------------------------------------------


class Known:
    """Two decisions, of which the second depends on the first."""

    TABLE = ([0.5, 0.3, 0.2], [[0.9, 0.1], [0.0, 1.0], [0.5, 0.5]])

    def probabilities(self, prefix):
        return self.TABLE[1][prefix[0]] if prefix else self.TABLE[0]

    def derived(self):
        return (2, 1)


class Pairs(FixedSpace):
    def __init__(self) -> None:
        super(FixedSpace, self).__init__(arities=[3, 2])


def test_derived_proposes_its_answer_first_then_the_most_probable_each_once():
    controller = Derived(limit=10)
    controller.start(Pairs(), 0)
    controller.read(Known())
    architectures = [proposal.architecture for proposal in controller.ask(10)]
    # (1, 0) is impossible; (2, 0) and (2, 1) are equally probable, and the second one came first.
    assert architectures == [(2, 1), (0, 0), (1, 1), (2, 0), (0, 1)]
    assert controller.finished
    assert controller.ask(3) == []


def test_derived_proposes_no_more_than_its_limit():
    controller = Derived(limit=2)
    controller.start(Pairs(), 0)
    controller.read(Known())
    assert len(controller.ask(5)) == 2
    with pytest.raises(UsageError, match="Derived: limit"):
        Derived(limit=0)


def test_draws_are_as_probable_as_they_should_be():
    rng, counts = np.random.default_rng(0), {}
    for _ in range(5000):
        log_probability, architecture = draw(Known(), Pairs(), rng)
        first, second = architecture
        assert math.exp(log_probability) == pytest.approx(Known.TABLE[0][first] * Known.TABLE[1][first][second])
        counts[architecture] = counts.get(architecture, 0) + 1
    assert counts.keys() == {(0, 0), (0, 1), (1, 1), (2, 0), (2, 1)}
    assert counts[0, 0] / 5000 == pytest.approx(0.45, abs=0.03)
    assert most_probable(Known(), Pairs()) == (0, 0)


@pytest.mark.parametrize("evaluator", [Tabular(), OneShot(Training("digits"))], ids=["table", "one_shot"])
def test_an_evaluator_without_a_distribution_is_refused_before_anything_is_spent(evaluator, tmp_path, monkeypatch):
    monkeypatch.setattr(type(evaluator), "prepare", lambda self: pytest.fail("it was prepared"))
    with pytest.raises(MissingAbility, match=rf"Derived .* {type(evaluator).__name__} has none; use .* Differentiable"):
        search(SPACE, Derived(), evaluator, trials=3, seed=0, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_what_was_prepared_for_several_searches_has_its_distribution():
    evaluator = Prepared(make(epochs=1))
    first, second = (search(SPACE, Derived(), evaluator, trials=2, seed=seed) for seed in (0, 1))
    assert first.completed == second.completed == 2
    answers = [min(result.history, key=lambda trial: trial.id).architecture for result in (first, second)]
    assert answers == [evaluator.evaluator.derived()] * 2
    with pytest.raises(MissingAbility, match=r"Derived .* Tabular has none"):
        search(SPACE, Derived(), Prepared(Tabular()), trials=2, seed=0)


def test_other_controllers_search_on_the_inherited_weights():
    evaluator = make(epochs=1)
    result = search(SPACE, RegularizedEvolution(population_size=4, tournament_size=2), evaluator, trials=6, seed=0)
    assert result.completed == 6
    assert result.cost.updates == 0


def test_derived_inside_another_controller_is_refused():
    with pytest.raises(UsageError, match="asks for no budgets itself and reads no distribution"):
        Finalists(Derived())
    Finalists(RandomSearch())
