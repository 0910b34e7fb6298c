"""``GPT`` and ``Surrogate``: counts, texts, exact sizes, networks, and what the surrogates predict."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from archsearch import search
from archsearch.controllers import NSGA2, RandomSearch
from archsearch.errors import InvalidArchitecture, MissingAbility, UsageError
from archsearch.evaluators import Surrogate, Training
from archsearch.evaluators.surrogate import features
from archsearch.networks.memory import bytes_of
from archsearch.networks.multiply_adds import multiply_adds, parameter_count
from archsearch.networks.network import InputShape, build
from archsearch.networks.recurrent import CarriedState
from archsearch.space import Space
from archsearch.spaces import GPT, Choices, gpt

SCALES = {"s": 12, "m": 24, "l": 36}
TASK = InputShape((1,), gpt.VOCABULARY)


def member(scale, width, depth, layer, bias):
    """With the same option of ratio and heads in all layers."""
    space = GPT(scale)
    return (width, depth, bias, *[layer] * 2 * space.options.depths[depth])


def on_meta(scale, architecture):
    with torch.device("meta"):
        return GPT(scale).network(architecture, TASK)


# -- the space -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "most"), SCALES.items())
def test_encodings_are_counted(scale, most):
    """3 widths, biases or none, and 3 ratios times 3 numbers of heads for each layer."""
    assert GPT(scale).size() == 3 * 2 * sum(9**layers for layers in (most - 2, most - 1, most))


def test_the_count_is_that_of_what_is_enumerated(monkeypatch):
    monkeypatch.setitem(gpt.SCALES, "s", gpt.SCALES["s"]._replace(depths=(1, 2, 3)))
    space = GPT()
    found = list(space.enumerate())
    assert len(set(found)) == len(found) == space.size() == 6 * (9 + 81 + 729)
    assert all(space.parse(space.format(each)) == each for each in found[::7])


def test_labels_name_the_layer():
    space = GPT()
    labels = [space.label((0,) * n) for n in range(7)]
    assert labels == ["width", "layers", "bias", "ratio.1", "heads.1", "ratio.2", "heads.2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("e100:" + "-".join(["r2h4"] * 10), "width: expected one of 192, 384, 768, got 100"),
        ("e192:" + "-".join(["r2h4"] * 9), "layers: expected one of 10, 11, 12, got 9"),
        ("e192:" + "-".join(["r2h4"] * 10 + ["r5h4"]), "ratio of layer 11: expected one of 2, 3, 4, got 5"),
        ("e192b:" + "-".join(["r2h16"] * 10), "heads of layer 1: expected one of 4, 8, 12, got 16"),
        ("r2h4-r2h4", "it has another form"),
    ],
)
def test_texts_that_are_no_members_are_refused(text, message):
    with pytest.raises(
        InvalidArchitecture, match=f"is no GPT of scale s: {message}; expected a text such as e192b:r4h8"
    ):
        GPT().parse(text)


def test_settings_that_are_wrong_are_refused():
    with pytest.raises(UsageError, match="scale: expected one of s, m, l, got 'xl'"):
        GPT("xl")
    with pytest.raises(UsageError, match="divisor: expected one of 1, 2, 4, 8, 16, got 3"):
        GPT().network(member("s", 0, 0, 0, 0), TASK, divisor=3)
    with pytest.raises(UsageError, match="context: expected a whole number >= 1"):
        Surrogate(context=0)
    with pytest.raises(UsageError, match="value_bytes: expected a whole number >= 1"):
        GPT().sizes(member("s", 0, 0, 0, 0), value_bytes=0.5)


# -- sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "published", "width"), [("s", 124_439_808, 768), ("m", 354_823_168, 1024), ("l", 774_030_080, 1280)]
)
def test_the_largest_members_are_those_of_gpt2(scale, published, width):
    """GPT-2's released sizes, without its 1,024 learnt positions, and with 3 tokens fewer."""
    largest = GPT(scale).sizes(member(scale, 2, 2, 2, 1))
    assert largest["params"] == published - (1024 + 3) * width


def hooked(network, tokens, vocabulary):
    """Multiply-adds of a pass, added up from the shapes that hooks see: nothing of the package's own counting."""
    found = []

    def linear(module, inputs, output):
        found.append(
            inputs[0].shape[:-1].numel() * (module.in_features + (module.bias is not None)) * module.out_features
        )

    def attention(module, inputs, output):
        found.append(2 * module.heads * tokens * tokens * network.head)

    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(linear)
        elif hasattr(module, "heads"):
            module.register_forward_hook(attention)
    output = network(torch.zeros(1, tokens, dtype=torch.int64, device="meta"))
    assert output.shape == (1, tokens, vocabulary)
    return sum(found) + tokens * network.embedding.weight.numel()


