"""Networks of ``NB1Shot1``: those of NAS-Bench-101 where one cell is selected, and sums over sets of parents else."""

import itertools
import math
import sys

import numpy as np
import pytest
import torch
from common import run_command
from test_nasbench101_networks import images, made

from archsearch import search
from archsearch.controllers import Derived, RandomSearch
from archsearch.differentiable import relaxations
from archsearch.differentiable.costs import Mixed, candidate_costs
from archsearch.evaluators import Differentiable, OneShot, Training
from archsearch.networks.multiply_adds import multiply_adds
from archsearch.networks.network import InputShape, build
from archsearch.relaxing import Relaxable, Relaxed
from archsearch.spaces import NB1Shot1
from archsearch.spaces.networks.nasbench101 import CellModule
from archsearch.spaces.networks.nasbench101_cell import OPERATIONS, Cell, on_paths
from archsearch.spaces.networks.nb1shot1 import _mixed_cell

TASK = InputShape((3, 9, 7), 4)
SMALL = {"channels": 7, "modules": 1}
"""Seven channels: neither two nor three vertices share them equally."""


def some(space, n, seed=0):
    """Architectures at random, at least one with loose ends and one without."""
    rng = np.random.default_rng(seed)
    found = [space.sample(rng) for _ in range(n)]
    found += [
        next(a for a in iter(lambda: space.sample(rng), None) if loose(space, a) == wanted) for wanted in (False, True)
    ]
    return found


def loose(space, architecture):
    return len(space.cell(architecture).predecessors) < space.most_vertices


def renamed(space, architecture, state):
    """The weights of a cell with their names in NAS-Bench-101, which has no numbers for loose ends."""
    kept = on_paths(space.wired(architecture).predecessors)
    names = {
        f".{kind}.{old}.": f".{kind}.{new}." for new, old in enumerate(kept) for kind in ("operations", "projections")
    }
    found = {}
    for name, value in state.items():
        old = next((old for old in names if old in name), None)
        found[name if old is None else name.replace(old, names[old])] = value
    return found


@pytest.mark.parametrize("subspace", [1, 2, 3])
def test_one_architecture_of_the_relaxed_network_is_that_of_nasbench101(subspace):
    space, x = NB1Shot1(subspace), images(TASK)
    table = space.nasbench101()
    shared = made(lambda: space.super_network(TASK, **SMALL)).eval()
    assert isinstance(shared, Relaxed)
    assert isinstance(space, Relaxable)
    for architecture in some(space, 12):
        relaxed = shared.relaxed(x, space.selected(architecture))
        assert torch.equal(relaxed, shared(x, architecture))
        own = build(lambda a=architecture: space.network(a, TASK, **SMALL), 0)
        own.load_state_dict(shared.inherit(architecture).state_dict())
        torch.testing.assert_close(own.eval()(x), relaxed)
        same = space.to_nasbench101(architecture)
        there = build(lambda a=same: table.network(a, TASK, **SMALL), 0)
        there.load_state_dict(renamed(space, architecture, own.state_dict()))
        assert torch.equal(there.eval()(x), own(x))


@pytest.mark.parametrize("subspace", [1, 2, 3])
def test_what_is_not_selected_is_not_touched(subspace):
    space = NB1Shot1(subspace)
    architecture = some(space, 0)[1]
    shared = build(lambda: space.super_network(TASK, **SMALL), 0).train()
    shared.relaxed(images(TASK), space.selected(architecture)).sum().backward()
    with torch.device("meta"):
        own = space.network(architecture, TASK, **SMALL)
    touched = {name for name, weight in shared.named_parameters() if weight.grad is not None}
    assert touched == {name for name, _ in own.named_parameters()}
    moved = {name for name, value in shared.named_buffers() if name.endswith("num_batches_tracked") and value > 0}
    assert moved == {name for name, _ in own.named_buffers() if name.endswith("num_batches_tracked")}


