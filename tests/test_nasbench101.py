"""The space ``NASBench101`` and its networks, against the tables of EC-NAS and what is written here a second time.

EC-NAS (Bakhtiarifard, Igel & Selvan, ICASSP 2024) lists all cells of up to 5 vertices with their hashes and parameters.
"""

from __future__ import annotations

import collections
import itertools
import time

import networkx
import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

from archsearch.embedded import embedded_columns
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.evaluator import SharedWeights, Trainable
from archsearch.network import InputShape, build, multiply_adds, parameter_count, skeleton_settings
from archsearch.space import Space
from archsearch.spaces.nasbench101 import NASBench101
from archsearch.spaces.networks.nasbench101 import vertex_widths
from archsearch.spaces.networks.nasbench101_cell import OPERATIONS, Cell
from archsearch.testing import SPACE_CHECKS

LABELLED = {2: 1, 3: 7, 4: 97, 5: 3_364, 6: 128_509, 7: 1_293_208}
"""Labelled cells by most vertices."""

DIFFERENT = {2: 1, 3: 7, 4: 91, 5: 2_532, 6: 64_542, 7: 423_624}

ALPHA = 1e-4
"""Margin of the chi-square tests. Seeds are fixed: a right sampler that passes once always passes."""

CIFAR10 = InputShape((3, 32, 32), 10)
SMALL = InputShape((3, 9, 7), 4)


@pytest.fixture(scope="module")
def published() -> dict[str, tuple[str, int]]:
    """Hash to cell, in our notation, and parameters, of the tables of EC-NAS."""
    found = {}
    for file in ("ecnas_5v_4epochs", "ecnas_4v"):
        columns = embedded_columns(file, ("hash", "adjacency", "ops", "params")).values()
        found |= {code: (f"{adjacency} {ops}", params) for code, adjacency, ops, params in zip(*columns, strict=True)}
    return found


def on_paths(matrix: np.ndarray) -> list[int]:
    """The vertices on a path from the first to the last one, by networkx."""
    graph = networkx.from_numpy_array(matrix, create_using=networkx.DiGraph)
    last = len(matrix) - 1
    return sorted(({0} | networkx.descendants(graph, 0)) & ({last} | networkx.ancestors(graph, last)))


def cells_by_brute_force(max_vertices: int, max_edges: int) -> list[str]:
    """All cells as text, from all matrices."""
    texts = []
    for n in range(2, max_vertices + 1):
        pairs = list(itertools.combinations(range(n), 2))
        for bits in itertools.product((0, 1), repeat=len(pairs)):
            matrix = np.zeros((n, n), int)
            for (source, target), bit in zip(pairs, bits, strict=True):
                matrix[source, target] = bit
            if sum(bits) <= max_edges and on_paths(matrix) == list(range(n)):
                for operations in itertools.product(OPERATIONS, repeat=n - 2):
                    texts.append("".join(map(str, matrix.flatten())) + " " + ",".join(["input", *operations, "output"]))
    return texts


# -- the space -------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"max_vertices": 4}, {"max_vertices": 6, "max_edges": 4}], ids=str)
@pytest.mark.parametrize("name", SPACE_CHECKS)
def test_keeps_the_contract(name, settings):
    SPACE_CHECKS[name](lambda: NASBench101(**settings))


@pytest.mark.parametrize("settings", [{"max_vertices": 2}, {"max_edges": 1}, {"max_vertices": 3, "max_edges": 2}])
@pytest.mark.parametrize("name", ["mutation_changes_it", "neighbours_are_others", "decisions_keep_their_bounds"])
def test_tiny_spaces_keep_the_contract(name, settings):
    SPACE_CHECKS[name](lambda: NASBench101(**settings))


def test_sizes_are_exact_and_quickly_counted():
    begun = time.perf_counter()
    assert {n: NASBench101(max_vertices=n).size() for n in LABELLED} == LABELLED
    assert time.perf_counter() - begun < 2
    assert NASBench101().size() == 1_293_208


