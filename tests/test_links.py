"""Spaces of layers with bits for earlier layers: ENASMacro, NASRL, GeneticCNN."""

import itertools
import math

import networkx
import numpy as np
import pytest
import torch
from cells_lab import DIGITS, images, inheriting, on_meta, sampled

from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.evaluators.inheriting import inherit
from archsearch.networks.multiply_adds import multiply_adds
from archsearch.networks.network import InputShape, build
from archsearch.spaces import NASRL, ENASMacro, GeneticCNN
from archsearch.spaces.enas_macro import OPERATIONS as ENAS_MACRO

MACRO = ENASMacro(layers=6, channels=4, auxiliary=True)
GENETIC = GeneticCNN(channels=4)


# -- counts ----------------------------------------------------------------------------------------


def test_published_counts():
    assert ENASMacro().size() == 6**12 * 2**66
    assert f"{ENASMacro().size():.3e}" == "1.606e+29"
    assert GeneticCNN().size() == 524_288
    assert GeneticCNN().arities == (2,) * 19


@pytest.mark.parametrize("strides", [False, True])
@pytest.mark.parametrize("force_direct", [False, True])
def test_published_counts_of_nas_rl(strides, force_direct):
    space = NASRL(15, strides, force_direct)
    bits = 91 if force_direct else 105
    assert space.size() == (576 if strides else 64) ** 15 * 2**bits
    for architecture in sampled(space, 5):
        (layers,) = space.read(architecture)
        assert all(0 <= j < i for i, layer in enumerate(layers) for j in layer.sources)
        assert not force_direct or all(i - 1 in layers[i].sources for i in range(1, 15))
        assert space.write([layers]) == architecture


def test_the_largest_space_of_nas_rl():
    assert math.log10(NASRL(15, strides=True).size()) == pytest.approx(73.0, abs=0.05)
    assert math.log10(NASRL(20, strides=True).size()) == pytest.approx(112.4, abs=0.05)


# -- ENAS's chains ---------------------------------------------------------------------------------


def test_tokens_of_enas_decode():
    space = ENASMacro(layers=4)
    architecture = space.parse("0\n3 0\n0 1 0\n2 0 0 1\n")
    assert space.decode(architecture) == (
        ("conv_3x3", ()), ("sep_conv_5x5", ()), ("conv_3x3", (0,)), ("conv_5x5", (2,))
    )  # fmt: skip
    assert space.format(architecture) == "0 3 0 0 1 0 2 0 0 1"
    assert space.label(architecture[:4]) == "layer 3: from layer 1"
    for wrong in ("0 3 0 0 1 0 2 0 0", "0 3 0 0 1 0 2 0 0 2", "6 3 0 0 1 0 2 0 0 1", "0 3 0 0 1 0 2 0 0 -1"):
        with pytest.raises(InvalidArchitecture):
            space.parse(wrong)


def test_the_published_chain_of_enas_decodes():
    """What the authors' script cifar10_macro_final.sh has, read off line by line; it has no pooling."""
    space = ENASMacro(24, 96)
    chain = space.decode(space.parse("ENAS-macro"))
    operations = [ENAS_MACRO.index(operation) for operation, _ in chain]
    assert operations == [0, 3, 0, 2, 2, 3, 2, 2, 1, 0, 2, 0, 2, 1, 0, 2, 2, 2, 3, 3, 0, 3, 0, 0]
    assert chain[:4] == (("conv_3x3", ()), ("sep_conv_5x5", ()), ("conv_3x3", (0,)), ("conv_5x5", (2,)))
    assert chain[9] == ("conv_3x3", ())
    assert chain[16] == ("conv_5x5", (1, 5, 8, 9, 10, 11, 14))
    assert chain[23] == ("conv_3x3", (0, 1, 5, 6, 7, 9, 13, 15, 18, 19))
    assert len(space.format(space.parse("ENAS-macro")).split()) == 24 + 24 * 23 // 2
    with pytest.raises(InvalidArchitecture, match="with layers 24; set that"):
        ENASMacro().parse("ENAS-macro")


def test_a_chain_of_enas_written_out():
    space = ENASMacro(layers=3, channels=4)  # reductions before layers 1 and 2
    architecture = space.parse("5 4 0 1 1 0")
    network = build(lambda: space.network(architecture, DIGITS), 0).eval()
    assert sorted(network.halved) == ["0-1", "0-2", "1-2"]
    assert list(network.joins) == ["2"]
    with torch.no_grad():
        first = network.layers[0]["max_pool_3x3"](network.stem(images()))
        second = network.layers[1]["avg_pool_3x3"](network.halved["0-1"](first))
        before = network.halved["1-2"](second)
        third = network.layers[2]["sep_conv_3x3"](before)
        early = network.halved["0-2"](network.halved["0-1"](first))
        join = network.joins["2"]
        weight = torch.cat([join.conv.of["0"].weight, join.conv.of["2"].weight], dim=1)
        out = join.norm(torch.nn.functional.conv2d(torch.cat([early, third], dim=1).relu(), weight))
        torch.testing.assert_close(network(images()), network.head(out.relu()))