def weights_of(space, seed=0):
    """A softmax for each choice, with gradients."""
    generator = torch.Generator().manual_seed(seed)
    logits = [
        torch.randn(len(c.candidates), generator=generator, dtype=torch.float64).requires_grad_()
        for c in space.relaxed_choices()
    ]
    return logits, [dict(enumerate(torch.softmax(own, 0).float().unbind())) for own in logits]


@pytest.mark.parametrize("subspace", [1, 2, 3])
def test_the_output_is_the_sum_over_its_sets_of_parents(subspace):
    """Against cells of one set each, times the product of weights; everything else is one architecture."""
    space = NB1Shot1(subspace, channels=12, modules=1)  # what two and three vertices share equally
    shared = made(lambda: space.super_network(TASK)).eval()
    module = next(layer for layer in shared.layers if isinstance(layer, CellModule))
    output, size = space.inner + 1, space.parents[-1]
    x = torch.randn(2, 12, 9, 7, generator=torch.Generator().manual_seed(3))
    _, mixed = weights_of(space)
    place = len(space._open) - 1
    for architecture in some(space, 3):
        cell, wanted = space.wired(architecture), torch.zeros_like(x)
        # With loose ends, too, since other outputs have others.
        chosen = [{v - 1 - u: 1.0 for u in range(v) if cell.has_edge(u, v)} for v in space._open[:-1]]
        chosen += [mixed[place], *({option: 1.0} for option in cell.operations)]
        found = _mixed_cell(module, x, shared._wiring(chosen))
        for parents in itertools.combinations(range(output), size):
            masks = (*cell.predecessors[:-1], sum(1 << source for source in parents))
            weight = math.prod(float(mixed[place][output - 1 - source].detach()) for source in parents)
            wanted += weight * module(x, Cell(masks, cell.operations))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_vertex_sums_its_parents_by_their_weights():
    """By hand: vertex 3 of sub-space 1, fed by the input, 1 and 2, the only one that the output sees beside 1."""
    space = NB1Shot1(1, channels=8, modules=1)
    shared = made(lambda: space.super_network(TASK)).eval()
    module = next(layer for layer in shared.layers if isinstance(layer, CellModule))
    x = torch.randn(2, 8, 5, 5, generator=torch.Generator().manual_seed(3))
    to_3, to_4, to_output = {0: 0.5, 1: 0.3, 2: 0.2}, {3: 1.0, 2: 1.0}, {4 - 1: 1.0, 4 - 3: 1.0}
    operations = [{0: 1.0}, {1: 1.0}, {0: 0.25, 2: 0.75}, {2: 1.0}]
    found = _mixed_cell(module, x, shared._wiring([to_3, to_4, to_output, *operations]))

    def project(vertex):
        return module.projections[str(vertex)](x, 4)

    def do(vertex, operation, value):
        return module.operations[str(vertex)](value, OPERATIONS[operation])

    first = do(1, 0, project(1))
    second = do(2, 1, first + project(2))
    inside = 0.5 * second + 0.3 * first + 0.2 * project(3)
    third = 0.25 * do(3, 0, inside) + 0.75 * do(3, 2, inside)
    torch.testing.assert_close(found, torch.cat([first, third], 1))


@pytest.mark.parametrize("subspace", [1, 2, 3])
def test_a_mixture_teaches_all_parameters(subspace):
    space = NB1Shot1(subspace)
    shared = build(lambda: space.super_network(TASK, **SMALL), 0).train()
    logits, weights = weights_of(space)
    found = shared.relaxed(images(TASK), weights)
    assert found.shape == (4, 4)
    found.square().sum().backward()
    assert all(own.grad is not None and own.grad.abs().min() > 0 for own in logits)
    assert all(weight.grad is not None for weight in shared.parameters())


