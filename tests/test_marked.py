"""Networks of one's own with marks: one definition for stand-alone networks and the super-network, whatever is done."""

import contextlib
import itertools
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from marked_models import Block, ResNet, Tied, Transformer
from torch import nn

from archsearch import search
from archsearch.abilities import Elastic
from archsearch.bridges.export import export
from archsearch.bridges.load_network import load_network
from archsearch.components import build as build_component
from archsearch.components import describe
from archsearch.controllers import Derived, RandomSearch
from archsearch.errors import NotTrusted
from archsearch.evaluators import Differentiable, Inherit, OneShot, Training, ZeroCost
from archsearch.marking import choose
from archsearch.marking.network import chance
from archsearch.networks.network import InputShape, build
from archsearch.networks.structure import Structure
from archsearch.spaces import Marked
from archsearch.spaces.choices_numbers import Real

TASK = InputShape((1, 8, 8), 3)
IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
SPACES = {
    "alternatives and depth": (ResNet, {}, 3 * (3 + 9)),
    "widths and depth": (ResNet, {"narrow": True}, 2 * (2 + 4)),
    "alternatives": (ResNet, {"deep": False}, 27),
    "a transformer": (Transformer, {}, 3 + 9 + 27),
    "one decision in two places": (Tied, {}, 2),
}
DIGITS = {"task": "digits", "epochs": 1, "train_examples": 64, "batch_size": 32}


def made(name):
    model, arguments, _ = SPACES[name]
    return Marked(model, arguments)


@pytest.mark.parametrize("name", SPACES)
def test_architectures_are_counted_exactly(name):
    space, size = made(name), SPACES[name][2]
    every = list(space.enumerate())
    assert space.size() == len(every) == len(set(every)) == size
    assert len({space.format(each) for each in every}) == size
    assert all(space.parse(space.format(each)) == each for each in every)
    with torch.device("meta"):
        networks = {str(space.network(each, TASK).plain()) for each in every}
    assert len(networks) == size  # no two of them are built alike


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("training", [False, True])
def test_the_super_network_computes_what_the_network_alone_does(name, training):
    space = made(name)
    shared = build(lambda: space.super_network(TASK), 1).train(training)
    values = {key: value.clone() for key, value in shared.state_dict().items()}
    for architecture in itertools.islice(space.enumerate(), 0, None, 3):
        alone = build(lambda a=architecture: space.network(a, TASK), 2).train(training)
        for key, value in alone.state_dict().items():
            value.copy_(values[key][tuple(map(slice, value.shape))])
        shared.generator, alone.generator = (torch.Generator().manual_seed(0) for _ in range(2))
        assert torch.allclose(shared(IMAGES, architecture), alone(IMAGES), rtol=0, atol=1e-6)
        shared.zero_grad()
        shared.generator, alone.generator = (torch.Generator().manual_seed(0) for _ in range(2))
        shared(IMAGES, architecture).square().sum().backward()
        alone(IMAGES).square().sum().backward()
        slopes = dict(shared.named_parameters())
        for key, value in alone.named_parameters():
            found = slopes[key].grad[tuple(map(slice, value.shape))]
            assert torch.allclose(found, value.grad, rtol=1e-4, atol=1e-4 * (1 + float(value.grad.abs().max()))), key
        shared.load_state_dict(values)


