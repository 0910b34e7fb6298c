"""``ElitistEvolution``: parents are the best so far, generations are exact, nothing is proposed twice."""

from __future__ import annotations

import json
import random
from collections import Counter

import numpy as np
import pytest
from common import Tree
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch import Controller, Evaluation, Space, Trial, search
from archsearch.controllers import ElitistEvolution, Finalists, RandomSearch, SuccessiveHalving
from archsearch.controllers import proposed as module
from archsearch.errors import UsageError
from archsearch.evaluators import Tabular
from archsearch.spaces import DARTS, NASBench101, NASBench201
from archsearch.testing import CONTROLLER_CHECKS, ConditionalSpace, FixedSpace, VariableLengthSpace
from archsearch.trial import Architecture, Proposal

WIDE = Space(arities=[1000] * 40)
"""So many options that a decision of no parent is one that was redrawn."""


def started(space: Space = WIDE, seed: int = 0, **changes: object) -> ElitistEvolution:
    controller = ElitistEvolution(**changes)  # type: ignore[arg-type]
    controller.start(space, seed)
    return controller


def result(proposal: Proposal, score: float | None, failure: str = "exception") -> Trial:
    evaluation = None if score is None else Evaluation(score)
    return Trial(proposal.id, proposal.architecture, proposal.parent, evaluation, failure="" if evaluation else failure)


def run(controller: Controller, n: int) -> list[Proposal]:
    """One worker; the sum of the options is the score."""
    proposals: list[Proposal] = []
    for _ in range(n):
        proposals += controller.ask()
        controller.tell([result(proposals[-1], float(sum(proposals[-1].architecture)))])
    return proposals


def best_ids(told: list[Trial], k: int) -> set[int]:
    """The k best trials, the older of equals, and of one architecture its best only: the plain way."""
    best: dict[Architecture, Trial] = {}
    for trial in sorted((t for t in told if t.score is not None), key=lambda t: (-(t.score or 0), t.id)):
        best.setdefault(trial.architecture, trial)
    return {trial.id for trial in list(best.values())[:k]}


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"population_size": 0},
        {"population_size": 2.5},
        {"mutations": -1},
        {"crossovers": True},
        {"mutations": 1.0},
        {"mutations": 0, "crossovers": 0},
        {"mutation_probability": 0.0},
        {"mutation_probability": 1.1},
        {"mutation_probability": float("nan")},
        {"mutation_probability": "0.1"},
        {"parents": 0},
    ],
)
def test_bad_settings_are_refused(settings: dict) -> None:
    with pytest.raises(UsageError, match="ElitistEvolution"):
        ElitistEvolution(**settings)


def test_defaults_are_those_of_the_paper() -> None:
    found = ElitistEvolution()
    assert (found.population_size, found.mutations, found.crossovers) == (50, 25, 25)
    assert (found.mutation_probability, found.parents) == (0.1, 10)


# -- who is a parent ---------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32), space=st.sampled_from([FixedSpace, ConditionalSpace, VariableLengthSpace]))
def test_parents_are_always_among_the_best_so_far(seed: int, space: type[Space]) -> None:
    """Whatever is late, lost, failed, refused or of equal score."""
    rng = random.Random(seed)
    k = rng.choice((1, 3, 10))
    controller = started(space(), seed, population_size=8, mutations=3, crossovers=2, parents=k)
    told: list[Trial] = []
    due: list[Proposal] = []
    named = 0
    for _ in range(60):
        best = best_ids(told, k)
        asked = controller.ask(rng.choice((1, 1, 5)))
        for proposal in asked:
            assert proposal.parent is None or proposal.parent in best
            assert proposal.parent is None or proposal.id >= 8
            named += proposal.parent is not None
        due += asked
        rng.shuffle(due)
        del due[20:]  # lost
        for _ in range(min(len(due), rng.randrange(5))):
            score = rng.choice((None, 0.25, 0.5, 0.5, rng.random()))
            told.append(result(due.pop(), score, failure="limit"))
            controller.tell(told[-1:])
    assert named > 10


def test_every_parent_has_its_turn() -> None:
    controller = started()
    run(controller, 50)
    drawn = Counter(proposal.parent for proposal in controller.ask(5000))
    best = np.argsort([-sum(p) for p in controller_best(controller)])
    assert len(drawn) == len(best) == 10
    assert all(400 < n < 600 for n in drawn.values())  # uniform: 500, and 21 is one standard deviation


def controller_best(controller: ElitistEvolution) -> list[Architecture]:
    return [tuple(architecture) for _, _, architecture in controller.state_dict()["state"]["best"]]


def test_first_population_is_random_and_so_is_all_without_results() -> None:
    controller = started(population_size=7)
    assert [p.parent for p in run(controller, 7)] == [None] * 7
    assert controller.ask()[0].parent is not None
    silent = started(population_size=7)
    assert {p.parent for p in silent.ask(100)} == {None}