def test_all_wirings_are_computed_as_wide_as_in_their_cells():
    """Seven channels, so that vertices that feed the output differ in width: all wirings of sub-space 1."""
    space, task = NB1Shot1(1), InputShape((3, 2, 2), 3)
    shared, x = build(lambda: space.super_network(task, **SMALL), 0).eval(), images(task)
    wirings = [(*wiring, *(i % 3, i // 3 % 3, 0, 2)) for i, wiring in enumerate(np.ndindex(space.arities[:3]))]
    assert len(wirings) == 180
    with torch.no_grad():
        for architecture in wirings:
            assert torch.equal(shared.relaxed(x, space.selected(architecture)), shared(x, architecture))


@pytest.mark.parametrize("subspace", [1, 2, 3])
def test_any_candidates_can_be_left_out(subspace):
    space, rng, task = NB1Shot1(subspace), np.random.default_rng(subspace), InputShape((3, 2, 2), 3)
    shared, x = build(lambda: space.super_network(task, **SMALL), 0).eval(), images(task)
    sizes = [len(choice.candidates) for choice in space.relaxed_choices()]
    with torch.no_grad():
        for _ in range(60):
            kept = [rng.permutation(size)[: rng.integers(size + 1)].tolist() for size in sizes]
            found = shared.relaxed(x, [{option: float(rng.random()) for option in some} for some in kept])
            assert torch.isfinite(found).all()


def test_one_drawn_parent_at_each_vertex_is_enough():
    """As of relaxations that draw one candidate; what lacks in the output is zero."""
    space = NB1Shot1(3)
    shared = build(lambda: space.super_network(TASK, **SMALL), 0).eval()
    for seed in range(8):
        rng = np.random.default_rng(seed)
        drawn = [{int(rng.integers(len(choice.candidates))): 1.0} for choice in space.relaxed_choices()]
        assert torch.isfinite(shared.relaxed(images(TASK), drawn)).all()
    nothing = [{} for _ in space.relaxed_choices()]
    assert torch.isfinite(shared.relaxed(images(TASK), nothing)).all()


# -- searches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("relaxation", ["Softmax", "Gumbel"])
def test_search_by_gradient(relaxation):
    training = Training("digits", train_examples=40, batch_size=20, skeleton={"channels": 4, "modules": 1})
    evaluator = Differentiable(training, epochs=2, relaxation=getattr(relaxations, relaxation)(), architecture_rate=0.1)
    result = search(NB1Shot1(2), Derived(limit=3), evaluator, trials=3, seed=0)
    assert result.completed == 3
    first = min(result.history, key=lambda trial: trial.id)
    assert first.architecture == evaluator.derived()
    assert result.setup_cost.flops > 0


def test_other_methods_search_on_its_super_network():
    training = Training("digits", train_examples=40, batch_size=20, skeleton={"channels": 4, "modules": 1})
    result = search(NB1Shot1(1), RandomSearch(), OneShot(training, epochs=1), trials=2, seed=0)
    assert result.completed == 2


def test_the_preset_of_darts_searches_it(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    short = "--evaluator.epochs 1 --evaluator.training.train_examples 40 --trials 2 --seed 0 --quiet"
    skeleton = "--evaluator.training.skeleton.channels 4 --evaluator.training.skeleton.modules 1"
    status, out, err = run_command(
        capsys, "run", "--space", "NB1Shot1", "--preset", "darts_first", *short.split(), *skeleton.split()
    )
    assert status == 0, err
    assert "2 completed, 0 failed" in out


@pytest.mark.parametrize("subspace", [2, *(pytest.param(other, marks=pytest.mark.slow) for other in (1, 3))])
def test_candidates_cost_what_they_cost_unless_the_input_feeds_the_output(subspace):
    """Then the other vertices are wider, by what is counted for the dearest operations: never less than it costs."""
    space, shape = NB1Shot1(subspace, channels=12, modules=1), (1, 4, 4)
    with torch.device("meta"):
        shared = space.super_network(InputShape(shape, 3))
    costs = candidate_costs(shared, space.relaxed_choices(), shape)
    exactly = 0
    for architecture in some(space, 6):
        weights = space.selected(architecture)
        told, exact = costs.of(weights), multiply_adds(Mixed(shared, weights), shape)
        if space.wired(architecture).has_edge(0, space.inner + 1):
            assert told >= exact
        else:  # of a loose end, a projection that it always has is counted, though it does not run
            assert told == exact or (loose(space, architecture) and told > exact)
            exactly += told == exact
    assert exactly