# -- Genetic CNN -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("nodes", "classes"), [(2, 2), (3, 6), (4, 31), (5, 302)])
def test_canonical_forms_of_a_stage_are_the_unlabelled_acyclic_graphs(nodes, classes):
    """Their numbers are known: OEIS A003087."""
    space = GeneticCNN([nodes])
    forms = {space.canonical(architecture) for architecture in space.enumerate()}
    assert len(forms) == classes
    assert all(space.canonical(form) == form for form in forms)


def test_equal_forms_are_isomorphic_graphs():
    space = GeneticCNN([5])
    for architecture in sampled(space, 30):
        one, other = (space.graph(each) for each in (architecture, space.canonical(architecture)))
        assert networkx.is_isomorphic(one, other)


def test_crossover_exchanges_stages():
    space, rng = GeneticCNN(exchange=0.3), np.random.default_rng(0)
    first, second = (0,) * 19, (1,) * 19
    ends = (3, 9, 19)
    taken = np.zeros(3)
    for _ in range(2000):
        child = space.crossover(first, second, rng)
        stages = [set(child[start:end]) for start, end in zip((0, 3, 9), ends, strict=True)]
        assert all(len(stage) == 1 for stage in stages)
        taken += [stage == {1} for stage in stages]
    assert np.all(np.abs(taken - 600) < 5 * (2000 * 0.3 * 0.7) ** 0.5)


def test_a_stage_without_edges_is_its_first_convolution_and_isolated_nodes_are_left_out():
    space = GENETIC
    architecture = space.parse("0-00 | 0-10-000 | 0-00-000-0001")  # stages: no edge; 1 to 3; 4 to 5
    network = build(lambda: space.network(architecture, DIGITS), 0).eval()
    assert [list(stage) for stage in network.stages] == [
        ["first"],
        ["first", "0", "2", "last"],
        ["first", "3", "4", "last"],
    ]
    with torch.no_grad():
        x = network.pool(network.stages[0]["first"](images()))
        for stage, (one, two) in zip(network.stages[1:], (("0", "2"), ("3", "4")), strict=True):
            x = network.pool(stage["last"](stage[two](stage[one](stage["first"](x)))))
        torch.testing.assert_close(network(images()), network.head(x))
    graph = space.graph(architecture)
    assert networkx.dag_longest_path_length(graph) == len(graph) - 1 == 1 + 4 + 4 + 1


def test_inputs_of_a_node_are_added_up():
    space = GeneticCNN([3], channels=4)
    network = build(lambda: space.network(space.parse("0-11"), DIGITS), 0).eval()
    stage = network.stages[0]
    with torch.no_grad():
        x = stage["first"](images())
        out = stage["last"](stage["2"](stage["0"](x) + stage["1"](x)))
        torch.testing.assert_close(network(images()), network.head(network.pool(out)))
    loose = build(lambda: space.network(space.parse("1-10"), DIGITS), 0).eval()
    with torch.no_grad():
        stage = loose.stages[0]
        one = stage["0"](stage["first"](images()))
        out = stage["last"](stage["1"](one) + stage["2"](one))
        torch.testing.assert_close(loose(images()), loose.head(loose.pool(out)))


# -- NAS-RL -------------------------------------------------------------------------------------------


def test_repairs_of_nas_rl():
    space = NASRL(4, strides=True)
    text = "3x3x24/2x2 | 1x7x36/1x1 | 5x1x48/1x3 <- 1 2 | 7x7x64/3x3 <- 1"
    architecture = space.parse(text)
    assert space.format(architecture) == text
    assert space.parse(text.replace(" ", "\n  ")) == space.parse(text.replace(" <- ", "<-")) == architecture
    network = build(lambda: space.network(architecture, InputShape((3, 9, 8), 5)), 0).eval()
    x = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    values = space.values
    layers = [(layer, values(each)) for layer, each in zip(network.layers, space.read(architecture)[0], strict=True)]
    with torch.no_grad():
        one, two = (layer({"image": x}, shape) for layer, shape in layers[:2])  # nothing feeds them: both get the image
        assert (one.shape, two.shape) == ((2, 24, 5, 4), (2, 36, 9, 8))
        stored, plain = layers[0][0].of["image"].weight, torch.zeros(24, 3, 3, 3)
        for row, column in itertools.product(range(3), range(3)):  # the middle is stored first, then above, then below
            plain[:, :, (1, 0, 2)[row], (1, 0, 2)[column]] = stored[:, :, row, column]
        convolved = torch.nn.functional.conv2d(x, plain, stride=2, padding=1)
        torch.testing.assert_close(one, layers[0][0].norm(convolved).relu())
        padded = torch.zeros(2, 24, 9, 8)
        padded[:, :, :5, :4] = one
        three = layers[2][0]({"0": padded, "1": two}, layers[2][1])
        torch.testing.assert_close(three, layers[2][0]({"0": one, "1": two}, layers[2][1]))
        four = layers[3][0]({"0": one}, layers[3][1])
        assert (three.shape, four.shape) == ((2, 48, 9, 3), (2, 64, 2, 2))
        ends = torch.zeros(2, 112, 9, 3)  # neither feeds a layer: both go to the classifier
        ends[:, :48], ends[:, 48:, :2, :2] = three, four
        weight = torch.cat([network.classifiers[name].weight for name in ("2", "3")], dim=1)
        logits = ends.mean((2, 3)) @ weight.T + network.classifiers["3"].bias
        torch.testing.assert_close(network(x), logits)
    graph = space.graph(architecture)
    assert sorted(graph.successors(0)) == [1, 2]
    assert sorted(graph.predecessors(5)) == [3, 4]