@pytest.mark.parametrize(("max_vertices", "max_edges"), [(4, 9), (5, 9), (5, 5), (5, 4), (4, 3), (5, 2)])
def test_members_are_exactly_the_valid_graphs(max_vertices, max_edges):
    space = NASBench101(max_vertices, max_edges)
    expected = cells_by_brute_force(max_vertices, max_edges)
    everything = list(space.enumerate())
    assert sorted(map(space.format, everything)) == sorted(expected)
    assert [space.parse(space.format(architecture)) for architecture in everything] == everything
    assert [space.from_cell(space.cell(architecture)) for architecture in everything] == everything
    assert max(space.arity(each[:i]) for each in everything for i in range(len(each))) == space.max_options
    assert max(map(len, everything)) == space.max_length
    assert space.most_vertices == max(architecture[0] for architecture in everything) + 2


def test_all_published_cells_and_hashes(published):
    assert len(published) == 2_532
    assert sum(text.count(",") <= 3 for text, _ in published.values()) == 91
    for space in (NASBench101(max_vertices=5), NASBench101()):
        for code, (text, _) in published.items():
            architecture = space.parse(text)
            assert space.canonical(architecture) == code
            assert space.format(architecture) == text
    text = next(iter(published.values()))[0]
    assert space.parse(f"  {text}\n") == space.parse(text)


@pytest.mark.parametrize("max_vertices", [2, 3, 4, 5, *(pytest.param(n, marks=pytest.mark.slow) for n in (6, 7))])
def test_different_cells_are_as_many_as_published(max_vertices):
    space = NASBench101(max_vertices=max_vertices)
    assert len(set(map(space.canonical, space.enumerate()))) == DIFFERENT[max_vertices]


def test_all_numberings_of_a_cell_have_its_hash():
    space, rng = NASBench101(), np.random.default_rng(0)
    several = 0
    for architecture in (space.sample(rng) for _ in range(60)):
        matrix, operations = space.decode(architecture)
        edges = np.argwhere(matrix)
        for _ in range(20):
            order = np.array([0, *(1 + rng.permutation(len(matrix) - 2)), len(matrix) - 1])
            if all(order[source] < order[target] for source, target in edges):
                moved = np.zeros_like(matrix)
                moved[order[edges[:, 0]], order[edges[:, 1]]] = 1
                names = [operations[np.flatnonzero(order == vertex)[0]] for vertex in range(len(order))]
                other = space.parse("".join(map(str, moved.flatten())) + " " + ",".join(names))
                several += other != architecture
                assert space.canonical(other) == space.canonical(architecture)
    assert several > 50