@pytest.mark.parametrize("scale", SCALES)
def test_sizes_are_exactly_those_of_networks(scale):
    rng = np.random.default_rng(0)
    for architecture in (GPT(scale).sample(rng), member(scale, 0, 0, 0, 0), member(scale, 2, 2, 2, 1)):
        network, sizes = on_meta(scale, architecture), GPT(scale).sizes(architecture, context=128, value_bytes=4)
        assert parameter_count(network) == sizes["params"]
        assert sum(each.numel() * 4 for each in network.parameters()) == sizes["weight_bytes"]
        assert not list(network.buffers())
        assert multiply_adds(network, (128,)) == 128 * sizes["flops"]
        assert hooked(network, 128, gpt.VOCABULARY) == 128 * sizes["flops"]


def test_bytes_are_exactly_those_of_a_pass():
    space, architecture = GPT(), GPT().sample(np.random.default_rng(3))
    found = bytes_of(build(lambda: space.network(architecture, TASK), 0), (8,))
    sizes = space.sizes(architecture, context=8, value_bytes=4)
    assert (found["weight_bytes"], found["cache_bytes"]) == (sizes["weight_bytes"], sizes["cache_bytes"])


# -- networks --------------------------------------------------------------------------------------


def small(bias=1, seed=0):
    architecture = (0, 0, bias, *[0, 1] * 10)
    return build(lambda: GPT().network(architecture, InputShape((1,), 11), divisor=8), seed).eval()


@pytest.mark.parametrize("bias", [0, 1])
def test_a_token_is_predicted_from_those_before_it_alone(bias):
    network, tokens = small(bias), torch.randint(11, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = network(tokens)
        for n in (1, 4, 8):
            torch.testing.assert_close(network(tokens[:, :n]), whole[:, :n])
            others = torch.cat([tokens[:, :n], (tokens[:, n:] + 1) % 11], dim=1)
            torch.testing.assert_close(network(others)[:, :n], whole[:, :n])
        assert (network(tokens.flip(1))[:, -1] - whole[:, -1]).abs().max() > 1e-4  # order matters


def test_a_text_may_come_in_segments():
    network, tokens = small(), torch.randint(11, (2, 30), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = network(tokens)
        for lengths in ((10, 10, 10), (1, 28, 1), (25, 5)):
            carried, found = CarriedState(), []
            for segment in tokens.split(lengths, dim=1):
                found.append(network(segment, None, carried))
                carried.go_on()
            torch.testing.assert_close(torch.cat(found, dim=1), whole)
        network.memory = 4
        carried = CarriedState()
        network(tokens[:, :20], None, carried)
        carried.go_on()
        assert {each.shape[-2] for each in carried.before} == {4}
        assert (network(tokens[:, 20:], None, carried) - whole[:, 20:]).abs().max() > 1e-4


def by_the_book(network, tokens):
    """The definition, written out for one sequence with complex numbers for turns, and no attention of PyTorch's."""
    x = network.embedding.weight[tokens]
    n, head = len(tokens), network.head
    pairs = head // 4
    speed = 10_000.0 ** (-torch.arange(pairs, dtype=torch.float64) / pairs)
    turn = torch.polar(torch.ones(n, pairs, dtype=torch.float64), torch.arange(n)[:, None] * speed)

    def turned(rows):
        spun = torch.complex(rows[:, :pairs], rows[:, pairs : 2 * pairs]) * turn
        return torch.cat([spun.real, spun.imag, rows[:, 2 * pairs :]], dim=1)

    for layer in network.layers:
        attention = layer.attention
        query, key, value = attention.inputs(layer.attention_norm(x)).chunk(3, dim=1)
        heads = []
        for h in range(attention.heads):
            q, k, v = (each[:, h * head : (h + 1) * head] for each in (query, key, value))
            scores = turned(q) @ turned(k).T / math.sqrt(head)
            scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), -math.inf)
            heads.append(scores.softmax(1) @ v)
        hidden = functional.gelu(layer.first(layer.mlp_norm(x)))
        x = x + attention.output(torch.cat(heads, dim=1)) + layer.second(hidden)
    return network.norm(x) @ network.embedding.weight.T