def test_failures_only_go_on_at_random() -> None:
    controller = started(population_size=5)
    for _ in range(30):
        (proposal,) = controller.ask()
        assert proposal.parent is None
        controller.tell([result(proposal, None, failure="limit")])


def test_the_older_of_equals_is_better() -> None:
    controller = started(population_size=30, parents=4)
    proposals = controller.ask(30)
    controller.tell([result(p, 0.5) for p in reversed(proposals)])
    assert {p.parent for p in controller.ask(200)} == {0, 1, 2, 3}


def test_no_ageing() -> None:
    controller = started(population_size=5, parents=1)
    (first, *others) = controller.ask(5)
    controller.tell([result(first, 1.0), *(result(p, 0.0) for p in others)])
    for _ in range(500):
        (proposal,) = controller.ask()
        assert proposal.parent in (None, 0)  # crossovers of one parent are repeats: a random one takes their place
        controller.tell([result(proposal, 0.5)])


# -- what is proposed --------------------------------------------------------------------------------


@pytest.mark.parametrize(("mutations", "crossovers"), [(25, 25), (50, 50), (3, 8), (6, 0), (0, 6)])
def test_generations_are_exact(mutations: int, crossovers: int) -> None:
    controller = started(population_size=20, mutations=mutations, crossovers=crossovers)
    controller.tell([result(p, float(sum(p.architecture))) for p in controller.ask(20)])
    told = controller_best(controller)
    for _ in range(5):
        by_mutation = []
        children = controller.ask(mutations + crossovers)
        for child in children:
            assert child.parent is not None
            by_mutation.append(any(option not in column for option, column in columns(child.architecture, told)))
        assert by_mutation == [True] * mutations + [False] * crossovers
        controller.tell([result(p, float(sum(p.architecture))) for p in children])
        told = controller_best(controller)


def columns(child: Architecture, parents: list[Architecture]) -> list[tuple[int, set[int]]]:
    return [(option, {parent[i] for parent in parents}) for i, option in enumerate(child)]


def test_crossover_mixes_two_parents_evenly() -> None:
    controller = started(population_size=20, mutations=0, crossovers=1)
    proposals = run(controller, 20)
    parents = controller_best(controller)
    shares = []
    for child in controller.ask(300):
        assert child.parent is not None
        first = proposals[child.parent].architecture
        second = [p for p in parents if all(o in pair for o, *pair in zip(child.architecture, first, p, strict=True))]
        assert len(second) == 1
        assert second[0] != first
        shares.append(np.mean([a == b for a, b in zip(child.architecture, first, strict=True)]))
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)  # four standard errors
    assert np.std(shares) == pytest.approx(0.5 / 40**0.5, rel=0.2)


class Unfixed(Space):
    """A hundred decisions of five options, one after another."""

    def __init__(self) -> None:
        super().__init__(max_length=100, max_options=5)

    def arity(self, prefix: Architecture) -> int:
        return 5 if len(prefix) < 100 else 0

    def subtree(self, prefix: Architecture) -> int:
        return len(prefix)


@pytest.mark.parametrize("space", [Space(arities=[5] * 100), Unfixed()], ids=["fixed", "conditional"])
@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_share_of_mutated_decisions(space: Space, probability: float) -> None:
    controller = started(space, population_size=1, crossovers=0, mutation_probability=probability)
    (first,) = run(controller, 1)
    children = np.array([child.architecture for child in controller.ask(1000)])
    changed = children != np.array(first.architecture)
    # Redrawn among all five options. Margins: four standard deviations of 100,000 draws; 1,000 per decision.
    assert changed.mean() == pytest.approx(0.8 * probability, abs=0.005)
    assert changed.mean(0) == pytest.approx(np.full(100, 0.8 * probability), abs=0.07)
    options = np.bincount((children - np.array(first.architecture))[changed] % 5, minlength=5) / changed.sum()
    assert options[1:] == pytest.approx(np.full(4, 0.25), abs=0.02)


def chance(parent: Architecture, child: Architecture, p: float, space: Space) -> float:
    options = {space.label(parent[:i]): option for i, option in enumerate(parent)}
    total = 1.0
    for i, option in enumerate(child):
        n = space.arity(child[:i])
        old = options.get(space.label(child[:i]))
        kept = old is not None and old < n
        total *= p / n + (1 - p) * (option == old) if kept else 1 / n
    return total


@pytest.mark.parametrize("parent", [(0,), (1, 1, 2), (2, 3)])
def test_mutation_in_a_conditional_space_has_the_stated_distribution(parent: Architecture) -> None:
    space = Tree()
    controller = started(space, mutation_probability=0.3)
    n = 6000
    counts = Counter(controller._mutated(parent) for _ in range(n))
    expected = {child: chance(parent, child, 0.3, space) for child in space.enumerate()}
    assert sum(expected.values()) == pytest.approx(1)
    assert sum((counts[c] - n * e) ** 2 / (n * e) for c, e in expected.items()) < 35  # 10 degrees: 1 in 8,000
    assert set(counts) <= set(expected)