def test_decisions_of_a_cell():
    space = NASBench101()
    cell = space.parse("0110000100010000 input,maxpool3x3,conv3x3-bn-relu,output")
    # Four vertices. Into 1: {0}. Into 2: {0}, of {0}, {1}, {0, 1}. Into the output: {1, 2}, of that and {0, 1, 2}.
    assert cell == (2, 0, 0, 0, 2, 0)
    assert [space.arity(cell[:i]) for i in range(7)] == [6, 1, 3, 2, 3, 3, 0]
    assert [space.label(cell[:i]) for i in range(6)] == [
        "vertices",
        "predecessors of 1",
        "predecessors of 2",
        "predecessors of output",
        "operation of 1",
        "operation of 2",
    ]
    assert space.cell(cell) == Cell((0, 0b001, 0b001, 0b110), (2, 0))
    matrix, operations = space.decode(cell)
    assert matrix == [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert operations == ["input", "maxpool3x3", "conv3x3-bn-relu", "output"]
    graph = space.graph(cell)
    assert [graph.nodes[vertex]["label"] for vertex in range(4)] == operations
    assert sorted(graph.edges()) == [(0, 1), (0, 2), (1, 3), (2, 3)]


def test_membership_is_what_the_tree_says():
    space, rng = NASBench101(6, 7), np.random.default_rng(0)
    inside = 0
    for architecture in (space.sample(rng) for _ in range(500)):
        changed = list(architecture)
        changed[rng.integers(len(changed))] = int(rng.integers(-1, 6))
        for other in (tuple(changed), tuple(changed[:-1]), (*architecture, 0), architecture):
            assert (other in space) == Space.__contains__(space, other)
            inside += other in space
    assert 600 < inside < 1_000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected 1x1 digits"),
        ("0100", "expected 1x1 digits"),
        ("0120 input,output", "expected 2x2 digits 0 or 1 for 2 operations"),
        ("010 input,output", "expected 2x2 digits"),
        ("0 input", "must begin with input and end with output"),
        ("0100 output,input", "must begin with input and end with output"),
        ("011001000 input,skip,output", "unknown operations skip; there are conv3x3-bn-relu, "),
        ("010001100 input,maxpool3x3,output", "unlike 2->0"),
        ("010011000 input,maxpool3x3,output", "unlike 1->1"),
        ("0000 input,output", "on no path from the input to the output: vertex 0, 1"),
        ("001001000 input,maxpool3x3,output", "on no path from the input to the output: vertex 1"),
        ("0111001100010000 input,maxpool3x3,maxpool3x3,output", "expected at most 5 edges, got 6"),
        ("0100000100000100000100000 input,maxpool3x3,maxpool3x3,maxpool3x3,output", "expected 2 to 4 vertices, got 5"),
    ],
)
def test_what_is_no_cell_is_refused(text, reason):
    with pytest.raises(InvalidArchitecture, match="is no cell of NASBench101: .*" + reason):
        NASBench101(max_vertices=4, max_edges=5).parse(text)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_vertices": 1}, "max_vertices: expected 2 to 9, got 1"),
        ({"max_vertices": 10}, "max_vertices: expected 2 to 9, got 10"),
        ({"max_edges": 0}, "max_edges: expected a whole number >= 1, got 0"),
        ({"channels": 3}, "channels: expected at least 4, since so many vertices may share them, got 3"),
        ({"modules": True}, "modules: expected a whole number >= 1, got True"),
    ],
)
def test_wrong_settings_are_refused(settings, reason):
    with pytest.raises(UsageError, match=reason):
        NASBench101(**settings)


# -- variation -------------------------------------------------------------------------------------


def mutants(space: NASBench101, architecture) -> dict[tuple[int, ...], float]:
    """Probability of each mutant, from all that can be drawn; written from the rule, with matrices."""
    slots = space.max_vertices
    matrix, operations = space.decode(architecture)
    pairs = list(itertools.combinations(range(slots), 2))
    ways = [
        (places, free)
        for places in itertools.combinations(range(1, slots - 1), len(matrix) - 2)
        for free in itertools.product(OPERATIONS, repeat=slots - len(matrix))
    ]
    total: collections.Counter[tuple[int, ...]] = collections.Counter()
    for places, free in ways:
        spread, rest = np.zeros((slots, slots), int), list(free)
        spread[np.ix_([0, *places, slots - 1], [0, *places, slots - 1])] = matrix
        names = [operations[1 + places.index(i)] if i in places else rest.pop() for i in range(1, slots - 1)]
        found: collections.Counter[tuple[int, ...]] = collections.Counter()
        for flips in itertools.product((0, 1), repeat=len(pairs)):
            changed = spread.copy()
            for pair, flip in zip(pairs, flips, strict=True):
                changed[pair] ^= flip
            kept = on_paths(changed)
            pruned = changed[np.ix_(kept, kept)]
            if not kept or pruned.sum() > space.max_edges:
                continue
            p = 1 / len(pairs)
            edges = p ** sum(flips) * (1 - p) ** (len(pairs) - sum(flips))
            for new in itertools.product(OPERATIONS, repeat=slots - 2):
                differing = sum(a != b for a, b in zip(names, new, strict=True))
                q = 1 / (slots - 2)
                chance = edges * (q / 2) ** differing * (1 - q) ** (slots - 2 - differing)
                cell = ["input", *(new[vertex - 1] for vertex in kept[1:-1]), "output"]
                child = space.parse("".join(map(str, pruned.flatten())) + " " + ",".join(cell))
                if child != architecture:
                    found[child] += chance
        for child, chance in found.items():
            total[child] += chance / sum(found.values()) / len(ways)
    return total


