"""``Auto``, and settings that go by what is known of a search when it begins."""

import pytest

from archsearch import search
from archsearch.controller import Plan
from archsearch.controllers import Auto, LocalSearch, RegularizedEvolution, Reinforce
from archsearch.errors import RunFolderError, UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.pareto import non_dominated
from archsearch.running.search import resume
from archsearch.spaces import Choices, NASBench201
from archsearch.testing import ConditionalSpace, FixedSpace
from archsearch.trial import Evaluation, Trial

SPACE = Choices({f"d{i}": [0, 1, 2, 3] for i in range(5)})


def hits(values):
    return float(sum(value == i % 4 for i, value in enumerate(values.values())))


def started(controller, plan, space=None):
    said = []
    controller.plan, controller.say = plan, said.append
    controller.start(space or FixedSpace(), 0)
    return said


FLAT, TREE = FixedSpace(), ConditionalSpace()


@pytest.mark.parametrize(
    ("space", "controller", "plan", "said"),
    [
        (FLAT, Auto(), Plan(100), "BayesianOptimization, since a model makes most of the first 1,000 results"),
        (FLAT, Auto(), Plan(100, noise=0.0), "BayesianOptimization, since a model makes most of the first 300 results"),
        (FLAT, Auto(), Plan(8), "BayesianOptimization, since 8 trials are few, which a model makes most of"),
        (
            *(FLAT, Auto(modelled=50), Plan(100, noise=0.0)),
            "BayesianOptimization, since a model makes most of the first 50 results; LocalSearch follows",
        ),
        (
            *(FLAT, Auto(), Plan(2000, noise=0.2)),
            "BayesianOptimization, since a model makes most of the first 1,000 results; RegularizedEvolution follows",
        ),
        (
            *(FLAT, Auto(), Plan(1000, noise=0.0, instant=True)),
            "LocalSearch, since 1,000 look-ups without noise in a space of fixed length need no model",
        ),
        (
            *(TREE, Auto(), Plan(1000, noise=0.0, instant=True)),
            "BayesianOptimization, since a model makes most of the first 300 results; LocalSearch follows",
        ),
        (
            *(FLAT, Auto(), Plan(300, noise=0.0, instant=True)),
            "BayesianOptimization, since a model makes most of the first 300 results",
        ),
        (
            *(FLAT, Auto(), Plan(100, 64)),
            "RegularizedEvolution, since 64 workers are too many for a model that waits for their results",
        ),
        (
            *(FLAT, Auto(), Plan(100, 64, 0.0)),
            "OnePlusLambda, since 64 workers are too many for a model that waits for their results",
        ),
        (
            *(FLAT, Auto({"score": "max", "params": "min"}), Plan()),
            "HypervolumeImprovement, since there are 2 objectives, and models make most of the first 300 results; "
            "NSGA2 follows",
        ),
        (
            *(FLAT, Auto({"score": "max", "params": "min"}), Plan(100, 64)),
            "NSGA2, since there are 2 objectives, and 64 workers are too many for models that wait",
        ),
        (
            FLAT,
            Auto({"score": "max"}),
            Plan(8),
            "BayesianOptimization, since 8 trials are few, which a model makes most of",
        ),
        (
            *(FLAT, Auto({"params": "min"}), Plan(8)),
            "HypervolumeImprovement, since the score is no objective, and models make most of the first 300 results",
        ),
        (Choices({"a": [1]}), Auto(), Plan(), "RandomSearch, since there is nothing to choose"),
    ],
)
def test_what_is_chosen_and_why(space, controller, plan, said):
    assert started(controller, plan, space) == [f"Auto: {said}"]


@pytest.mark.parametrize(("trials", "size"), [(None, 40), (50, 10), (300, 15), (5000, 40)])
def test_a_front_has_a_population_by_the_trials(trials, size):
    controller = Auto({"score": "max", "params": "min"})
    started(controller, Plan(trials, 64))
    assert controller._inner.population_size == size


