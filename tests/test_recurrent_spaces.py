"""Recurrent spaces: sizes, published cells, equal forms, networks that are those of PyTorch."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.networks.multiply_adds import multiply_adds, parameter_count
from archsearch.networks.network import InputShape, build
from archsearch.networks.recurrent import CarriedState
from archsearch.spaces import DARTSCell, ENASCell, NASBenchNLP, NASRLCell

TASK = InputShape((1,), 5)
TOKENS = torch.randint(5, (3, 8), generator=torch.Generator().manual_seed(0))


def made(space, architecture, seed=0):
    return build(lambda: space.network(space.parse(architecture), TASK), seed).eval()


# -- sizes ---------------------------------------------------------------------------------------


def test_sizes_of_the_literature():
    assert DARTSCell().size() == 4**8 * math.factorial(8) == 2_642_411_520
    assert ENASCell().size() == 4**12 * math.factorial(11)
    assert ENASCell(first="fixed").size() == 4**11 * math.factorial(11)
    assert ENASCell(nodes=13, first="fixed").size() == 4**12 * math.factorial(12)
    assert NASRLCell().size() == 8**16 * 15**2 == pytest.approx(6.333e16, rel=1e-4)


def test_parameters_of_a_darts_cell():
    """Two maps of the first node and eight of the others, each to twice the width, and a tied embedding with a bias."""
    network = made(DARTSCell(width=16), "DARTS_V2")
    assert parameter_count(network) == 10 * 16 * 32 + 5 * 16 + 5
    assert multiply_adds(network, (1,)) == 10 * 16 * 32 + 5 * 16 + 5
    assert parameter_count(made(DARTSCell(width=16, tied=False), "DARTS_V2")) == 10 * 16 * 32 + 2 * 5 * 16 + 5


# -- published cells -------------------------------------------------------------------------------


def reference(network, pairs, tokens):
    """The DARTS cell, written out as in the paper: sums of highway nodes, their average."""
    cell, activations = network.cell, {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}
    hidden = torch.zeros(len(tokens), network.width)
    outputs = []
    for x in network.embedding.weight[tokens].unbind(1):
        both = x @ cell.input.weight.T + hidden @ cell.hidden_state.weight.T
        gate, value = both[:, : network.width].sigmoid(), both[:, network.width :].tanh()
        nodes = [hidden + gate * (value - hidden)]
        for number, (name, source) in enumerate(pairs, 1):
            both = nodes[source] @ cell.maps[str(number)].weight.T
            gate, value = both[:, : network.width].sigmoid(), both[:, network.width :]
            nodes.append(nodes[source] + gate * (activations.get(name, lambda x: x)(value) - nodes[source]))
        hidden = sum(nodes[1:]) / 8
        outputs.append(hidden @ network.embedding.weight.T + network.decoder.bias)
    return torch.stack(outputs, 1)


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("DARTS_V1", "relu 0 relu 1 tanh 2 relu 3 relu 4 identity 1 relu 5 relu 1"),
        ("DARTS_V2", "sigmoid 0 relu 1 relu 1 identity 1 tanh 2 sigmoid 5 tanh 3 relu 5"),
    ],
)
def test_published_darts_cells(name, pairs):
    words = pairs.split()
    cell = DARTSCell(width=6)
    assert [(node.activation, node.source) for node in cell.decode(cell.parse(name)).nodes] == list(
        zip(words[::2], map(int, words[1::2]), strict=True)
    )
    network = made(cell, name)
    expected = reference(network, list(zip(words[::2], map(int, words[1::2]), strict=True)), TOKENS)
    torch.testing.assert_close(network(TOKENS), expected, atol=1e-6, rtol=1e-6)


def test_the_published_cell_of_enas_decodes():
    """The tokens of the authors' README: the first activation, then input and activation of each node."""
    tokens = [
        int(token)
        for token in [
            "0",
            "0",
            "0",
            "1",
            "1",
            "2",
            "1",
            "2",
            "0",
            "2",
            "0",
            "5",
            "1",
            "1",
            "0",
            "6",
            "1",
            "8",
            "1",
            "8",
            "1",
            "8",
            "1",
        ]
    ]
    names = ("tanh", "relu", "identity", "sigmoid")
    cell = ENASCell().decode(ENASCell().parse("ENAS-RNN"))
    found = [names.index(cell.first), *(x for node in cell.nodes for x in (node.source, names.index(node.activation)))]
    assert found == tokens
    for other in (ENASCell(nodes=8), ENASCell(first="fixed")):
        with pytest.raises(InvalidArchitecture, match="is no ENASCell"):
            other.parse("ENAS-RNN")