@pytest.mark.parametrize(
    ("max_edges", "text"),
    [
        (9, "0110001100010000 input,conv1x1-bn-relu,maxpool3x3,output"),
        (5, "0111000100010000 input,maxpool3x3,maxpool3x3,output"),
        (9, "011001000 input,conv3x3-bn-relu,output"),
        (9, "0100 input,output"),
    ],
)
def test_mutation_follows_the_rule(max_edges, text):
    space, rng = NASBench101(4, max_edges), np.random.default_rng(0)
    parent = space.parse(text)
    chances = mutants(space, parent)
    assert sum(chances.values()) == pytest.approx(1)
    n = 10_000
    drawn = collections.Counter(space.mutate(parent, rng) for _ in range(n))
    assert set(drawn) <= set(chances)
    common = [each for each, chance in chances.items() if chance * n >= 5]
    expected = [chances[each] * n for each in common]
    observed = [drawn[each] for each in common]
    assert len(common) > 20
    rare = n - sum(expected)
    assert stats.chisquare([*observed, n - sum(observed)], [*expected, rare]).pvalue > ALPHA


def test_mutation_changes_how_many_vertices_there_are():
    space, rng = NASBench101(), np.random.default_rng(0)
    sizes = collections.Counter()
    architecture = space.parse("0100 input,output")
    for _ in range(3_000):
        mutant = space.mutate(architecture, rng)
        assert mutant in space
        assert mutant != architecture
        sizes[mutant[0] - architecture[0]] += 1
        architecture = mutant
    assert sum(n for step, n in sizes.items() if step > 0) > 100
    assert sum(n for step, n in sizes.items() if step < 0) > 100


def by_hand(space: NASBench101, architecture, everything) -> set[tuple[int, ...]]:
    """The neighbours, found by comparing with all cells of the space."""
    matrix, operations = (np.array(part) for part in space.decode(architecture))
    n = len(matrix)
    near = set()

    def add(smaller, names):
        kept = on_paths(smaller)
        if kept:
            text = "".join(map(str, smaller[np.ix_(kept, kept)].flatten())) + " " + ",".join(names[kept])
            near.add(space.parse(text))

    def without(cell, vertex):
        """What is left of a cell if a vertex with one edge in and one out goes, without and with an edge instead."""
        source, target = np.flatnonzero(cell[:, vertex])[0], np.flatnonzero(cell[vertex])[0]
        for bridge in (cell[source, target], 1):
            smaller = cell.copy()
            smaller[source, target] = bridge
            yield target, np.delete(np.delete(smaller, vertex, 0), vertex, 1)

    for source, target in np.argwhere(matrix):
        smaller = matrix.copy()
        smaller[source, target] = 0
        add(smaller, operations)
    for vertex in range(1, n - 1):
        if matrix[vertex].sum() == matrix[:, vertex].sum() == 1:
            for _, smaller in without(matrix, vertex):
                add(smaller, np.delete(operations, vertex))
    for other in everything:
        longer, names = (np.array(part) for part in space.decode(other))
        if len(longer) == n:
            if (longer != matrix).sum() + (names != operations).sum() == 1:
                near.add(other)
        elif len(longer) == n + 1:
            for vertex in range(1, n):
                if longer[vertex].sum() != 1 or longer[:, vertex].sum() != 1:
                    continue
                for target, smaller in without(longer, vertex):
                    same = (smaller == matrix).all() and (np.delete(names, vertex) == operations).all()
                    if same and target == vertex + 1:
                        near.add(other)
    return near - {architecture}