def test_objectives_that_cannot_be_are_refused_at_once():
    with pytest.raises(UsageError, match="NSGA2: objectives"):
        Auto({"score": "most"})


def test_evolution_of_several_objectives_begins_with_the_best_of_all_results():
    objectives = {"score": "max", "cost": "min"}
    controller, restored = (Auto(objectives, modelled=30) for _ in range(2))
    said = started(controller, Plan(200))

    def go_on(auto, n):
        proposals = []
        for _ in range(n):
            proposals += auto.ask()
            id_, architecture, parent, _ = proposals[-1]
            evaluation = Evaluation(float(sum(architecture)), {"cost": float(sum(o * o for o in architecture))})
            auto.tell([Trial(id_, architecture, parent, evaluation)])
        return proposals

    proposals = go_on(controller, 30)
    front = controller._inner.pareto_front
    assert said[1] == "Auto: NSGA2 from 30 results, since more of them help models little"
    values = {p.id: (sum(p.architecture), -sum(o * o for o in p.architecture)) for p in proposals}
    on_front = non_dominated(list(values.values()))
    assert {tuple(each.objectives.values()) for each in front} == {
        (values[id_][0], -values[id_][1]) for id_, on in zip(values, on_front, strict=True) if on
    }
    population = controller._inner._population
    assert len(population) == 10
    assert {member.id for member in population if member.place == 0} <= {id_ for id_, on in enumerate(on_front) if on}
    started(restored, Plan(200))
    restored.load_state_dict(controller.state_dict())
    later = go_on(controller, 20)
    assert all(proposal.parent is not None for proposal in later)
    assert [p.architecture for p in go_on(restored, 20)] == [p.architecture for p in later]


def test_local_search_follows_from_the_best_without_repeats():
    controller = Auto(modelled=20)
    said = started(controller, Plan(noise=0.0))
    scores, proposed = {}, []
    for _ in range(60):
        (proposal,) = controller.ask()
        score = -float(sum(abs(option - 2) for option in proposal.architecture))
        scores[proposal.id] = score
        proposed.append(proposal)
        controller.tell([Trial(proposal.id, proposal.architecture, proposal.parent, Evaluation(score))])
    assert said[1] == "Auto: LocalSearch from 20 results, since more of them help a model little"
    assert len({proposal.architecture for proposal in proposed}) == 60
    best = max(range(20), key=scores.__getitem__)
    assert proposed[20].parent == best


class Exact(Function):
    """Whose scores have no noise."""

    @property
    def score_noise(self):
        return 0.0


@pytest.mark.parametrize(("kind", "follows"), [(Exact, LocalSearch), (Function, RegularizedEvolution)])
def test_it_is_resumed_on_either_side_of_the_switch(kind, follows, tmp_path, monkeypatch):
    monkeypatch.setattr("archsearch.controllers.auto.NOISY", 15)
    controller = Auto(modelled=15)
    whole = search(SPACE, controller, kind(hits), seed=1, trials=40).history
    assert isinstance(controller._inner, follows)
    expected = [trial.architecture for trial in whole]
    search(SPACE, Auto(modelled=15), kind(hits), seed=1, trials=14, out=tmp_path / "run")
    for trials in (25, 40):
        result = resume(tmp_path / "run", evaluator=kind(hits), trials=trials)
        assert [trial.architecture for trial in result.history] == expected[:trials]


@pytest.mark.parametrize(("trials", "chosen"), [(10, "BayesianOptimization"), (310, "LocalSearch")])
def test_what_was_known_when_it_began_is_known_when_it_goes_on(trials, chosen, tmp_path):
    search(NASBench201(), Auto(), Tabular(), seed=0, trials=trials, out=tmp_path / "run")
    controller = Auto()
    assert resume(tmp_path / "run", controller=controller, trials=trials + 5).completed == trials + 5
    assert controller.plan == Plan(trials, 1, 0.0, True)
    assert type(controller._inner).__name__ == chosen


