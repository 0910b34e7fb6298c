"""Forward passes with several options per decision: against single paths, against sums written out, errors."""

import copy
import itertools

import numpy as np
import pytest
import torch

from archsearch.abilities import Mixing
from archsearch.errors import UsageError
from archsearch.networks.network import InputShape, build, equal_weights, weighted_sum
from archsearch.spaces import DARTS, MobileNet, NASBench101, NASBench201, NASBenchMacro
from archsearch.spaces.darts import OPERATIONS as DARTS_OPERATIONS
from archsearch.spaces.darts import PAIRS
from archsearch.spaces.nasbench201 import EDGES, OPERATIONS

DIGITS = InputShape((1, 8, 8), 10)
SPACES = {
    "NASBench201": NASBench201(channels=4, cells=1),
    "MobileNet": MobileNet(stages=[(8, 2, 1), (12, 3, 2)], stem_channels=8, head_channels=16),
    "NASBenchMacro": NASBenchMacro(),
    "DARTS": DARTS(layers=3, channels=4),
}
FAMILIES = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def images(n=4, seed=1):
    return torch.randn(n, *DIGITS.input_shape, generator=torch.Generator().manual_seed(seed))


def super_network(space, seed=0):
    return build(lambda: space.super_network(DIGITS, **settings(space)), seed)


def settings(space):
    return {"channels": 4} if isinstance(space, NASBenchMacro) else {}