@pytest.mark.parametrize(
    "text",
    [
        "3x3x24 | 3x3x24 <- 2", "3x3x24 | 3x3x24 <- 1 1", "3x3x24 | 3x3x25", "3x3x24/1x1 | 3x3x24", "3x3x24",
        "3x3x24 <- 1 | 3x3x24", "3x3 | 3x3x24", "3x3x24 | 3x3x24 <- ",
    ],
)  # fmt: skip
def test_bad_chains_are_refused(text):
    with pytest.raises(InvalidArchitecture, match="NASRL"):
        NASRL(2).parse(text)


# -- all of them ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [MACRO, GENETIC], ids=["ENASMacro", "GeneticCNN"])
def test_inherited_weights_compute_what_the_super_network_computes(space):
    architectures = [(0,) * space.max_length, *sampled(space, 3)]
    for _, alone, _ in inheriting(space, architectures):
        assert torch.equal(alone(images()), alone.with_auxiliary(images())[0])
        alone.train().zero_grad(set_to_none=True)
        sum(alone.with_auxiliary(images(8))[: 1 + (space is MACRO)]).sum().backward()
        assert all(parameter.grad is not None for parameter in alone.parameters())


def test_a_path_of_nas_rl_takes_leading_parts_of_the_super_network():
    space = NASRL(4, strides=True)
    shared = build(lambda: space.super_network(DIGITS), 0)
    largest = space.parse("7x7x64/1x1 | 7x7x64/1x1 <- 1 | 7x7x64/1x1 <- 1 2 | 7x7x64/1x1 <- 1 2 3")
    architectures = [largest, *sampled(space, 4)]
    for architecture in architectures:
        shared.train()(images(6), architecture)
    for architecture in architectures:
        alone = build(lambda a=architecture: space.network(a, DIGITS), 1).eval()
        inherit(alone, shared.eval().state_dict())
        torch.testing.assert_close(alone(images()), shared(images(), architecture))
        assert multiply_adds(alone, (1, 8, 8)) == multiply_adds(shared, (1, 8, 8), architecture)
        alone.train()(images(8)).sum().backward()
        assert all(parameter.grad is not None for parameter in alone.parameters())


@pytest.mark.parametrize("space", [MACRO, NASRL(5, strides=True), GENETIC], ids=["ENASMacro", "NASRL", "GeneticCNN"])
def test_odd_sizes(space):
    for architecture, side in itertools.product(sampled(space, 2), (1, 7, 8)):
        network = build(lambda a=architecture: space.network(a, DIGITS), 0).eval()
        assert network(images(2, side)).shape == (2, 10)


@pytest.mark.parametrize("space", [MACRO, NASRL(5, strides=True), GENETIC], ids=["ENASMacro", "NASRL", "GeneticCNN"])
def test_paths_of_the_operation_graphs_are_those_of_the_drawing(space):
    architectures = sampled(space, 5)
    graphs = space.operation_graphs(architectures)
    assert space.operation_graphs([]).adjacency.shape == (0, *graphs.adjacency.shape[1:])
    for row, architecture in enumerate(architectures):
        graph = space.graph(architecture)
        edges = {(int(a), int(b)) for a, b in np.argwhere(graphs.adjacency[row])}
        assert edges == set(graph.edges())
        assert (graphs.labels[row, sorted(set(graph) - {0, max(graph)})] >= 0).all()
        assert graphs.labels[row].max() < graphs.kinds
        assert networkx.dag_longest_path_length(graph) - 1 <= graphs.longest


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: ENASMacro(layers=61), "from 1 to 60"),
        (lambda: ENASMacro(auxiliary="yes"), "true or false"),
        (lambda: NASRL(layers=41), "from 1 to 40"),
        (lambda: NASRL(strides=1), "true or false"),
        (lambda: GeneticCNN(stages=[8]), "from 1 to 7"),
        (lambda: GeneticCNN(stages=[1, 1]), "at least 2 nodes"),
        (lambda: GeneticCNN(stages=3), "a list"),
        (lambda: GeneticCNN(kernel=4), "odd"),
        (lambda: GeneticCNN(exchange=1.5), "exchange"),
    ],
)
def test_wrong_settings(make, why):
    with pytest.raises(UsageError, match=why):
        make()


def test_enas_with_published_settings_can_be_built():
    space = ENASMacro(24, 96)
    network = on_meta(lambda: space.network((0,) * space.max_length, InputShape((3, 32, 32), 10)))
    assert [layer["conv_3x3"][0].out_channels for layer in network.layers] == [96] * 8 + [192] * 8 + [384] * 8