@pytest.mark.parametrize("max_edges", [9, 5])
def test_neighbours_are_one_step_away(max_edges):
    space = NASBench101(5, max_edges)
    everything = list(space.enumerate())
    for architecture in everything[:: len(everything) // 12]:
        near = list(space.neighbours(architecture))
        assert len(near) == len(set(near))
        assert set(near) == by_hand(space, architecture, everything)


@pytest.mark.parametrize("settings", [(5, 9), (5, 5), (4, 3), (3, 2)], ids=str)
def test_every_cell_can_be_reached(settings):
    space = NASBench101(*settings)
    graph = networkx.DiGraph()
    for architecture in space.enumerate():
        code = space.canonical(architecture)
        graph.add_edges_from((code, space.canonical(other)) for other in space.neighbours(architecture))
    assert len(graph) == len(set(map(space.canonical, space.enumerate())))
    assert networkx.is_strongly_connected(graph)


# -- networks --------------------------------------------------------------------------------------

WIRED = [(0, 1), (0, 3), (1, 2), (1, 4), (2, 3), (2, 6), (3, 6), (4, 5), (5, 6)]
"""Seven vertices: 2, 3 and 5 feed the output; 1 has more channels than 4, and on odd shares 2 has more than 3."""

WIRED_OPERATIONS = ("conv3x3-bn-relu", "maxpool3x3", "conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3")

WIDTHS = {
    8: {1: 3, 2: 3, 3: 3, 4: 2, 5: 2},
    16: {1: 6, 2: 6, 3: 5, 4: 5, 5: 5},
    32: {1: 11, 2: 11, 3: 11, 4: 10, 5: 10},
}


def wired(space: NASBench101):
    predecessors = tuple(sum(1 << source for source, target in WIRED if target == vertex) for vertex in range(7))
    return space.from_cell(Cell(predecessors, tuple(map(OPERATIONS.index, WIRED_OPERATIONS))))


def some(space: NASBench101, n: int) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(0)
    return [(0, 0), wired(space), *(space.sample(rng) for _ in range(n))]


def made(make, seed: int = 0):
    """A network whose batch normalisations look as after some training."""
    network = build(make, seed)
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                values.uniform_(0.5, 1.5, generator=generator)
    return network


def images(task: InputShape, n: int = 4) -> torch.Tensor:
    return torch.randn(n, *task.input_shape, generator=torch.Generator().manual_seed(2))


def counted(space: NASBench101, architecture, task: InputShape = CIFAR10) -> int:
    with torch.device("meta"):
        return parameter_count(space.network(architecture, task))


def test_parameters_are_the_published_ones(published):
    space = NASBench101(max_vertices=5)
    smaller = [each for each in published.values() if each[0].count(",") <= 3]
    for text, parameters in [*smaller, *[each for each in published.values() if each not in smaller][::40]]:
        assert counted(space, space.parse(text)) == parameters, text


@pytest.mark.slow
def test_parameters_of_all_cells_are_the_published_ones(published):
    space = NASBench101(max_vertices=5)
    for text, parameters in published.values():
        assert counted(space, space.parse(text)) == parameters, text


def test_widths_by_hand():
    space = NASBench101()
    assert {outputs: vertex_widths(space.cell(wired(space)), outputs) for outputs in WIDTHS} == WIDTHS
    for architecture in some(space, 200):
        cell = space.cell(architecture)
        widths = vertex_widths(cell, 128)
        ends = [vertex for vertex in widths if cell.has_edge(vertex, cell.output)]
        assert sum(widths[vertex] for vertex in ends) == (128 if ends else 0)
        assert list(widths) == list(range(1, cell.output))
        for source, target in itertools.combinations(widths, 2):
            assert not cell.has_edge(source, target) or widths[source] >= widths[target]


def test_forward_pass_by_hand():
    space = NASBench101(channels=8, modules=1)
    network = made(lambda: space.network(wired(space), SMALL)).eval()
    state = network.state_dict()

    def conv_bn_relu(name, x):
        weight = state[f"{name}.conv.weight"]
        x = functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
        norm = [state[f"{name}.norm.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.relu(functional.batch_norm(x, *norm, eps=1e-5))

    def pool(x):
        return functional.max_pool2d(x, 3, stride=1, padding=1)

    x = conv_bn_relu("stem", images(SMALL))
    for layer, outputs in ((0, 8), (2, 16), (4, 32)):
        if layer:
            x = functional.max_pool2d(x, 2, ceil_mode=True)
        at, width = f"layers.{layer}", WIDTHS[outputs]
        one = conv_bn_relu(f"{at}.operations.1.conv3x3-bn-relu", conv_bn_relu(f"{at}.projections.1", x))
        two = pool(one)
        three = conv_bn_relu(f"{at}.projections.3", x) + two[:, : width[3]]
        three = conv_bn_relu(f"{at}.operations.3.conv1x1-bn-relu", three)
        five = pool(conv_bn_relu(f"{at}.operations.4.conv3x3-bn-relu", one[:, : width[4]]))
        x = torch.cat([two, three, five], dim=1)
        assert x.shape[1] == outputs
    logits = functional.linear(x.mean(dim=(2, 3)), state["head.1.weight"], state["head.1.bias"])
    torch.testing.assert_close(network(images(SMALL)), logits)


def test_an_edge_from_input_to_output_adds_to_all_channels():
    space = NASBench101(channels=8, modules=1)
    network = made(lambda: space.network(space.parse("011001000 input,maxpool3x3,output"), SMALL)).eval()
    cell = network.layers[0]
    x = torch.rand(2, 8, 5, 5, generator=torch.Generator().manual_seed(3))
    pooled = functional.max_pool2d(cell.projections["1"](x, 8), 3, stride=1, padding=1)
    expected = pooled + cell.projections["output"](x, 8)
    torch.testing.assert_close(cell(x, space.cell(network.architecture)), expected)


def test_a_stand_alone_network_holds_leading_slices_of_the_super_network():
    space = NASBench101(channels=8, modules=2)
    whole = build(lambda: space.super_network(SMALL), 0).state_dict()
    for architecture in some(space, 10):
        part = build(lambda architecture=architecture: space.network(architecture, SMALL), 0).state_dict()
        assert set(part) <= set(whole)
        for name, values in part.items():
            assert all(a <= b for a, b in zip(values.shape, whole[name].shape, strict=True))
    assert not any(name.startswith("layers.0.operations.6") for name in whole)


def test_inherited_networks_compute_what_the_super_network_computes():
    space = NASBench101(channels=8, modules=2)
    shared = made(lambda: space.super_network(SMALL)).eval()
    x = images(SMALL)
    before = torch.get_rng_state()
    for architecture in some(space, 10):
        child = shared.inherit(architecture)
        assert child.architecture == architecture
        assert not child.training
        assert counted(space, architecture, SMALL) == parameter_count(child)
        torch.testing.assert_close(child(x), shared(x, architecture))
        child.head[1].weight.data.zero_()  # a copy: the super-network keeps its own
    assert shared.head[1].weight.abs().sum() > 0
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(UsageError, match="stands for"):
        child.inherit((0, 0))


def test_training_one_path_touches_only_its_slices():
    space = NASBench101(channels=8, modules=1)
    shared = made(lambda: space.super_network(SMALL)).train()
    before = {name: values.clone() for name, values in shared.state_dict().items()}
    architecture = wired(space)
    child = shared.inherit(architecture)
    assert child.training
    outputs = shared(images(SMALL), architecture)
    torch.testing.assert_close(outputs, child(images(SMALL)))
    outputs.square().sum().backward()
    used = {name: values.shape for name, values in child.state_dict().items()}
    for name, parameter in shared.named_parameters():
        if name not in used:
            assert parameter.grad is None
            continue
        leading = torch.zeros_like(parameter, dtype=torch.bool)
        leading[tuple(map(slice, used[name]))] = True
        assert parameter.grad[leading].abs().sum() > 0
        assert parameter.grad[~leading].abs().sum() == 0
    after, own = shared.state_dict(), child.state_dict()
    for name, values in after.items():
        if "running" in name and name in used:
            n = used[name][0]
            torch.testing.assert_close(values[:n], own[name])
            assert not torch.equal(values[:n], before[name][:n])
            assert torch.equal(values[n:], before[name][n:])
        elif "num_batches" in name:
            assert values == before[name] + (name in used)
        else:
            assert torch.equal(values, before[name])


def test_batch_norm_without_momentum_averages_all_batches():
    space = NASBench101(channels=4, modules=1)
    network = build(lambda: space.network((0, 0), SMALL), 0).train()
    norm = network.stem.norm
    norm.momentum = None
    x = images(SMALL, 8)
    means = []
    for batch in x.split(4):
        means.append(network.stem.conv(batch).mean(dim=(0, 2, 3)))
        network(batch)
    torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(dim=0))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 1, 1), (2, 5, 7), (3, 32, 32)])
