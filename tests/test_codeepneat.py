"""CoDeepNEAT: blueprints of modules, and two populations that evolve together."""

from __future__ import annotations

import json

import networkx
import numpy as np
import pytest
import torch

from archsearch.controllers import CoEvolution
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.networks.network import InputShape, build
from archsearch.spaces import CoDeepNEAT
from archsearch.trial import Evaluation, Trial

SPACE = CoDeepNEAT(species=2, nodes=3, layers=2, filters=[4, 8])
TEXT = "1(0) 1(1) 1(1,2) ; 4k3(0) ; 8k1p(0)"


def by_labels(architecture):
    return {SPACE.label(architecture[:i]): option for i, option in enumerate(architecture)}


def test_a_module_is_there_as_often_as_the_blueprint_names_its_species():
    thrice = SPACE.parse(TEXT)
    graph = SPACE.assembled(thrice)
    assert [(node["channels"], node.inputs) for node in graph.nodes] == [(4, (0,)), (4, (1,)), (4, (1, 2))]
    assert SPACE.used_modules(thrice) == {0}
    # A change of the module changes every use of it; of a module that is not used nothing.
    wide = SPACE.assembled(SPACE.parse(TEXT.replace("4k3", "8k3")))
    assert [node["channels"] for node in wide.nodes] == [8, 8, 8]
    other = SPACE.parse(TEXT.replace("8k1p", "4k1"))
    narrow = SPACE.parse(TEXT.replace("4k3", "4k1"))
    assert SPACE.canonical(other) == SPACE.canonical(thrice) != SPACE.canonical(narrow)


def test_what_no_other_reads_is_the_output_of_a_module():
    graph = SPACE.assembled(SPACE.parse("1(0) 1(1) ; 4k3(0) 8k1p(0) ; 8k1(0)"))
    # Both layers read what comes in; the second module reads the convolution and the pooling of the first.
    assert [node.inputs for node in graph.nodes][:5] == [(0,), (0,), (2,), (1, 3), (1, 3)]


def test_networks_are_connected_and_learn_everywhere():
    rng = np.random.default_rng(0)
    for _ in range(10):
        architecture = SPACE.sample(rng)
        graph = SPACE.graph(architecture)
        assert networkx.is_directed_acyclic_graph(graph)
        assert networkx.is_weakly_connected(graph)
        network = build(lambda a=architecture: SPACE.network(a, InputShape((1, 8, 8), 3)), 0)
        network(torch.rand(4, 1, 8, 8)).sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())


def test_decisions_belong_to_the_blueprint_or_to_a_module():
    rng = np.random.default_rng(0)
    for _ in range(10):
        for label in by_labels(SPACE.sample(rng)):
            part, name = SPACE.module_of(label)
            assert label == (f"blueprint.{name}" if part is None else f"module.{part + 1}.{name}")


def started(**settings):
    controller = CoEvolution(**settings)
    controller.start(SPACE, 0)
    return controller


def tell(controller, proposal, score):
    controller.tell([Trial(*proposal[:3], None if score is None else Evaluation(score))])


def test_the_fitness_of_a_module_is_the_mean_of_the_networks_that_used_it():
    controller, scores, seen = started(first=10, fresh=0.3), np.random.default_rng(0), {}
    for _ in range(150):
        (proposal,) = controller.ask()
        uses, known = controller._uses[proposal.id], {member.id for member in controller._parts.members}
        score = float(scores.random())
        tell(controller, proposal, score)
        for slot in SPACE.used_modules(proposal.architecture):
            if uses[1 + slot] in known:
                seen.setdefault(uses[1 + slot], []).append(score)
        for member in controller._parts.members:
            if member.id not in known:
                seen[member.id] = [score]
    several = [member for member in controller._parts.members if member.uses > 1]
    assert len(several) > 5
    for member in several:
        assert member.uses == len(seen[member.id])
        assert member.fitness == pytest.approx(np.mean(seen[member.id]))


def test_species_keep_what_is_different_and_populations_their_size():
    controller, rng = started(blueprints=8, modules=12, first=10), np.random.default_rng(1)
    for _ in range(80):
        (proposal,) = controller.ask()
        tell(controller, proposal, float(rng.random()))
    assert (len(controller._plans.members), len(controller._parts.members)) == (8, 12)
    for population in (controller._plans, controller._parts):
        assert {member.species for member in population.members} == set(range(len(population.founders)))
        assert len(population.founders) > 1


def test_good_modules_are_found_and_used_again():
    def score(architecture):
        values = SPACE.decode(architecture)
        return sum(values[f"module.{k + 1}.1.kernel"] == 3 for k in SPACE.used_modules(architecture)) / 2

    controller, late = started(first=10), []
    for i in range(120):
        (proposal,) = controller.ask()
        tell(controller, proposal, score(proposal.architecture))
        late += [score(proposal.architecture)] * (i >= 90)
    random = [score(SPACE.sample(np.random.default_rng(seed))) for seed in range(100)]
    assert np.mean(late) > np.mean(random) + 0.2


def test_late_lost_and_forgotten_members_do_no_harm():
    controller = started(blueprints=2, modules=3, first=3)
    pending, rng = controller.ask(30), np.random.default_rng(2)
    for proposal in rng.permutation(len(pending)).tolist():
        tell(controller, pending[proposal], None if proposal % 5 == 0 else float(rng.random()))
    twin = started(blueprints=2, modules=3, first=3)
    twin.load_state_dict(json.loads(json.dumps(controller.state_dict())))
    assert twin.ask(5) == controller.ask(5)
    assert len(controller._uses) == 5


def test_settings_out_of_range_are_refused():
    with pytest.raises(UsageError, match="CoEvolution: fresh: expected a finite number from 0 to 1, got 2"):
        CoEvolution(fresh=2)
    with pytest.raises(UsageError, match="CoDeepNEAT: species: expected a whole number >= 1, got 0"):
        CoDeepNEAT(species=0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1(0) ; 4k3(0)", "2 parts between semicolons instead of 3"),
        ("1(0) ; 4k3 ; 8k1(0)", "'4k3' is no node of a module"),
        ("1k(0) ; 4k3(0) ; 8k1(0)", "'1k(0)' is no node of a blueprint"),
        ("3(0) ; 4k3(0) ; 8k1(0)", "blueprint.1.species=3: expected one of 1, 2"),
        ("1(1) ; 4k3(0) ; 8k1(0)", "blueprint.1.from=1: expected one of 0"),
        ("1(0) ; 5k3(0) ; 8k1(0)", "module.1.1.filters=5: expected one of 4, 8"),
        ("1(0) ; 4k3(0) ;", "module.2.size=0: expected one of 1, 2"),
    ],
)
def test_texts_that_are_wrong_are_named(text, why):
    with pytest.raises(InvalidArchitecture) as caught:
        SPACE.parse(text)
    assert why in str(caught.value)