def test_networks_compute_what_the_reference_defines():
    network = small().double()
    tokens = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
    with torch.no_grad():
        # Angles are made in single precision by the network, in double precision here.
        torch.testing.assert_close(network(tokens[None])[0], by_the_book(network, tokens), atol=1e-5, rtol=1e-5)


def test_networks_learn():
    training = Training("grammar:train=4000,valid=500,test=500", preset="grammar", epochs=2, learning_rate=0.003)
    training.start(GPT())
    found = training.evaluate(member("s", 0, 0, 0, 1), seed=0)
    assert -found.score == found.metrics["valid_loss"] < 0.95 * math.log(6)
    assert found.metrics["params"] < 20_000


# -- surrogates ------------------------------------------------------------------------------------


def started(scale="s", **settings_):
    evaluator = Surrogate(**settings_)
    evaluator.start(GPT(scale))
    return evaluator


@pytest.mark.parametrize(
    ("scale", "largest", "middle", "smallest"),
    [("s", 21.3, 31.2, 43.0), ("m", 20.7, 26.8, 36.2), ("l", 18.0, 22.3, 30.3)],
)
def test_predictions_are_those_of_the_record(scale, largest, middle, smallest):
    evaluator = started(scale)
    for expected, architecture in (
        (largest, member(scale, 2, 2, 2, 1)),
        (middle, member(scale, 1, 1, 1, 1)),
        (smallest, member(scale, 0, 0, 0, 0)),
    ):
        found = evaluator.evaluate(architecture, 0)
        assert round(found.metrics["surrogate_perplexity"], 1) == expected
        assert found.score == -found.metrics["surrogate_perplexity"]


@pytest.mark.parametrize("scale", SCALES)
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_predictions_are_those_of_the_model_in_torch(scale, seed):
    """The features built from the form, block by block as the record orders them, and the layers by PyTorch."""
    space = GPT(scale)
    architecture = space.sample(np.random.default_rng(seed))
    form, options = space.decode(architecture), space.options

    def one_hot(value, values):
        return [float(value == each) for each in values]

    layers = [*form.layers, *[gpt.Layer(0, 0)] * (SCALES[scale] - len(form.layers))]
    inputs = one_hot(form.width, options.widths) + one_hot(len(form.layers), options.depths)
    inputs += itertools.chain.from_iterable(one_hot(layer.ratio, (2, 3, 4)) for layer in layers)
    inputs += itertools.chain.from_iterable(one_hot(layer.heads, options.heads) for layer in layers)
    inputs += one_hot(form.bias, (True, False))
    np.testing.assert_array_equal(features(architecture, len(inputs)), np.array(inputs, np.float32))
    tensors = load_file(f"archsearch/data/hwgpt_perplexity_{scale}.safetensors")
    x = torch.tensor(inputs)
    for i in range(1, 6):
        x = functional.linear(x.relu() if i > 1 else x, tensors[f"fc{i}.weight"], tensors[f"fc{i}.bias"])
    assert started(scale).evaluate(architecture, seed).score == pytest.approx(-x.item(), rel=1e-5)


def test_numbers_are_called_those_of_a_surrogate():
    result = search(GPT(), RandomSearch(), Surrogate(), trials=3, seed=0)
    assert "surrogate" in Surrogate().note
    assert set(result.best.metrics) == {"surrogate_perplexity", "params", "flops", "weight_bytes", "cache_bytes"}
    assert "a surrogate, no measurement" in Surrogate.__doc__


def test_sizes_are_objectives_and_limits():
    controller = NSGA2({"surrogate_perplexity": "min", "cache_bytes": "min"}, population_size=10)
    evaluator = Surrogate(context=2048)
    result = search(GPT("m"), controller, evaluator, trials=60, seed=0, limits={"params": 200e6})
    assert max(trial.metrics["params"] for trial in result.history) <= 200e6
    assert len(controller.pareto_front) > 1
    best = result.best
    assert best.metrics["cache_bytes"] == GPT("m").sizes(best.architecture, context=2048)["cache_bytes"]


class Other(Space):
    """Says that it is of a scale, and has other options."""

    def __init__(self):
        super().__init__(arities=[3] * 5)
        self.scale = "s"

    def sizes(self, architecture, context=1, value_bytes=1):
        return {}


@pytest.mark.parametrize("space", [Choices({"width": [1, 2]}), Other()])
def test_other_spaces_are_refused(space):
    with pytest.raises(MissingAbility, match=f"{type(space).__name__} does not describe; use the space GPT"):
        Surrogate().start(space)