def test_enas_averages_loose_ends():
    space = ENASCell(nodes=4, width=6)
    architecture = space.parse("tanh relu(0) sigmoid(0) identity(1)")
    assert space.ends(architecture) == (2, 3)
    assert set(build(lambda: space.network(architecture, TASK), 0).cell.maps) == {"0-1", "0-2", "1-3"}
    assert len(build(lambda: space.super_network(TASK), 0).cell.maps) == 1 + 2 + 3


def test_equal_forms_are_equal_functions():
    """Numbering nodes otherwise, and their maps with them, changes nothing."""
    for space, names in ((DARTSCell(width=6), "12345678"), (ENASCell(nodes=9, width=6), None)):
        first = "" if names else "tanh "
        one, other = (
            space.parse(f"{first}relu(0) tanh(0) {'sigmoid(1) ' * 6}"),
            space.parse(f"{first}tanh(0) relu(0) {'sigmoid(2) ' * 6}"),
        )
        assert space.canonical(one) == space.canonical(other)
        a, b = (build(functools.partial(space.network, each, TASK), 0).eval() for each in (one, other))
        values = a.state_dict()
        if names:
            swapped = {"1": "2", "2": "1"}
        else:
            swapped = {"0-1": "0-2", "0-2": "0-1", **{f"2-{i}": f"1-{i}" for i in range(3, 9)}}
        moved = {name: values[".".join(swapped.get(word, word) for word in name.split("."))] for name in b.state_dict()}
        b.load_state_dict(moved)
        torch.testing.assert_close(a(TOKENS), b(TOKENS), atol=1e-6, rtol=1e-5)
        assert space.canonical(one) != space.canonical(space.parse(f"{first}relu(0) tanh(0) {'sigmoid(2) ' * 6}"))


def test_canonical_forms_of_small_trees():
    """Trees of three nodes with two activations, counted by hand over rooted labelled trees."""
    space = ENASCell(nodes=3, first="fixed")
    forms = {space.canonical(each) for each in space.enumerate()}
    assert space.size() == 4 * 4 * 2
    assert len(forms) == 4 * 4 + 4 * 5 // 2, "chains, and pairs of leaves without an order"


# -- NAS-RL ----------------------------------------------------------------------------------------


def test_the_example_of_nas_rl():
    """The paper's cell of two leaves, section 3.4."""
    space = NASRLCell(base=2, width=6)
    network = made(space, "add-tanh mul-relu mul-sigmoid inject add-relu 0 memory 1")
    cell, hidden, memory, expected = network.cell, torch.zeros(3, 6), torch.zeros(3, 6), []
    for x in network.embedding.weight[TOKENS].unbind(1):
        w1, w3 = (x @ cell.input.weight.T).chunk(2, 1)
        w2, w4 = (hidden @ cell.hidden_state.weight.T).chunk(2, 1)
        a0, a1 = torch.tanh(w1 + w2), torch.relu(w3 * w4)
        hidden, memory = torch.sigmoid(torch.relu(a0 + memory) * a1), w3 * w4
        expected.append(hidden @ network.embedding.weight.T + network.decoder.bias)
    torch.testing.assert_close(network(TOKENS), torch.stack(expected, 1), atol=1e-6, rtol=1e-6)


def test_branches_of_nas_rl_have_no_order():
    space = NASRLCell(base=2)
    one = space.parse("add-tanh mul-relu mul-sigmoid inject add-relu 0 memory 1")
    assert space.canonical(one) == space.canonical(
        space.parse("mul-relu add-tanh mul-sigmoid inject add-relu 1 memory 0")
    )
    assert space.canonical(one) != space.canonical(
        space.parse("mul-relu add-tanh mul-sigmoid inject add-relu 0 memory 0")
    )


