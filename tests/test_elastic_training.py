"""Elastic training: the sandwich rule, in-place distillation, progressive shrinking, and what comes out of it."""

import functools
import itertools

import numpy as np
import pytest
import torch
import yaml
from common import run_command as run
from one_shot_lab import same_values
from torch import nn

from archsearch import search
from archsearch.bridges.export import export
from archsearch.bridges.load_network import load_network
from archsearch.controllers import RandomSearch
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluators import OneShot, Predictor, Tabular, Training
from archsearch.evaluators.inheriting import recompute_statistics
from archsearch.keeping.folder import RunFolder
from archsearch.models import RandomForest
from archsearch.networks.network import Network, build
from archsearch.showing.listing import preset_file
from archsearch.spaces import NASBench201, OnceForAll
from archsearch.training.batches import Batch
from archsearch.training.loop import Run, supervised
from archsearch.training.meter import Meter
from archsearch.training.paths import SandwichPaths
from archsearch.training.recipe import PRESETS
from archsearch.trial import Query

UNITS = [(4, 1, "relu", False), (6, 2, "hard_swish", True)]
SPACE = OnceForAll(UNITS, depths=(1, 2, 3), resolutions=(6, 8))
STAGES = ["kernel", "depth", "depth", "width", "resolution"]
LARGEST = "r8:k7e6-k7e6-k7e6:k7e6-k7e6-k7e6"
SMALLEST = "r6:k3e3:k3e3"


TINY = OnceForAll([(4, 2, "relu", True)], depths=(1, 2), kernels=(3, 5), expansions=(2, 3), resolutions=(6, 8))
"""Fewer shapes of convolutions, each of which PyTorch takes a while to prepare."""


def training():
    return Training("digits", train_examples=60, batch_size=30)


def one_shot(**settings):
    return OneShot(training(), sampler="sandwich", **{"epochs": 6, **settings})


