"""Networks whose choices are mixed with weights: against stand-alone networks, sums written out, and in parts."""

import itertools

import numpy as np
import pytest
import torch
from test_mixture import DIGITS, SPACES, images, settings, super_network
from test_mixture import REFERENCES as MEANS

from archsearch.errors import MissingAbility, UsageError
from archsearch.networks.network import build
from archsearch.networks.partial import PartialChoice, shuffled
from archsearch.relaxing import Relaxable, Relaxed, relaxable
from archsearch.spaces import DARTS, GOLDNAS, ConvChain, NASBench101, NASBench201
from archsearch.spaces.darts import GENOTYPES, RELAXED_EDGES
from archsearch.testing import FixedSpace

RELAXED = SPACES | {"GOLDNAS": GOLDNAS(layers=3, channels=4)}
FAMILIES = pytest.mark.parametrize("space", RELAXED.values(), ids=RELAXED)


def computed(network, compute):
    """Logits, gradients and batch statistics of a training step, by name."""
    logits = compute(network)
    logits.square().sum().backward()
    gradients = {f"gradient of {n}": v.grad for n, v in network.named_parameters() if v.grad is not None}
    return {"logits": logits, **gradients, **network.state_dict()}


@FAMILIES
def test_one_hot_weights_give_the_stand_alone_network_exactly(space):
    for seed in range(3):
        architecture = space.sample(np.random.default_rng(seed))
        shared = super_network(space, 5)
        alone = build(lambda a=architecture: space.network(a, DIGITS, **settings(space)), 0)
        alone.load_state_dict({name: shared.state_dict()[name] for name in alone.state_dict()})
        weights = space.selected(architecture)
        mixed = computed(shared, lambda network, w=weights: network.relaxed(images(), w))
        assert all(torch.equal(value, mixed[name]) for name, value in computed(alone, lambda n: n(images())).items())


@FAMILIES
def test_tensors_and_zeros_as_weights_change_nothing(space):
    architecture = space.sample(np.random.default_rng(3))
    network = super_network(space).eval()
    full = []
    for choice, chosen in zip(space.relaxed_choices(), space.selected(architecture), strict=True):
        full.append({i: torch.tensor(chosen.get(i, 0.0)) for i in range(len(choice.candidates))})
    with torch.no_grad():
        assert torch.equal(network.relaxed(images(), full), network(images(), architecture))


@pytest.mark.parametrize("name", ["NASBench201", "MobileNet", "NASBenchMacro"])
def test_where_decisions_are_choices_equal_weights_give_the_means_of_mixtures(name):
    space = SPACES[name]
    one, other = (super_network(space, 3).double() for _ in range(2))
    weights = [dict.fromkeys(range(n), 1 / n) for n in space.arities]
    expected = MEANS[name](other, images(8).double(), [range(n) for n in space.arities])
    torch.testing.assert_close(one.relaxed(images(8).double(), weights), expected)


def test_a_relaxed_darts_node_is_the_sum_of_all_edges_written_out():
    space = SPACES["DARTS"]
    network = super_network(space).eval()
    rng = np.random.default_rng(0)
    weights = [{i: float(rng.random()) for i in range(8)} for _ in space.relaxed_choices()]
    x = images()
    with torch.no_grad():
        before = last = network.stem(x)
        for cell in network.cells:
            mine = weights[14:] if cell.reduces else weights[:14]
            states = [cell.inputs[0](before), cell.inputs[1](last)]
            for target in (2, 3, 4, 5):
                total = 0
                for (source, end), some in zip(RELAXED_EDGES, mine, strict=True):
                    if end == target:
                        choice = cell.edges[f"{source}-{target}"].values()  # without none, the first candidate
                        total = total + sum(some[1 + i] * op(states[source]) for i, op in enumerate(choice))
                states.append(total)
            before, last = last, torch.cat(states[2:], 1)
        torch.testing.assert_close(network.relaxed(x, weights), network.head(last))


@pytest.mark.parametrize("side", [7, 8])
def test_a_node_that_nothing_feeds_is_zero(side):
    space = DARTS(layers=3, channels=2)
    network = super_network(space).eval()
    pictures = torch.randn(2, 1, side, side, generator=torch.Generator().manual_seed(0))
    logits = network.relaxed(pictures, [{0: 1.0}] * 28)
    assert torch.equal(logits, network.head(torch.zeros(2, 32, 2, 2)))


# -- what a space says of its choices -------------------------------------------------------------


