"""``DeapToolbox``: DEAP's own path, also with late and failed results."""

from __future__ import annotations

import copy
import random

import pytest
from deap import algorithms, base, tools
from deap_lab import BITS, SCHEMES, plain_toolbox, run, score, started, with_operator

from archsearch import Evaluation, Trial
from archsearch.basics.seeding import generator_state, restore_generator
from archsearch.controllers import DeapToolbox, RegularizedEvolution
from archsearch.controllers.deap_toolbox import Individual
from archsearch.trial import Proposal

# -- the paths of others ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("crossover", "mutation", "select"),
    [
        (0.5, 0.2, {"select": tools.selTournament, "tournsize": 3}),
        (0.2, 0.8, {"select": tools.selRoulette}),
        (1.0, 0.0, {"select": tools.selTournament, "tournsize": 2}),
        (0.05, 0.05, {"select": tools.selStochasticUniversalSampling}),
    ],
)
def test_generations_of_one_worker_are_those_of_deap(crossover, mutation, select):
    size, generations = 10, 25
    controller = started(
        lambda space: plain_toolbox(space, **select),
        population_size=size,
        crossover_probability=crossover,
        mutation_probability=mutation,
        scheme="generational",
    )
    version, words, normal = copy.deepcopy(controller.state_dict()["state"]["generators"]["python"])
    proposals = run(controller, 250)

    asked = []
    toolbox = plain_toolbox(**select)
    toolbox.register("evaluate", lambda individual: asked.append(tuple(individual)) or (score(individual),))
    outside = random.getstate()
    random.setstate((version, tuple(words), normal))
    population = [Individual(proposal.architecture) for proposal in proposals[:size]]
    algorithms.eaSimple(population, toolbox, crossover, mutation, generations, verbose=False)
    random.setstate(outside)
    assert len(asked) > 2 * size
    shown = min(len(asked), len(proposals))
    assert [proposal.architecture for proposal in proposals[:shown]] == asked[:shown]


def test_steady_state_with_our_operators_is_regularized_evolution():
    # A15: the population's trace of RegularizedEvolution, draw by draw, from a toolbox that draws as it does.
    reference = RegularizedEvolution(population_size=20, tournament_size=5)
    reference.start(BITS, 0)

    def tournament(individuals, k):
        drawn = bridge.rng.integers(len(individuals), size=5).tolist()
        return [individuals[max(drawn, key=lambda i: individuals[i].fitness.values[0])]] * k

    def ring(individuals, k):
        # Ours keeps the oldest first, the reference overwrites it where it is.
        start = -(len(told) % 20) if len(told) > 20 else 0
        return tournament(individuals[start:] + individuals[:start], k)

    def make(space):
        toolbox = base.Toolbox()
        toolbox.register("mate", tools.cxUniform, indpb=0.5)
        toolbox.register("mutate", lambda each: (list(space.mutate(tuple(each), bridge.rng)),))
        toolbox.register("select", ring)
        return toolbox

    bridge = DeapToolbox(make, population_size=20, crossover_probability=0.0, mutation_probability=1.0)
    bridge.start(BITS, 0)
    restore_generator(reference.rng, generator_state(bridge.rng))
    told: list[Proposal] = []
    for _ in range(300):
        (ours,), (theirs,) = bridge.ask(), reference.ask()
        assert ours == theirs
        trial = Trial(ours.id, ours.architecture, ours.parent, Evaluation(score(ours.architecture)))
        bridge.tell([trial])
        reference.tell([trial])
        told.append(ours)
        population = bridge.state_dict()["state"]["_population"]
        assert {each[0] for each in population} == set(reference.state_dict()["state"]["_ids"])


# -- late results, failures ------------------------------------------------------------------------


@pytest.mark.parametrize("late", [1, 5, 30])
def test_late_results_make_generations_too(late):
    controller = started(scheme="generational")
    proposals = run(controller, 200, late=late)
    best = max(score(proposal.architecture) for proposal in proposals[-20:])
    assert best > max(score(proposal.architecture) for proposal in proposals[:20])
    assert len(controller.state_dict()["state"]["_population"]) == 8
    # The first children are bred from the first two results.
    first = max(8, late + 2)
    assert [proposal.parent is None for proposal in proposals] == [True] * first + [False] * (200 - first)