class ByHand(nn.Module):
    """What ``ResNet`` is with 5x5, one block and identity: written by somebody who knows nothing of archsearch."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, 1, 1, bias=False)
        self.layer1, self.layer2 = nn.Module(), nn.Sequential(nn.Module())
        for block, inputs, outputs, stride in ((self.layer1, 8, 8, 1), (self.layer2[0], 8, 16, 2)):
            block.conv1, block.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
            block.bn2 = nn.BatchNorm2d(outputs)
        self.layer1.conv2 = nn.Conv2d(8, 8, 5, 1, 2, bias=False)
        self.layer2[0].shortcut = nn.Conv2d(8, 16, 1, 2, 0, bias=False)
        self.head = nn.Linear(16, 3)

    def forward(self, images):
        x = torch.relu(self.stem(images))
        one, two = self.layer1, self.layer2[0]
        x = torch.relu(x + one.bn2(one.conv2(torch.relu(one.bn1(one.conv1(x))))))
        y = two.bn2(torch.relu(two.bn1(two.conv1(x))))
        return self.head(torch.relu(y + two.shortcut(x)).mean((2, 3)))


def test_a_stand_alone_model_is_loaded_by_plain_pytorch():
    space = Marked(ResNet)
    text = "layer1.conv2=Conv2d.2,layer2.depth=1,layer2.0.conv2=identity"
    plain = space.stand_alone(space.parse(text), TASK, seed=3)
    assert type(plain) is ResNet
    assert {type(module) for module in plain.modules()} <= {
        *(nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.Identity, nn.Sequential, Block, ResNet)
    }
    by_hand = ByHand()
    by_hand.load_state_dict(plain.state_dict(), strict=True)
    assert torch.equal(plain.eval()(IMAGES), by_hand.eval()(IMAGES))


def test_plain_layers_have_plain_sizes():
    space = Marked(ResNet, {"narrow": True})
    plain = space.stand_alone(next(space.enumerate()), TASK)
    assert plain.layer1.conv1.weight.shape == (4, 8, 3, 3)
    for module in plain.modules():
        assert all(type(value) is not choose.width(1, 2).__class__ for value in vars(module).values())
        assert type(module).__module__.startswith(("torch.nn", "marked_models"))


def test_initial_values_are_those_that_the_class_gives_itself():
    space = Marked(Transformer)
    largest = list(space.enumerate())[-1]
    seed = int(torch.randint(2**62, (), generator=torch.Generator().manual_seed(5)))
    torch_state = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        own = Transformer(1, 8, 3)
    finally:
        torch.set_rng_state(torch_state)
    found = space.stand_alone(largest, TASK, seed=5).state_dict()
    assert found.keys() == own.state_dict().keys()
    assert all(torch.equal(found[key], value) for key, value in own.state_dict().items())
    assert found["positions"].std() > 0.01
    shared = build(lambda: space.super_network(TASK), 5).state_dict()
    assert all(torch.equal(shared[f"model.{key}"], value) for key, value in found.items())


def test_no_global_generator_is_touched():
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    space = Marked(Transformer)
    search(space, RandomSearch(), Training(**DIGITS), trials=1, seed=0)  # what is imported draws as it likes
    before = states()
    space.stand_alone(space.sample(np.random.default_rng(0)), TASK)
    build(lambda: space.super_network(TASK), 0)
    search(space, RandomSearch(), Training(**DIGITS), trials=1, seed=0)
    with contextlib.suppress(ZeroDivisionError), chance(1):
        assert random.random() + float(torch.rand(1)) / 0
    assert states() == before


def test_what_falls_out_in_training_comes_from_the_seed():
    """``nn.Dropout`` draws from the global generator, which is nobody's: two trainings would differ."""
    found = []
    for noise in (0, 1):
        torch.default_generator.manual_seed(noise)
        result = search(Marked(Transformer), RandomSearch(), Training(**DIGITS), trials=2, seed=0)
        found.append([(trial.score, trial.metrics["train_loss"]) for trial in result.history])
    assert found[0] == found[1]


def test_shared_parameters_stay_shared():
    space = Marked(Tied)
    network = build(lambda: space.network((0,), InputShape((1, 8, 8), 10)), 0)
    assert network.model.inner.weight is network.model.outer.weight
    assert len(list(network.parameters())) == len(list(Tied().parameters())) - 4  # of the alternatives left out
    assert network.plain().inner.weight is not network.model.inner.weight


EVALUATORS = {
    "training": lambda training: training,
    "inherit": lambda training: Inherit(training=training),
    "uniform": lambda training: OneShot(training, epochs=1),
    "steps": lambda training: OneShot(training, epochs=1, steps=2, restart=True),
    "zero-cost": lambda training: ZeroCost(training=training, batch=16),
    "sandwich": lambda training: OneShot(training, epochs=1, sampler="sandwich", distillation=0.5),
    "stages": lambda training: OneShot(training, epochs=3, sampler="sandwich", stages=["width", "depth"]),
    "fair": lambda training: OneShot(training, epochs=1, sampler="fair"),
    "dropout": lambda training: OneShot(training, epochs=1, sampler="dropout"),
    "differentiable": lambda training: Differentiable(training=training, epochs=1),
}
SUITS = {
    "alternatives and depth": ("training", "inherit", "uniform", "steps", "zero-cost"),
    "widths and depth": ("uniform", "zero-cost", "sandwich", "stages"),
    "alternatives": ("zero-cost", "fair", "dropout", "differentiable"),
    "a transformer": ("training", "uniform", "sandwich"),
}


@pytest.mark.parametrize(("name", "evaluator"), [(name, each) for name, every in SUITS.items() for each in every])
def test_evaluators_score_marked_networks(name, evaluator):
    controller = Derived() if evaluator == "differentiable" else RandomSearch()
    trials = 1 if evaluator == "differentiable" else 2
    result = search(made(name), controller, EVALUATORS[evaluator](Training(**DIGITS)), trials=trials, seed=0)
    assert result.completed == trials
    assert result.failed == 0