def test_choices_of_darts():
    choices = DARTS().relaxed_choices()
    assert len(choices) == 28
    assert choices[0].name == "normal 0->2"
    assert choices[27] == ("reduce 4->5", choices[0].candidates, "reduce ->5")
    assert choices[0].none == 0
    assert choices[0].candidates[choices[0].skip] == "skip_connect"
    groups = [len(list(group)) for _, group in itertools.groupby(choices, lambda choice: choice.group)]
    assert groups == [2, 3, 4, 5] * 2


def test_the_rule_of_darts_on_known_strengths():
    """Two strongest edges of distinct nodes, by their best operation that is not none; none never occurs."""
    space = DARTS()
    for name in GENOTYPES:
        published = space.parse(name)
        strengths = [[0.9, *[0.01] * 7] for _ in space.relaxed_choices()]  # none is the strongest of all
        for some, chosen in zip(strengths, space.selected(published), strict=True):
            for option in chosen:
                some[option] = 0.05
        derived = greedy(space, strengths)
        assert derived == published
        assert "none" not in space.format(derived)


def greedy(space, strengths):
    prefix = ()
    while space.arity(prefix):
        prefix += (int(np.argmax(space.relaxed_probabilities(strengths, prefix))),)
    return prefix


@FAMILIES
def test_probabilities_are_those_of_a_distribution(space):
    rng = np.random.default_rng(1)
    strengths = [rng.random(len(choice.candidates)).tolist() for choice in space.relaxed_choices()]
    for seed in range(5):
        architecture = space.sample(np.random.default_rng(seed))
        for i in range(len(architecture)):
            found = space.relaxed_probabilities(strengths, architecture[:i])
            assert len(found) == space.arity(architecture[:i])
            assert sum(found) == pytest.approx(1)
            assert min(found) >= 0


def test_the_pair_of_a_darts_node_is_as_probable_as_its_edges_are_strong():
    space, rng = DARTS(), np.random.default_rng(0)
    strengths = [rng.random(8).tolist() for _ in space.relaxed_choices()]
    prefix = (0, 0, 0)  # node 3 of the normal cell comes next
    best = [max(strengths[RELAXED_EDGES.index((source, 3))][1:]) for source in range(3)]
    expected = np.array([best[0] * best[1], best[0] * best[2], best[1] * best[2]])
    np.testing.assert_allclose(space.relaxed_probabilities(strengths, prefix), expected / expected.sum())


def test_who_is_relaxable():
    for space in SPACES.values():
        assert isinstance(space, Relaxable)
        assert isinstance(super_network(space), Relaxed)
        assert relaxable(space, "Differentiable") is space
    for space in (FixedSpace(), NASBench101(), ConvChain()):
        with pytest.raises(MissingAbility, match=f"Differentiable mixes .* {type(space).__name__} has no"):
            relaxable(space, "Differentiable")


@FAMILIES
def test_wrong_weights(space):
    network, n = super_network(space), len(space.relaxed_choices())
    with pytest.raises(UsageError, match=f"each of {n} choices, got 1"):
        network.relaxed(images(), [{0: 1.0}])
    for wrong in ({99: 1.0}, {-1: 1.0}, {"none": 1.0}, [1.0]):
        with pytest.raises(UsageError, match="relaxed: choice 1: expected candidates from 0"):
            network.relaxed(images(), [{0: 1.0}, wrong, *[{0: 1.0}] * (n - 2)])


# -- partial channels -------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [NASBench201(channels=8, cells=1), DARTS(layers=3, channels=8)], ids=["201", "darts"])
def test_partial_channels(space):
    whole, partial = (build(lambda p=p: space.super_network(DIGITS, part=p), 0) for p in (1, 4))
    assert any(isinstance(module, PartialChoice) for module in partial.modules())
    weights = [{i: 1 / len(c.candidates) for i in range(len(c.candidates))} for c in space.relaxed_choices()]
    assert whole.relaxed(images(), weights).shape == partial.relaxed(images(), weights).shape
    architecture = space.sample(np.random.default_rng(0))
    partial.eval()
    path = partial(images(), architecture)
    assert torch.equal(partial.relaxed(images(), space.selected(architecture)), path)
    with pytest.raises(UsageError, match="part: expected a divisor of the channels, of which a cell has 8, got 3"):
        space.super_network(DIGITS, part=3)


def test_the_first_channels_are_computed_and_the_others_pass_by():
    choice = PartialChoice({"negative": Negative}, 4, 1)
    x = torch.arange(8.0).view(1, 8, 1, 1)
    # -0, -1 and 2 to 7, then one of each quarter in turn.
    assert choice(x, "negative").flatten().tolist() == [0, 2, 4, 6, -1, 3, 5, 7]
    assert torch.equal(shuffled(shuffled(x, 4), 2), x)


class Negative(torch.nn.Module):
    def forward(self, x):
        return -x