@pytest.mark.parametrize("late", [0, 3, 12])
@pytest.mark.parametrize("mutation", [0.2, 1.0])
def test_children_have_parents_of_the_newest_generation_whose_members_are_kept_once(late, mutation):
    controller = started(scheme="generational", crossover_probability=0.0, mutation_probability=mutation)
    proposals: list[Proposal] = []
    populations: list[list[int]] = [[]]
    kept: list[int] = [0]  # how often members arrived without a result, by generation
    for _ in range(150):
        arrived = len(controller.state_dict()["state"]["_arrived"])
        proposals += controller.ask()
        state = controller.state_dict()["state"]
        kept[-1] += len(state["_arrived"]) > arrived
        if populations[-1]:
            assert proposals[-1].parent in populations[-1]
        if len(proposals) > late:
            id_, architecture, parent, _ = proposals[len(proposals) - late - 1]
            # Failures, so that the children of a generation do not suffice to fill it.
            evaluation = Evaluation(score(architecture)) if id_ < 8 or id_ % 2 else None
            controller.tell([Trial(id_, architecture, parent, evaluation)])
        population = [each[0] for each in controller.state_dict()["state"]["_population"]]
        if population != populations[-1]:
            populations.append(population)
            kept.append(0)
    assert len(populations) >= 10
    assert populations[1] == list(range(8))
    assert kept[0] == 0
    assert set(kept) == ({0} if mutation == 1.0 else {0, 1})


@pytest.mark.parametrize("scheme", SCHEMES)
def test_failed_trials_are_nobodys_parents_and_no_members(scheme):
    controller = started(scheme=scheme)
    proposals = run(controller, 150, failing=3)
    parents = {proposal.parent for proposal in proposals} - {None}
    assert len(parents) > 10
    assert all(parent % 3 for parent in parents)
    assert all(each[0] % 3 for each in controller.state_dict()["state"]["_population"])


def test_the_steady_state_keeps_the_latest():
    controller = started()
    run(controller, 60)
    assert [each[0] for each in controller.state_dict()["state"]["_population"]] == list(range(52, 60))


def test_children_that_no_operator_touched_are_drawn_again_and_never_without_end():
    for scheme in SCHEMES:
        proposals = run(started(scheme=scheme, crossover_probability=0.0, mutation_probability=1e-12), 40)
        earlier = {proposal.architecture for proposal in proposals[:8]}
        assert {proposal.architecture for proposal in proposals[8:]} <= earlier


def test_in_a_steady_state_children_differ_from_their_parents():
    # All ten draws of a child miss the mutation with probability 1e-10.
    make = with_operator("mutate", lambda each: ([*each[:3], 1 - each[3], *each[4:]],))
    proposals = run(started(make, crossover_probability=0.0, mutation_probability=0.9), 100)
    for proposal in proposals[8:]:
        assert proposal.architecture[3] != proposals[proposal.parent or 0].architecture[3]


@pytest.mark.parametrize("crossover", [0.0, 1.0])
def test_a_steady_state_selects_as_many_as_a_child_has_parents(crossover):
    selected = []
    make = with_operator("select", lambda each, k: selected.append(k) or each[:k])
    proposals = run(started(make, crossover_probability=crossover, mutation_probability=1.0), 30)
    assert selected == [1 + int(crossover)] * 22
    # The oldest of the population is the first parent.
    assert [proposal.parent for proposal in proposals[8:]] == list(range(22))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_child_of_a_crossover_has_its_own_parent(scheme):
    make = with_operator("mate", lambda one, other: (one, other))
    proposals = run(started(make, scheme=scheme, crossover_probability=1.0, mutation_probability=0.0), 60)
    for proposal in proposals[8:]:
        assert proposal.parent is not None
        assert proposal.architecture == proposals[proposal.parent].architecture