def some_options(space, seed=0):
    """About half of the options of every decision, at least one."""
    rng = np.random.default_rng(seed)
    return [rng.choice(arity, size=rng.integers(1, arity // 2 + 2), replace=False) for arity in space.arities]


def gradients(network):
    return {name: value.grad for name, value in network.named_parameters() if value.grad is not None}


# -- single options ------------------------------------------------------------------------------


def computed(network, compute):
    """Logits, gradients and batch statistics of a training step, by name."""
    network.generator = torch.Generator().manual_seed(5)
    logits = compute(network)
    logits.square().sum().backward()
    gradient = {f"gradient of {name}": value for name, value in gradients(network).items()}
    return {"logits": logits, **gradient, **network.state_dict()}


@FAMILIES
@pytest.mark.parametrize("drop_path", [0.0, 0.4])
def test_one_option_per_decision_is_the_architecture_exactly(space, drop_path):
    for seed in range(2):
        architecture = space.sample(np.random.default_rng(seed))
        shared, alone = (
            super_network(space),
            build(lambda a=architecture: space.network(a, DIGITS, **settings(space)), 0),
        )
        for network in (shared, alone):
            network.drop_path = drop_path
            path = computed(copy.deepcopy(network), lambda network, a=architecture: network(images(), a))
            single = [{option} for option in architecture]
            mixed = computed(copy.deepcopy(network), lambda network, s=single: network.mixture(images(), s))
            assert path.keys() == mixed.keys()
            assert all(torch.equal(path[name], mixed[name]) for name in path)


# -- several: which parameters and statistics, and how often --------------------------------------


def union(space, options):
    """Names in the state of all single paths together."""
    size = 3 if isinstance(space, DARTS) else 1  # a node's operations lie on the inputs that its pairs give them
    groups = [list(itertools.product(*options[i : i + size])) for i in range(0, len(options), size)]
    names = set()
    for i in range(max(map(len, groups))):
        architecture = tuple(int(option) for group in groups for option in group[i % len(group)])
        with torch.device("meta"):
            names |= space.network(architecture, DIGITS).state_dict().keys()
    return names


@FAMILIES
@pytest.mark.parametrize("seed", [0, 1])
def test_kept_options_alone_get_gradients_and_statistics(space, seed):
    options = some_options(space, seed)
    if isinstance(space, NASBench201):
        options[0] = options[1] = [1, 3]  # else nothing may reach later edges
    network = super_network(space)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    (network.mixture(images(8), options) * images(8, 2).flatten(1)[:, :10]).sum().backward()
    own = union(space, options)
    assert gradients(network).keys() == {name for name, _ in network.named_parameters()} & own
    assert all(gradient.isfinite().all() for gradient in gradients(network).values())
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert value == (name in own), name  # once: nothing is computed twice
        elif "running" in name:
            assert torch.equal(value, before[name]) == (name not in own), name
    assert own < network.state_dict().keys()


# -- several: the same, written out ---------------------------------------------------------------


def nasbench201_cell(cell, x, names):
    """Every edge as its mean; ``names``: the kept operations of each edge."""
    nodes = [x] + [torch.zeros_like(x)] * 3
    for (source, target), kept in zip(EDGES, names, strict=True):
        outputs = [
            torch.zeros_like(x) if name == "none" else cell.edges[f"{source}-{target}"][name](nodes[source])
            for name in kept
        ]
        nodes[target] = nodes[target] + torch.stack(outputs).mean(0)
    return nodes[3]


def nasbench201_reference(network, x, options):
    names = [[OPERATIONS[option] for option in kept] for kept in options]
    x = network.stem(x)
    for layer in network.layers:
        x = nasbench201_cell(layer, x, names) if hasattr(layer, "edges") else layer(x)
    return network.head(x)


def mobilenet_reference(network, x, options):
    x = network.first(x)
    for layer, choice, kept in zip(network.specification, network.layers, options, strict=True):
        names = [layer.options[option] for option in kept]
        if layer.residual:  # the identity's branch is zero
            x = x + sum(choice[name](x) for name in names if name != "identity") / len(names)
        else:
            x = sum(choice[name](x) for name in names) / len(names)
    return network.classifier(network.last(x))


def darts_cell(cell, before, last, decisions):
    states = [cell.inputs[0](before), cell.inputs[1](last)]
    for target in (2, 3, 4, 5):
        pairs, *operations = decisions[3 * (target - 2) : 3 * (target - 1)]
        computed = {}
        for source, option in itertools.product(range(target), range(7)):
            if any(source == PAIRS[pair][i] and option in operations[i] for pair in pairs for i in (0, 1)):
                choice = cell.edges[f"{source}-{target}"]
                computed[source, option] = choice[DARTS_OPERATIONS[option]](states[source])
        sums = []
        for pair in pairs:
            first, second = (
                torch.stack([computed[PAIRS[pair][i], option] for option in operations[i]]).mean(0) for i in (0, 1)
            )
            sums.append(first + second)
        states.append(torch.stack(sums).mean(0))
    return torch.cat(states[2:], dim=1)


def darts_reference(network, x, options):
    before = last = network.stem(x)
    for cell in network.cells:
        before, last = last, darts_cell(cell, before, last, options[12:] if cell.reduces else options[:12])
    return network.head(last)


REFERENCES = {
    "NASBench201": nasbench201_reference,
    "MobileNet": mobilenet_reference,
    "NASBenchMacro": mobilenet_reference,
    "DARTS": darts_reference,
}


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("which", ["some", "others", "all"])
def test_outputs_and_gradients_are_those_of_means_written_out(name, which):
    space = SPACES[name]
    options = [range(arity) for arity in space.arities]
    if which != "all":
        options = some_options(space, ["some", "others"].index(which))
    mixed, reference = (super_network(space, 3).double() for _ in range(2))
    pictures, weights = images(8).double(), images(8, 2).flatten(1)[:, :10]
    logits, expected = mixed.mixture(pictures, options), REFERENCES[name](reference, pictures, options)
    torch.testing.assert_close(logits, expected)
    for each in (logits, expected):
        (each * weights).sum().backward()
    torch.testing.assert_close(mixed.state_dict(), reference.state_dict())
    ours, theirs = gradients(mixed), gradients(reference)
    zeros = {name: torch.zeros_like(value) for name, value in theirs.items()}  # the reference computes with zeros, too
    torch.testing.assert_close({**zeros, **ours}, theirs)


# -- small cases by hand --------------------------------------------------------------------------


def test_weighted_sum():
    terms = [torch.tensor([2.0, 4.0]), torch.tensor([4.0, -4.0])]
    assert torch.equal(weighted_sum(terms, [0.5, torch.tensor(0.5)]), torch.tensor([3.0, 0.0]))
    assert weighted_sum(terms[:1], [1.0]) is terms[0]
    assert equal_weights((1, 3)) == {1: 0.5, 3: 0.5}


def test_none_on_an_edge_counts_as_zero():
    network = build(lambda: SPACES["NASBench201"].super_network(DIGITS), 0).eval()
    x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    cell = network.layers[0]

    def of(*weights):
        return cell(x, network.running(weights))

    none, skip, conv, two = {0: 1.0}, {1: 1.0}, {3: 1.0}, equal_weights
    convolved = cell.edges["0-3"]["nor_conv_3x3"](x)
    assert torch.equal(of(none, none, none, two((0, 3)), none, none), convolved / 2)
    assert torch.equal(of(none, none, none, two((1, 3)), none, none), (x + convolved) / 2)
    # Through node 2, of which the edge from node 1 brings nothing.
    assert torch.equal(of(none, skip, two((1, 3)), two((0, 1)), conv, two((0, 1))), x / 2 + x / 2)
    assert torch.equal(of(*[none] * 6), torch.zeros_like(x))


def test_identity_on_a_residual_layer_passes_the_input_on():
    space = MobileNet(stages=[(8, 2, 1)], candidates=[(3, 1), (5, 2)], stem_channels=8, head_channels=None)
    network = build(lambda: space.super_network(DIGITS), 0).eval()
    with torch.no_grad():
        x = network.stem(images())
        a, b = network.layers[0]["k3e1"](x), network.layers[0]["k5e2"](x)
        for kept, expected in (((0, 1), x + a / 2), ((1, 2), x + (a + b) / 2), ((0, 1, 2), x + (a + b) / 3)):
            torch.testing.assert_close(network.mixture(images(), [kept, (0,)]), network.head(expected))


def test_a_darts_edge_that_pairs_share_is_weighted_by_all_of_them():
    space = DARTS(layers=1, channels=2)
    network = build(lambda: space.super_network(DIGITS), 0).eval()
    skip = DARTS_OPERATIONS.index("skip_connect")
    # Node 3 keeps the pairs (0, 1) and (1, 2), with identities on all edges; all other nodes keep the pair (0, 1).
    options = [[0], [skip], [skip]] * 8
    options[3] = [PAIRS.index((0, 1)), PAIRS.index((1, 2))]
    calls = []
    network.cells[0].edges["1-3"]["skip_connect"].register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        stem = network.stem(images())
        zero, one = (adapt(stem) for adapt in network.cells[0].inputs)
        two = zero + one
        three = ((zero + one) + (one + two)) / 2
        expected = network.head(torch.cat([two, three, two, two], dim=1))
        torch.testing.assert_close(network.mixture(images(), options), expected)
    assert calls == [1]


def test_order_and_repeats_do_not_count():
    network = super_network(SPACES["NASBench201"]).eval()
    orders = ([[1, 3, 2]] * 6, [{3, 2, 1}] * 6, np.array([[2, 2, 1, 3]] * 6), [torch.tensor([3, 1, 2])] * 6)
    with torch.no_grad():
        first, *others = [network.mixture(images(), options) for options in orders]
    assert all(torch.equal(first, other) for other in others)


# -- who offers it, and what is refused -----------------------------------------------------------


def test_who_mixes():
    for space in SPACES.values():
        assert isinstance(super_network(space), Mixing)
    assert not isinstance(NASBench101().super_network(DIGITS, channels=8, modules=1), Mixing)


@FAMILIES
def test_wrong_options(space):
    network = super_network(space)
    n, arity = len(space.arities), space.arities[1]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(UsageError, match=f"for each of {n} decisions, got {n - 1}"):
        network.mixture(images(), [[0]] * (n - 1))
    for wrong in ([], [0, arity], [-1], 0, [0.5], ["none"]):
        with pytest.raises(
            UsageError, match=rf"decision 1: .* from 0 to {arity - 1}, got {wrong!r}".replace("[", r"\[")
        ):
            network.mixture(images(), [[0], wrong, *[[0]] * (n - 2)])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@FAMILIES
def test_stand_alone_networks_mix_nothing_but_their_own(space):
    architecture = space.sample(np.random.default_rng(0))
    with torch.device("meta"):
        network = space.network(architecture, DIGITS)
    other = [{option} for option in next(iter(space.neighbours(architecture)))]
    several = [[option, 0] for option in architecture]
    for options in (other, several):
        with pytest.raises(UsageError, match=r"stands for \(.*\), it cannot mix .*; only a super-network"):
            network.mixture(images(), options)
