"""Controllers of searches that grow: pair tournaments, hill climbing, Lemonade, a policy over moves."""

from __future__ import annotations

import numpy as np
import pytest

from archsearch import search
from archsearch.abilities import Move
from archsearch.controllers import HillClimbing, Lemonade, MovePolicy, PairTournament
from archsearch.controllers.lemonade import size_of, sparsely
from archsearch.errors import UsageError
from archsearch.evaluators import Function, Inherit, Training
from archsearch.spaces import EAS, LEMONADE, NASH, EvoNet, PathLevel
from archsearch.testing import FixedSpace
from archsearch.trial import Evaluation, Trial

TASK = "digits:train=64,valid=64,test=64"


def told(controller, proposal, score):
    controller.tell([Trial(proposal.id, proposal.architecture, proposal.parent, Evaluation(float(score)))])


def started(controller, space, seed=0):
    controller.start(space, seed)
    return controller


# -- pair tournaments ----------------------------------------------------------------------------


def test_the_worse_of_a_pair_dies_and_the_better_one_has_a_child_one_move_away():
    space = EvoNet()
    controller = started(PairTournament(2), space)
    first, second = controller.ask(2)
    assert first.architecture == second.architecture == space.start
    told(controller, first, 1)
    told(controller, second, 2)
    (child,) = controller.ask()
    assert child.parent in (second.id, None)
    assert child.architecture in [m.architecture for m in space.moves(space.start)]
    assert controller.state_dict()["state"]["_ids"] == [second.id]


def test_a_population_keeps_its_size_however_late_results_come():
    controller, rng = started(PairTournament(10), FixedSpace()), np.random.default_rng(0)
    due = []
    for _ in range(300):
        due += controller.ask()
        if len(due) > 4:
            told(controller, due.pop(int(rng.integers(len(due)))), rng.random())
        assert len(controller.state_dict()["state"]["_ids"]) + len(due) <= 11
    for proposal in due:
        told(controller, proposal, 0)
    assert len(controller.state_dict()["state"]["_ids"]) == 10


def test_weights_that_are_reset_are_not_inherited():
    class Resetting(EvoNet):
        def move(self, architecture, rng):
            return Move("reset weights", architecture, inherits=False)

    controller = started(PairTournament(2), Resetting())
    for proposal in controller.ask(2):
        told(controller, proposal, 1)
    assert controller.ask()[0].parent is None


def test_a_population_of_one_is_refused():
    with pytest.raises(UsageError, match=r"^PairTournament: population_size: .* got 1"):
        PairTournament(1)


# -- hill climbing -------------------------------------------------------------------------------


def test_the_incumbent_never_gets_worse_and_is_judged_by_eight_neighbours():
    space, rng = FixedSpace(), np.random.default_rng(1)
    controller, best, changes = started(HillClimbing(), space), -1.0, []
    for i in range(200):
        (proposal,) = controller.ask()
        told(controller, proposal, rng.random())
        score = controller.state_dict()["state"]["_score"]
        assert score >= best
        if score > best:
            changes.append(i)
        best = score
    assert all(change % 8 == 0 for change in changes)
    assert len(changes) > 1


def test_neighbours_keep_the_function_of_the_incumbent_and_one_of_eight_is_the_incumbent_itself():
    space = NASH()
    controller = started(HillClimbing(), space)
    (first,) = controller.ask()
    assert (first.architecture, first.parent) == (space.start, None)
    told(controller, first, 0)
    children = controller.ask(16)
    assert [c.architecture for c in children].count(space.start) == 2
    assert all(c.parent == first.id and space.preserves(space.start, c.architecture) for c in children)
    assert len({c.architecture for c in children}) > 8


@pytest.mark.parametrize(
    ("space", "controller"),
    [(NASH(), HillClimbing()), (EAS(), MovePolicy()), (PathLevel(), MovePolicy())],
    ids=lambda part: type(part).__name__,
)
def test_children_start_at_their_parents_accuracy_before_their_updates(space, controller, tmp_path):
    evaluator = Inherit(Training(TASK, epochs=1), steps=0)
    history = search(space, controller, evaluator, trials=7, seed=0, out=tmp_path / "run").history
    trials = {trial.id: trial for trial in history}
    children = [trial for trial in trials.values() if trial.parent is not None]
    assert len(children) == 6
    for child in children:
        assert child.metrics["function_preserved"] == 1
        assert child.score == pytest.approx(trials[child.parent].score, abs=1e-4)
        assert child.metrics["valid_loss"] == pytest.approx(trials[child.parent].metrics["valid_loss"], abs=1e-4)


# -- Lemonade ------------------------------------------------------------------------------------