def test_a_state_under_other_rules_is_refused_in_one_line():
    controller = Auto()
    started(controller, Plan())
    state = controller.state_dict()
    state["state"] = {"told": 3, "best": None, "switched": True, "inner": {}}
    with pytest.raises(RunFolderError, match="begun under other rules of choice; start a new run"):
        controller.load_state_dict(state)
    several = Auto({"score": "max", "params": "min"})
    started(several, Plan())
    state = several.state_dict()
    del state["state"]["name"]
    with pytest.raises(RunFolderError, match="begun under other rules of choice; start a new run"):
        several.load_state_dict(state)


def test_evolution_goes_on_with_what_the_model_knew(monkeypatch):
    monkeypatch.setattr("archsearch.controllers.auto.NOISY", 12)
    controller = Auto(modelled=12)
    started(controller, Plan(workers=1))
    for _ in range(14):
        (proposal,) = controller.ask()
        controller.tell([Trial(proposal.id, proposal.architecture, proposal.parent, Evaluation(float(proposal.id)))])
    assert isinstance(controller._inner, RegularizedEvolution)
    assert controller._inner._ids == list(range(14))
    assert proposal.parent in range(13)


@pytest.mark.parametrize(
    ("settings", "trials", "sizes"),
    [
        ({}, None, (100, 25)),
        ({}, 30, (10, 5)),
        ({}, 300, (30, 15)),
        ({}, 5000, (100, 25)),
        ({"defaults": "paper"}, 30, (100, 25)),
        ({"population_size": 8}, None, (8, 8)),
        ({"population_size": 8}, 30, (8, 4)),
        ({"tournament_size": 3}, 30, (10, 3)),
        ({"population_size": 200, "tournament_size": 0.05}, 7000, (200, 0.05)),
    ],
)
def test_sizes_that_are_left_out_go_by_the_trials(settings, trials, sizes):
    controller = RegularizedEvolution(**settings)
    controller.plan = Plan(trials)
    controller.start(FixedSpace(), 0)
    assert (controller._population, controller._tournament) == sizes


def test_an_unknown_word_is_refused():
    with pytest.raises(UsageError, match="defaults: expected one of trials, paper, got 'mine'"):
        RegularizedEvolution(defaults="mine")


@pytest.mark.parametrize(
    ("settings", "trials", "rate", "bonus"),
    [
        ({}, None, 0.01, 0.0),
        ({}, 100, 0.15, 0.3),
        ({}, 300, 0.15, 0.3),
        ({}, 1000, 0.045, 0.075),
        ({}, 10_000, 0.01, 0.0),
        ({"defaults": "paper"}, 300, 0.01, 0.0),
        ({"learning_rate": 0.02, "entropy_weight": 0.5}, 300, 0.02, 0.5),
        ({"scale_advantage": False}, 300, 0.15, 0.0),  # a bonus would be in units of the score
        ({"policy": "lstm"}, 300, 1.5e-3, 0.1),
    ],
)
def test_a_policy_learns_as_fast_as_the_trials_ask_for(settings, trials, rate, bonus):
    controller = Reinforce(**{"policy": "softmax", **settings})
    controller.plan = Plan(trials)
    controller.start(FixedSpace(), 0)
    assert controller._settings()[:2] == pytest.approx((rate, bonus))


def test_the_softmax_policy_finds_within_300_trials_what_random_search_does_not():
    def regret(**settings):
        return [
            91.6067
            - search(NASBench201(), Reinforce("softmax", **settings), Tabular(), seed=seed, trials=300).best.score
            for seed in range(5)
        ]

    assert sum(regret()) < 0.6 * sum(regret(defaults="paper"))


def test_an_unknown_word_for_the_policy_is_refused():
    with pytest.raises(UsageError, match="Reinforce: defaults: expected one of trials, paper, got 'mine'"):
        Reinforce(defaults="mine")