def test_images_of_any_size(shape):
    space = NASBench101(channels=4, modules=1)
    task = InputShape(shape, 3)
    shared = build(lambda: space.super_network(task), 0)
    for architecture in some(space, 3):
        network = build(lambda architecture=architecture: space.network(architecture, task), 0)
        for logits in (network(images(task)), shared(images(task), architecture)):
            assert logits.shape == (4, 3)
            assert torch.isfinite(logits).all()


def test_multiply_adds_by_hand():
    space = NASBench101()
    with torch.device("meta"):
        smallest = space.network((0, 0), CIFAR10)
        chain = space.network(space.parse("010001000 input,conv3x3-bn-relu,output"), CIFAR10)
    stages = [(128, 32 * 32), (256, 16 * 16), (512, 8 * 8)]
    projections = sum(pixels * (width // 2 if width > 128 else width) * width for width, pixels in stages)
    projections += sum(2 * pixels * width**2 for width, pixels in stages)
    rest = 3 * 128 * 9 * 32 * 32 + 512 * 10 + 10
    assert multiply_adds(smallest, (3, 32, 32)) == rest + projections == 137_761_802
    convolutions = sum(3 * 9 * pixels * width**2 for width, pixels in stages)
    assert multiply_adds(chain, (3, 32, 32)) == rest + projections + convolutions


def test_the_skeleton_can_be_set():
    space = NASBench101(channels=8, modules=1)
    assert isinstance(space, Trainable)
    assert isinstance(space, SharedWeights)
    assert skeleton_settings(space) == ("channels", "modules")
    with torch.device("meta"):
        network = space.network((0, 0), SMALL, channels=16, modules=2)
        shared = space.super_network(SMALL, channels=16, modules=2)
    assert len(network.layers) == len(shared.layers) == 3 * 2 + 2
    assert network.stem.conv.out_channels == shared.stem.conv.out_channels == 16
    with pytest.raises(UsageError, match="channels: expected at least 4"):
        space.network((0, 0), SMALL, channels=2)
    with pytest.raises(InvalidArchitecture, match="not in NASBench101"):
        space.network((0, 1), SMALL)
    with pytest.raises(UsageError, match="computes one architecture at a time"):
        shared(torch.empty(1, *SMALL.input_shape, device="meta"))
    with pytest.raises(UsageError, match="stands for"):
        network(torch.empty(1, *SMALL.input_shape, device="meta"), wired(space))