# -- NAS-Bench-NLP ---------------------------------------------------------------------------------


def outputs(network, x):
    """The cell's own outputs, shape (batch, length, width)."""
    cell, states, found = network.cell, None, []
    states = tuple(torch.zeros(len(x), network.width) for _ in range(cell.hidden))
    for given in cell.projected(x.transpose(0, 1), None).unbind(0):
        states = cell.step(given, states, None)
        found.append(states[0])
    return torch.stack(found, 1)


def put(network, node, of_input, of_state, bias):
    """Gives a linear node of input and state its maps; None: zeros."""
    cell, width = network.cell, network.width
    rows = slice(width * cell.of_input.index(node), width * (1 + cell.of_input.index(node)))
    zero = torch.zeros(width, width)
    with torch.no_grad():
        cell.input.weight[rows] = zero if of_input is None else of_input
        cell.input.bias[rows] = bias
        cell.maps[f"{node}-1"].weight.copy_(zero if of_state is None else of_state)


def random_inputs(width=6):
    return torch.randn(3, 9, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "gates"), [("LSTM", (0, 2, 4, 6)), ("RNN", (0,))])
def test_recipes_of_pytorch(name, gates):
    theirs = {"LSTM": nn.LSTM, "RNN": nn.RNN}[name](6, 6, batch_first=True)
    network = made(NASBenchNLP(width=6), name)
    maps = zip(
        theirs.weight_ih_l0.chunk(len(gates)),
        theirs.weight_hh_l0.chunk(len(gates)),
        (theirs.bias_ih_l0 + theirs.bias_hh_l0).chunk(len(gates)),
        strict=True,
    )
    for node, (of_input, of_state, bias) in zip(gates, maps, strict=True):
        put(network, node, of_input, of_state, bias)
    x = random_inputs()
    torch.testing.assert_close(outputs(network, x), theirs(x)[0], atol=1e-6, rtol=1e-6)