def started(folder=None, space=SPACE, **settings):
    evaluator = one_shot(**settings)
    evaluator.start(space)
    evaluator.folder = folder
    return evaluator


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A short search, with everything that elastic training has."""
    path = tmp_path_factory.mktemp("elastic") / "run"
    evaluator = one_shot(random_paths=1, distillation=0.5, stages=STAGES)
    search(SPACE, RandomSearch(), evaluator, trials=2, seed=0, out=path, limits={"flops": 110e3})
    return path


# -- which architectures are trained ---------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 2])
def test_the_sandwich_is_the_largest_the_smallest_and_random_ones(count, monkeypatch):
    passed = []
    evaluator = started(random_paths=count, epochs=1)
    forward = type(evaluator.trainer.network(None)).forward

    def spy(network, images, architecture=None):
        if torch.is_grad_enabled():
            passed.append(SPACE.format(network.path(architecture)))
        return forward(network, images, architecture)

    monkeypatch.setattr(type(evaluator.trainer.network(None)), "forward", spy)
    cost = evaluator.prepare()
    updates = [passed[i : i + 2 + count] for i in range(0, len(passed), 2 + count)]
    assert len(updates) == cost.updates == 2
    assert all(update[:2] == [LARGEST, SMALLEST] for update in updates)
    drawn = [name for update in updates for name in update[2:]]
    assert len(set(drawn)) == len(drawn) == 2 * count
    assert cost.examples == 60 * (2 + count)


def test_random_ones_are_uniform_over_the_options_of_each_decision():
    paths = SandwichPaths(SPACE, 0, 300)
    forms = [SPACE.form(path) for path in paths.draw(0.0)[2:]]
    depths = np.bincount([len(form.units[0]) for form in forms], minlength=4)[1:]
    assert abs(depths - 100).max() < 40  # 5 standard deviations; over encodings it would be 3, 29 and 268


def test_stages_unlock_in_order():
    paths = SandwichPaths(SPACE, 0, 200, STAGES, [0.25, 0.4, 0.5, 0.75, 0.9])
    seen = []
    for progress in (0.0, 0.25, 0.4, 0.5, 0.75, 0.9, 0.99):
        forms = [SPACE.form(path) for path in paths.draw(progress)]
        layers = [layer for form in forms for unit in form.units for layer in unit]
        seen.append(
            (
                len(forms),
                {kernel for kernel, _ in layers},
                {len(unit) for form in forms for unit in form.units},
                {width for _, width in layers},
                {form.resolution for form in forms},
            )
        )
        assert SPACE.format(paths.draw(progress)[0]) == LARGEST
    kernels, every = {3, 5, 7}, 202
    assert seen == [
        (1, {7}, {3}, {6}, {8}),
        (every, kernels, {3}, {6}, {8}),
        (every, kernels, {2, 3}, {6}, {8}),
        (every, kernels, {1, 2, 3}, {6}, {8}),
        (every, kernels, {1, 2, 3}, {3, 4, 6}, {8}),
        (every, kernels, {1, 2, 3}, {3, 4, 6}, {6, 8}),
        (every, kernels, {1, 2, 3}, {3, 4, 6}, {6, 8}),
    ]
    assert SPACE.format(paths.draw(0.99)[1]) == SMALLEST
    assert [list(paths.opened(at)) for at in (0.0, 0.25, 0.4, 0.5, 0.75, 0.9)] == [
        [],
        ["kernel"],
        ["depth"],
        [],
        ["width"],
        ["resolution"],
    ]


def test_channels_are_sorted_when_width_becomes_elastic(monkeypatch):
    from archsearch.evaluators import super_network

    sorted_at = []
    real = super_network.sort_units

    def spy(network, dimension, optimizer):
        images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        before = network.eval()(images, SPACE.parse(LARGEST))
        sorted_at.append((dimension, real(network, dimension, optimizer)))
        torch.testing.assert_close(network(images, SPACE.parse(LARGEST)), before, rtol=1e-4, atol=1e-5)
        return sorted_at[-1][1]

    monkeypatch.setattr(super_network, "sort_units", spy)
    started(random_paths=0, stages=["width", "kernel", "depth", "resolution"], epochs=5).prepare()
    assert sorted_at == [("width", 7), ("kernel", 0), ("depth", 0), ("resolution", 0)]  # six layers, and the first one


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path):
    settings = {"random_paths": 1, "distillation": 0.5, "stages": STAGES, "space": TINY}
    whole = started(**settings)
    whole.prepare()
    (tmp_path / "evaluator").mkdir()
    first = started(tmp_path / "evaluator", **settings)
    first.trainer.note_data()
    first._shared.prepare(4, None)  # up to where width is about to become elastic
    second = started(tmp_path / "evaluator", **settings)
    second.prepare()
    assert same_values(whole, second)


# -- distillation ----------------------------------------------------------------------------------


class Scaled(Network):
    """Logits that an architecture multiplies; tiny enough for a loss by hand."""

    def __init__(self):
        super().__init__(None)
        self.layer = nn.Linear(2, 3, bias=False)

    def forward(self, x, architecture=None):
        return self.layer(x) * self.path(architecture)[0]


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_of_a_distilled_step_is_the_formula(weight):
    network = build(Scaled, 0)
    x = torch.tensor([[1.0, 2.0], [0.5, -1.0]])
    labels = torch.tensor([2, 0])
    logits = (x @ network.layer.weight.detach().T).double().numpy()
    optimizer = torch.optim.SGD(network.parameters(), 1.0)
    before = network.layer.weight.detach().clone()
    recipe = PRESETS["digits"]
    step = supervised(recipe, Meter(torch.device("cpu")), lambda _: 1.0, 1, lambda _: [(2,), (1,)], weight)
    losses = step(Run(None, network, optimizer, torch.Generator()), Batch(x, labels), 0.0)

    def log_probabilities(z):
        return z - np.log(np.exp(z).sum(1, keepdims=True))

    def hard(z):
        return -log_probabilities(z)[[0, 1], [2, 0]].mean()

    large, small = 2 * logits, logits
    teacher = np.exp(log_probabilities(large))
    soft = -(teacher * log_probabilities(small)).sum(1).mean()
    assert losses == pytest.approx([hard(large), (1 - weight) * hard(small) + weight * soft], rel=1e-5)
    # No gradient flows into the teacher: by hand, that of logits is probabilities minus what they should be.
    truth = np.eye(3)[[2, 0]]
    slopes = 2 * (teacher - truth) / 2
    slopes += (np.exp(log_probabilities(small)) - (1 - weight) * truth - weight * teacher) / 2
    moved = (before - network.layer.weight.detach()).double().numpy()
    np.testing.assert_allclose(moved, slopes.T @ x.double().numpy(), rtol=1e-4, atol=1e-6)


# -- what comes out of it --------------------------------------------------------------------------


def test_an_export_is_the_super_networks_path(folder):
    (path,) = export(folder)
    network = load_network(path)
    trial = max(RunFolder(folder).trials(0), key=lambda trial: trial.score)
    assert network.architecture == trial.architecture
    assert all(trial.metrics["flops"] <= 110e3 for trial in RunFolder(folder).trials(0))
    evaluator = started(weights=str(folder / "evaluator" / "super-network.safetensors"))
    evaluator.prepare()
    shared = evaluator._shared.network()
    recompute_statistics(shared, trial.architecture, evaluator._statistics_images())
    images, labels = evaluator.trainer.data.part("valid", torch.device("cpu"))
    with torch.no_grad():
        logits = network(images)
        torch.testing.assert_close(logits, shared.eval()(images, trial.architecture), rtol=1e-6, atol=1e-6)
    assert 100 * (logits.argmax(1) == labels).double().mean().item() == pytest.approx(trial.score)
    stored = sum(value.numel() for value in network.state_dict().values())
    assert stored < 0.7 * sum(value.numel() for value in shared.state_dict().values())
    assert not any("transforms" in name for name in network.state_dict())


def test_a_predictor_of_its_scores_trains_it_once(tmp_path, monkeypatch):
    from archsearch.evaluators.super_network import SuperNetwork

    trained = []
    real = SuperNetwork._train_epoch

    def spy(self, *arguments):
        trained.append(1)
        return real(self, *arguments)

    monkeypatch.setattr(SuperNetwork, "_train_epoch", spy)
    evaluator = Predictor(one_shot(epochs=2), labels=10, model=RandomForest(trees=5), folds=2)
    result = search(TINY, RandomSearch(), evaluator, trials=12, seed=0, out=tmp_path / "r")
    assert result.completed == 12
    (path,) = export(tmp_path / "r")
    assert len(trained) == 2
    network = load_network(path)
    assert network.architecture == result.best.architecture
    alone = started(space=TINY, weights=str(tmp_path / "r/evaluator/labels/evaluator/super-network.safetensors"))
    alone.prepare()
    labels = evaluator.labelled_scores
    known = next(iter(labels))
    assert alone.evaluate(known, 0).score == labels[known]
    text = (path / "README.md").read_text()
    assert f"where {result.best.score:.6g} was predicted" in text or "as recorded" in text


def test_a_predictor_without_networks_exports_none(tmp_path, capsys):
    evaluator = Predictor(Tabular(), labels=10, model=RandomForest(trees=5), folds=0)
    search(NASBench201(), RandomSearch(), evaluator, trials=2, seed=0, out=tmp_path / "a")
    export(tmp_path / "a")
    assert "weights   none. Predictor scores no network of its own" in capsys.readouterr().out
    evaluator = Predictor(one_shot(), labelled=str(tmp_path / "a"))
    with pytest.raises(MissingAbility, match=r"its labels are of .*a, so that nobody here has weights; give who has"):
        evaluator.trained(Query(0, (), 0))


# -- presets and refusals --------------------------------------------------------------------------

SHORT = {
    "space.units": '[[4,2,"relu",true]]',
    "space.depths": "[1,2]",
    "space.expansions": "[2,3]",
    "limits.flops": 32e3,
    "trials": 6,
    "batch": 3,
    "controller.population_size": 3,
    "seed": 0,
    "out": "r",
}
OWN = {
    "bignas": {"evaluator.epochs": 2, "evaluator.training.train_examples": 60},
    "ofa": {
        "evaluator.labels": 10,
        "evaluator.folds": 0,
        "evaluator.model.epochs": 2,
        "evaluator.evaluator.epochs": 7,
        "evaluator.evaluator.alone_epochs": 1,
        "evaluator.evaluator.training.train_examples": 60,
    },
}


@pytest.mark.parametrize("name", list(OWN))
def test_preset_runs(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = itertools.chain.from_iterable((f"--{key}", str(value)) for key, value in (SHORT | OWN[name]).items())
    status, out, err = run(capsys, "run", "--preset", name, *words, "--quiet")
    assert status == 0, err
    assert "6 completed, 0 failed" in out
    space = OnceForAll([(4, 2, "relu", True)], depths=(1, 2), expansions=(2, 3), resolutions=(6, 8))
    measured = Training("digits")
    measured.start(space)
    architectures = [trial.architecture for trial in RunFolder("r").trials(0) if trial.evaluation is not None]
    assert all(measured.measure(architecture)["flops"] <= 32e3 for architecture in architectures)


def test_settings_of_the_papers():
    """The numbers that the presets keep; see the comments in their files."""
    big, ofa = (yaml.safe_load(preset_file(name).read_text()) for name in OWN)
    shared = big["evaluator"]["init_args"]
    assert (shared["sampler"], shared["random_paths"], shared["distillation"]) == ("sandwich", 2, 1.0)
    assert "stages" not in shared
    controller = ofa["controller"]["init_args"]
    assert [controller[key] for key in ("population_size", "parents", "mutations", "crossovers")] == [100, 25, 50, 50]
    model = ofa["evaluator"]["init_args"]["model"]["init_args"]
    assert (model["layers"], model["width"]) == (3, 400)
    stages = ofa["evaluator"]["init_args"]["evaluator"]["init_args"]["stages"]
    assert [stage for stage in stages if stage != "resolution"] == ["kernel", "depth", "depth", "width", "width"]


@pytest.mark.parametrize(
    ("settings", "space", "error", "message"),
    [
        ({}, NASBench201(), MissingAbility, "sandwich needs architectures that are parts of the largest one, those of"),
        ({"stages": ["kernel"]}, SPACE, UsageError, "expected each of depth, kernel, resolution, width of OnceForAll"),
        ({"stages": STAGES, "epochs": 5}, SPACE, UsageError, "expected at least 6 epochs for 5 stages after 1 epoch"),
        ({"stages": STAGES, "sampler": "uniform"}, SPACE, UsageError, "stages: only of the sampler sandwich, got"),
        ({"distillation": 1.5}, SPACE, UsageError, "distillation: expected a finite number from 0 to 1, got 1.5"),
        ({"source": "hyper_network"}, SPACE, UsageError, "sandwich shares weights; leave the source hyper_network out"),
        ({"random_paths": -1}, SPACE, UsageError, "random_paths: expected a whole number >= 0, got -1"),
        ({"alone_epochs": 0}, SPACE, UsageError, "alone_epochs: expected a whole number >= 1, got 0"),
    ],
)
def test_refusals(settings, space, error, message):
    with pytest.raises(error, match=message):
        OneShot(training(), **{"sampler": "sandwich", "epochs": 6, **settings}).start(space)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"units": [(4, 3, "relu", False)]}, r"units\[0\]: stride: expected one of 1, 2, got 3"),
        ({"units": [(4, 1, "gelu", False)]}, r"units\[0\]: activation: expected one of relu, hard_swish, got 'gelu'"),
        ({"units": [(4, 1)]}, r"units\[0\]: expected \[channels, stride, activation, squeeze\]"),
        ({"units": []}, "units: expected at least one, got none"),
        ({"kernels": [3, 4]}, r"kernels: expected odd numbers, got \[3, 4\]"),
        ({"depths": [3, 2]}, r"depths: expected rising numbers, got \[3, 2\]"),
        ({"expansions": []}, r"expansions: expected a list of numbers, got \[\]"),
        ({"head_channels": [8]}, r"head_channels: expected two numbers, got \[8\]"),
        ({"stem_stride": 3}, "stem_stride: expected a whole number from 1 to 2, got 3"),
    ],
)
def test_refusals_of_the_space(settings, message):
    with pytest.raises(UsageError, match=message):
        OnceForAll(**settings)
    with pytest.raises(UsageError, match="expected such as r6:k3e3:k3e3"):
        functools.partial(SPACE.parse, "r8:k3e3:x")()