def test_the_front_is_that_of_all_results():
    space, controller = LEMONADE(), Lemonade()
    result = search(
        space,
        controller,
        Function(lambda graph: sum(node.number("channels") for node in graph.nodes) % 41),
        trials=40,
        seed=0,
    )
    points = {(t.score, size_of(space, t.architecture)) for t in result.history}
    best = {p for p in points if not any(q[0] >= p[0] and q[1] <= p[1] and q != p for q in points)}
    assert {(member.score, member.size) for member in controller.front} == best
    assert [member.size for member in controller.front] == sorted(member.size for member in controller.front)


def test_parents_are_drawn_inversely_to_the_density_of_their_sizes():
    sizes = np.array([1000.0, 1010.0, 1020.0, 1030.0, 90_000.0])
    chances = sparsely(sizes, sizes)
    assert chances.sum() == pytest.approx(1)
    assert chances[4] == pytest.approx(0.5, abs=0.01)  # alone: a density of a fifth, next to four fifths
    density = 1 / chances
    assert density[0] / density[4] == pytest.approx(4, rel=0.02)


def test_few_of_many_children_are_evaluated():
    class Counting(LEMONADE):
        drawn = 0

        def move(self, architecture, rng):
            type(self).drawn += 1
            return super().move(architecture, rng)

    controller = started(Lemonade(children=12, accepted=3, first=1), Counting())
    (first,) = controller.ask()
    told(controller, first, 1)
    Counting.drawn = 0
    asked = controller.ask(6)
    assert Counting.drawn == 24
    assert all(proposal.parent == first.id for proposal in asked)


# -- a policy over moves ---------------------------------------------------------------------------


def test_the_policy_learns_which_kind_of_move_pays():
    space = EAS()
    controller = started(MovePolicy(steps=1, episodes=10_000, learning_rate=0.1), space)
    (first,) = controller.ask()
    told(controller, first, 0)
    for _ in range(80):
        (proposal,) = controller.ask()
        assert proposal.parent == first.id
        told(controller, proposal, len(space.decode(proposal.architecture)))
    deeper = [len(space.decode(p.architecture)) > 5 for p in controller.ask(40)]
    assert sum(deeper) > 34


def test_a_better_child_takes_the_place_of_the_network_that_is_edited():
    space = EAS()
    controller = started(MovePolicy(steps=2, episodes=3), space)
    (first,) = controller.ask()
    told(controller, first, 0)
    children = controller.ask(3)
    for score, child in zip((1, 3, 2), children, strict=True):
        told(controller, child, score)
    assert controller.base == children[1].architecture
    assert controller.ask()[0].parent == children[1].id
    for child in controller.ask(3):
        told(controller, child, -1)
    assert controller.base == children[1].architecture


# -- what architectures say of their training ------------------------------------------------------


def test_the_learning_rate_of_an_architecture_reaches_its_training():
    space, evaluator = EvoNet(), Training(TASK, epochs=1, learning_rate=0.3)
    evaluator.start(space)
    fast, slow = (space.parse(f"learning_rate={rate} | conv 8 3 3 1 relu <- 0") for rate in ("0.1", "0.003125"))
    assert evaluator.trainer.recipe_of(fast).learning_rate == 0.1
    plain = Training(TASK, epochs=1, learning_rate=0.003125)
    plain.start(NASH())  # which says nothing: the recipe's own counts
    assert plain.trainer.recipe_of(NASH().start).learning_rate == 0.003125
    losses = [evaluator.evaluate(each, 0).metrics["train_loss"] for each in (fast, slow)]
    assert losses[0] != losses[1]


def test_a_recipe_that_says_more_than_how_weights_are_updated_is_refused():
    class Strange(EvoNet):
        def recipe(self, architecture):
            return {"epochs": 3}

    evaluator = Training(TASK)
    evaluator.start(Strange())
    with pytest.raises(UsageError, match=r"^Strange\.recipe: expected any of learning_rate.*got epochs"):
        evaluator.evaluate(Strange().start, 0)


def test_an_evolution_goes_on_after_a_stop_as_if_there_had_been_none(tmp_path):
    def run(trials, folder):
        evaluator = Inherit(Training(TASK, epochs=1))
        return search(EvoNet(), PairTournament(4), evaluator, trials=trials, seed=0, out=tmp_path / folder)

    from archsearch import resume

    run(8, "stopped")
    gone_on = resume(tmp_path / "stopped", trials=14).history
    whole = run(14, "whole").history
    assert [(t.architecture, t.parent, t.score) for t in gone_on] == [
        (t.architecture, t.parent, t.score) for t in whole
    ]