def test_only_parts_of_one_largest_network_are_elastic():
    assert {name for name in SPACES if isinstance(made(name), Elastic)} == {"widths and depth", "a transformer"}


def test_a_shown_super_network_has_the_modules_of_the_network_alone():
    for name in ("alternatives and depth", "alternatives"):
        space = made(name)
        structure = Structure(
            lambda a, space=space: space.super_network(TASK) if a is None else space.network(a, TASK), True, True
        )
        for architecture in itertools.islice(space.enumerate(), 0, 27, 5):
            alone = build(lambda a=architecture, space=space: space.network(a, TASK), 0)
            shown = structure.network(architecture)
            assert list(shown.state_dict()) == list(alone.state_dict())
            shown.load_state_dict(alone.state_dict())
            assert torch.equal(shown.eval()(IMAGES), alone.eval()(IMAGES))


def test_mixed_alternatives_are_weighted_sums():
    space = Marked(ResNet, {"deep": False})
    shared = build(lambda: space.super_network(TASK), 1).eval()
    for architecture in ((0, 1, 2), (2, 0, 1)):
        one = [[option] for option in architecture]
        assert torch.equal(shared.mixture(IMAGES, one), shared(IMAGES, architecture))
    block, x = shared.model.layer2[1], torch.rand(2, 16, 4, 4)
    block.conv2.select(0, {0: 0.25, 2: 0.75})
    assert torch.allclose(block.conv2(x), 0.25 * block.conv2["0"](x) + 0.75 * x)


def test_mixed_depths_are_weighted_sums():
    stack = choose.depth(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2), least=0)
    x = torch.rand(3, 2)
    after = list(itertools.accumulate(stack, lambda x, block: block(x), initial=x))
    for weights in ({0: 1.0}, {0: 0.5, 2: 0.5}, {1: 0.1, 3: 0.9}):
        stack.select(0, weights)
        assert torch.allclose(stack(x), sum(weight * after[depth] for depth, weight in weights.items()))


def test_a_network_is_trained_with_what_it_chose():
    space = Marked(ResNet, training={"learning_rate": Real(1e-3, 0.5, log=True, levels=5)})
    assert space.size() == 36 * 5
    evaluator = Training(**DIGITS)
    evaluator.start(space)
    architecture = next(a for a in space.enumerate() if space.decode(a)["learning_rate"] == 0.5)
    assert evaluator.trainer.recipe_of(architecture).learning_rate == 0.5
    assert search(space, RandomSearch(), evaluator, trials=2, seed=0).failed == 0


def test_descriptions_and_pickles():
    space = Marked("marked_models.ResNet", {"channels": 4})
    again = build_component(describe(space), trust=True)
    assert again == space == pickle.loads(pickle.dumps(space))
    assert len(pickle.dumps(space)) < 20_000  # no model is in it
    with pytest.raises(NotTrusted, match=r"marked_models\.ResNet \(Marked\.model\)"):
        build_component(describe(space))
    described = describe(space)
    described["init_args"]["model"] = "os"
    with pytest.raises(NotTrusted):
        build_component(described)


READ = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "archsearch":
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import torch
print(torch.export.load(sys.argv[1]).module()(torch.zeros(2, 1, 8, 8)).shape)
"""


@pytest.fixture
def exported(tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    search(Marked(ResNet), RandomSearch(), Training(**DIGITS), trials=2, seed=0, out="run")
    (folder,) = export("run", pt2=request.param, trust=True)
    return folder


@pytest.mark.parametrize("exported", [False], indirect=True)
def test_an_export_becomes_a_plain_model(exported):
    space = Marked(ResNet)
    network = load_network(exported, space=space)
    plain = network.plain()
    assert torch.equal(network(IMAGES), plain(IMAGES))
    torch.save(plain.state_dict(), "plain.pt")
    other = space.stand_alone(network.architecture, InputShape((1, 8, 8), 10))
    other.load_state_dict(torch.load("plain.pt", weights_only=True))
    assert torch.equal(other.eval()(IMAGES), plain(IMAGES))


@pytest.mark.slow
@pytest.mark.parametrize("exported", [True], indirect=True)
def test_an_export_is_read_by_pytorch_alone(exported):
    command = [sys.executable, "-c", READ, str(Path(exported) / "network.pt2")]
    read = subprocess.run(command, capture_output=True, text=True, check=True)
    assert read.stdout.strip() == "torch.Size([2, 10])"