def test_the_gru_of_pytorch():
    theirs = nn.GRU(6, 6, batch_first=True)
    network = made(NASBenchNLP(width=6), "GRU")
    (w_r, w_z, w_n), (u_r, u_z, u_n) = theirs.weight_ih_l0.chunk(3), theirs.weight_hh_l0.chunk(3)
    (b_r, b_z, b_n), (c_r, c_z, c_n) = theirs.bias_ih_l0.chunk(3), theirs.bias_hh_l0.chunk(3)
    put(network, 0, w_r, u_r, b_r + c_r)
    put(network, 2, w_z, u_z, b_z + c_z)
    put(network, 4, -w_z, -u_z, -(b_z + c_z))  # one minus that gate
    put(network, 6, None, u_n, c_n)
    put(network, 8, w_n, None, b_n)
    x = random_inputs()
    torch.testing.assert_close(outputs(network, x), theirs(x)[0], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("settings", [{"hidden": 1, "nodes": 5}, {"hidden": 2, "nodes": 8}, {"hidden": 3, "nodes": 9}])
def test_every_recipe_keeps_the_rules(settings):
    space, rng = NASBenchNLP(**settings), np.random.default_rng(0)
    for _ in range(60):
        recipe = space.decode(space.sample(rng))
        first = 1 + recipe.hidden
        read = {value for node in recipe.nodes for value in node.inputs}
        assert set(range(first)) <= read, "every base input is used"
        assert len(set(recipe.new)) == recipe.hidden
        for node in recipe.new:
            assert not set(recipe.nodes[node].inputs) & set(range(1, first)), "no previous state directly to a new one"
        assert {i for i in range(len(recipe.nodes)) if first + i not in read} <= set(recipe.new), "nothing is redundant"


def test_the_tree_of_small_recipes_is_complete():
    """All recipes of two or three nodes, found by trying everything that can be written, are those of the space."""
    space = NASBenchNLP(hidden=1, nodes=3)
    found = {space.format(each) for each in space.enumerate()}
    unary, binary = ("tanh", "sigmoid", "leaky_relu"), ("linear", "prod", "sum")
    ternary = ("linear3", "blend")
    expected = set()
    for total in (2, 3):
        choices = []
        for number in range(total):
            values = ["x", "h0", *map(str, range(number))]
            choices.append(
                [
                    (name, inputs)
                    for names, size in ((unary, 1), (binary, 2), (ternary, 3))
                    for name in names
                    for inputs in itertools.permutations(values, size)
                ]
            )
        for nodes in itertools.product(*choices):
            read = {value for _, inputs in nodes for value in inputs}
            loose = [str(i) for i in range(total) if str(i) not in read]
            for new in range(total):
                if {"x", "h0"} <= read and "h0" not in nodes[new][1] and set(loose) <= {str(new)}:
                    expected.add(" ".join(f"{name}({','.join(inputs)})" for name, inputs in nodes) + f" ; {new}")
    assert found == expected


def test_shared_and_separate_maps_have_different_forms():
    space = NASBenchNLP(hidden=1)
    shared, separate = (
        "linear(x,h0) tanh(0) sigmoid(0) sum(1,2) ; 3",
        "linear(x,h0) tanh(0) linear(x,h0) sigmoid(2) sum(1,3) ; 4",
    )
    assert space.canonical(space.parse(shared)) != space.canonical(space.parse(separate))
    turned = "linear(h0,x) sigmoid(0) tanh(0) sum(1,2) ; 3"
    assert space.canonical(space.parse(shared)) == space.canonical(space.parse(turned))


@pytest.mark.parametrize(
    ("space", "text", "said"),
    [
        (NASBenchNLP(), "prod(x,h0) prod(0,h0) ; 1", "node 1: input 1: expected one of x, got h0"),
        (NASBenchNLP(), "tanh(h0) sigmoid(0) ; 1", "node 1: operation: expected one of linear, prod, sum, got sigmoid"),
        (NASBenchNLP(), "what(x,h0) ; 0", "node 0, 'what\\(x,h0\\)', is no operation with its inputs"),
        (DARTSCell(), "relu(1)", "node 1, 'relu\\(1\\)', is no activation of an earlier node"),
        (DARTSCell(), "relu(0)", "it has 1 nodes"),
        (NASRLCell(2), "add-tanh mul-relu inject add-relu 0 memory 1", "is no NASRLCell of 2 leaves"),
    ],
)
def test_texts_that_are_refused(space, text, said):
    with pytest.raises(InvalidArchitecture, match=said):
        space.parse(text)


def test_settings_that_are_refused():
    for make in (
        lambda: ENASCell(first="free"),
        lambda: ENASCell(nodes=1),
        lambda: NASRLCell(base=3),
        lambda: NASBenchNLP(hidden=4),
        lambda: DARTSCell(tied=1),
        lambda: DARTSCell(width=0),
    ):
        with pytest.raises(UsageError):
            make()


# -- what all of them share ------------------------------------------------------------------------


def test_dropout_is_variational():
    """One mask for a segment: a unit that is dropped is dropped at all its positions; nothing is in evaluation."""
    network = build(lambda: DARTSCell(width=40).network(DARTSCell().parse("DARTS_V2"), TASK), 0)
    seen = []
    network.decoder.register_forward_hook(lambda _, given, __: seen.append(given[0].detach()))
    network.dropout, network.generator = 0.5, torch.Generator().manual_seed(0)
    network.train()
    network(TOKENS)
    zero = seen[0] == 0  # (length, batch, width)
    assert torch.equal(zero.all(0), zero.any(0))
    assert 0.3 < zero.float().mean() < 0.7
    network.eval()
    assert torch.equal(network(TOKENS), network(TOKENS))
    assert not (seen[-1] == 0).any()


def test_several_passes_over_a_segment_begin_alike():
    network, carried = made(DARTSCell(width=6), "DARTS_V1"), CarriedState()
    network(TOKENS[:, :4], None, carried)
    carried.go_on()
    first, again = (network(TOKENS[:, 4:], None, carried) for _ in range(2))
    assert torch.equal(first, again)
    assert all(not state.requires_grad for state in carried.after)