@pytest.mark.parametrize("space", [DARTS(), NASBench101(), ConditionalSpace(), VariableLengthSpace()])
def test_stays_in_spaces_with_rules_of_their_own(space: Space) -> None:
    proposals = run(started(space, population_size=10, mutation_probability=0.3), 150)
    assert all(p.architecture in space for p in proposals)
    assert sum(p.parent is not None for p in proposals) > 70


# -- no repeats ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [FixedSpace(), VariableLengthSpace()])
def test_nothing_is_proposed_twice(space: Space) -> None:
    controller = started(space)
    proposals = run(controller, 1500) + controller.ask(300)
    assert len({p.architecture for p in proposals}) == 1800


@pytest.mark.parametrize("seed", range(5))
def test_a_small_space_is_exhausted_then_repeated(seed: int) -> None:
    space = Space(arities=(3, 4))
    controller = started(space, seed, population_size=4, mutations=2, crossovers=2, parents=3)
    first, later = run(controller, 12), run(controller, 40)
    assert {p.architecture for p in first} == set(space.enumerate())
    assert all(p.architecture in space for p in later)
    assert {p.parent for p in later} == {None}


def test_a_repeat_takes_one_place_among_the_parents() -> None:
    controller = started(Space(arities=(2,)), population_size=1, parents=3)
    proposals = controller.ask(20)
    rng = random.Random(0)
    trials = [result(p, rng.random()) for p in proposals]
    for trial in trials:
        controller.tell([trial])
    best = controller.state_dict()["state"]["best"]
    highest = {a: max(t.score or 0 for t in trials if t.architecture == a) for a in ((0,), (1,))}
    assert [(tuple(a), -negative) for negative, _, a in best] == sorted(highest.items(), key=lambda each: -each[1])


def test_restart_in_the_middle_of_a_generation_repeats_nothing() -> None:
    controller, restored = started(FixedSpace()), started(FixedSpace(), seed=9)
    before = run(controller, 313)
    restored.load_state_dict(json.loads(json.dumps(controller.state_dict())))
    after = run(restored, 200)
    assert after == run(controller, 200)
    assert len({p.architecture for p in before + after}) == 513


def test_memory_of_proposals_is_bounded_and_nearly_exact() -> None:
    proposed = module.Proposed()
    size = len(json.dumps(proposed.state()))
    n = module.REMEMBERED
    new = [i for i in range(2 * n) if proposed.add((i,))]
    assert 0.98 * 2 * n < len(new) < 2 * n  # the others are refused by mistake
    assert not any(proposed.add((i,)) for i in new)  # twice as many as promised
    newest = [i for i in range(2 * n, 3 * n) if proposed.add((i,))]
    assert not any(proposed.add((i,)) for i in newest)
    assert sum(proposed.add((i,)) for i in range(1000)) > 950  # forgotten
    assert len(json.dumps(proposed.state())) - size < 10  # the count has more digits
    assert size < 176_000


def test_the_newest_are_remembered_when_filters_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 40)
    controller = started(Space(arities=(5, 5, 5)), population_size=10)
    proposals = [p.architecture for p in run(controller, 400)]
    last: dict[Architecture, int] = {}
    gaps = []
    for i, architecture in enumerate(proposals):
        if architecture in last:
            gaps.append(i - last[architecture])
        last[architecture] = i
    assert len(gaps) > 50
    assert min(gaps) > 40


# -- does it find good ones ------------------------------------------------------------------------------


@pytest.mark.parametrize("check", ["beats_random_search", "resume_equals_not_stopping", "failures_never_stop_it"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: ElitistEvolution(population_size=100, mutations=50, crossovers=50, parents=25),  # Once-for-all
        lambda: SuccessiveHalving(ElitistEvolution()),
        lambda: Finalists(ElitistEvolution(), samples=40, finalists=3),
    ],
    ids=["ofa", "inside halving", "inside finalists"],
)
def test_keeps_the_contract_with_other_settings_and_inside_others(check: str, make) -> None:
    CONTROLLER_CHECKS[check](make)


@pytest.mark.parametrize(("trials", "margin"), [(150, 0.2), (300, 0.15)])
def test_finds_clearly_better_cells_than_random_search(trials: int, margin: float) -> None:
    """NAS-Bench-201, validation accuracy on CIFAR-10; the best cell of all has 91.61, random ones spread by 0.15."""
    space, table = NASBench201(), Tabular()

    def best(controller: Controller, seed: int) -> float:
        found = search(space, controller, table, trials=trials, seed=seed, duplicates="reuse").best
        assert found is not None
        assert found.score is not None
        return found.score

    ours, theirs = (np.array([best(make(), seed) for seed in range(24)]) for make in (ElitistEvolution, RandomSearch))
    assert ours.mean() - theirs.mean() > margin
    assert (ours >= theirs).sum() >= 20
