"""What can depend on the paths of a super-network's updates: which are drawn, rates, momenta, and what is noted."""

import numpy as np
import pytest
import torch
from one_shot_lab import CELL, SPACE, UPDATES, outcome, prepared, same_values, started, untimed

from archsearch import resume, search
from archsearch.basics.seeding import stream
from archsearch.controllers import RandomSearch
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluators import OneShot
from archsearch.spaces import DARTS, NASBench101, NASBenchMacro
from archsearch.spaces.nasbench201 import EDGES, OPERATIONS
from archsearch.training import loop
from archsearch.training.loop import Run
from archsearch.training.optimizer import PathUpdates, moments
from archsearch.training.paths import CandidatePaths, UniformPaths
from archsearch.training.trainer import Trainer

NONE, SKIP, SMALL_KERNEL, LARGE_KERNEL, POOL = range(5)
DRAWS = 2000


def shares(progress=0.5, **settings):
    """How often each candidate is drawn, over all choices."""
    paths = CandidatePaths(SPACE, 0, **{"grouped": False, "alone": 0.0, "dropout": 0.0, **settings})
    drawn = np.array([paths.draw(progress)[0] for _ in range(DRAWS)])
    return np.bincount(drawn.ravel(), minlength=5) / drawn.size


# -- which paths are drawn ---------------------------------------------------------------------------

TOLERANCE = 4 * (0.25 / (6 * DRAWS)) ** 0.5
"""Four standard deviations of a share, at most."""


def test_grouped_choices_are_for_or_against_weights_first():
    assert shares(grouped=True) == pytest.approx([1 / 6, 1 / 6, 1 / 4, 1 / 4, 1 / 6], abs=TOLERANCE)
    assert shares() == pytest.approx([1 / 5] * 5, abs=TOLERANCE)


def test_in_the_warm_up_only_candidates_with_weights_are_drawn():
    assert shares(alone=0.5, progress=0.49) == pytest.approx([0, 0, 1 / 2, 1 / 2, 0], abs=TOLERANCE)
    assert shares(alone=0.5, progress=0.5) == pytest.approx([1 / 5] * 5, abs=TOLERANCE)


def test_dropped_operators_give_way_to_none():
    assert shares(dropout=0.25) == pytest.approx([0.3, 0.15, 0.2, 0.2, 0.15], abs=TOLERANCE)


def test_the_bill_is_that_of_paths_drawn_so():
    evaluator = started(epochs=2, warm_up_epochs=1)
    cost = evaluator.prepare()
    paths = evaluator._shared._paths
    warm, usual = (paths.multiply_adds(share, lambda path: evaluator.trainer.size(path)[0]) for share in (0.0, 0.5))
    assert warm > usual, "candidates without weights cost nothing"
    plain = prepared(epochs=2).prepare()
    assert (cost.updates, cost.examples) == (plain.updates, plain.examples)
    assert cost.flops - plain.flops == 2 * 3 * 60 * (warm + usual - 2 * evaluator.trainer.size(None)[0])


def test_a_warm_up_of_all_epochs_trains_no_path_with_other_candidates(monkeypatch):
    drawn, train = [], Trainer.train

    def spy(self, *given, **named):
        draw = named["paths"]
        named["paths"] = lambda progress: (found := draw(progress), drawn.extend(found))[0]
        return train(self, *given, **named)

    monkeypatch.setattr(Trainer, "train", spy)
    prepared(warm_up_epochs=1, epochs=2)
    drawn = np.array(drawn)
    assert set(drawn[: UPDATES // 2].ravel()) == {SMALL_KERNEL, LARGE_KERNEL}
    assert len(set(drawn[UPDATES // 2 :].ravel())) > 2


# -- rates and momenta --------------------------------------------------------------------------------


def test_noting_changes_nothing():
    plain, noting = prepared(), prepared(note_updates=True)
    assert same_values(plain, noting)
    assert untimed(plain.prepare()) == untimed(noting.prepare())
    assert outcome(plain.evaluate(CELL, 0)) == outcome(noting.evaluate(CELL, 0))


@pytest.mark.parametrize("by_size", [0.5, -1.0])
def test_the_rate_falls_later_for_heavy_paths(monkeypatch, by_size):
    seen, update = [], loop.update
    monkeypatch.setattr(
        loop, "update", lambda optimizer, rate, *rest: seen.append(rate) or update(optimizer, rate, *rest)
    )
    evaluator = prepared(rate_by_size=by_size)
    paths = UniformPaths(SPACE, 0)
    drawn = [evaluator.trainer.size(paths.draw(0.0)[0])[0] for _ in range(UPDATES)]
    mean = np.mean([evaluator.trainer.size(SPACE.sample(stream(i, "size"), "architectures"))[0] for i in range(64)])
    cosine = (1 + np.cos(np.pi * np.arange(UPDATES) / UPDATES)) / 2
    assert seen == pytest.approx((0.1 * cosine ** ((mean / np.array(drawn)) ** by_size)).tolist())


def test_momenta_of_one_group_are_not_those_of_another():
    updates = PathUpdates(lambda path: path[0], [1, 2, 3, 4], groups=2)
    weight = torch.nn.Parameter(torch.zeros(1))
    network = torch.nn.Module()
    sgd = [torch.optim.SGD([weight], 1.0, momentum=0.5) for _ in range(2)]
    run = Run(None, network, sgd[0], torch.Generator(), others={moments(1): sgd[1]})
    position, velocity = 0.0, [0.0, 0.0]
    for size, gradient in ((1, 1.0), (4, 2.0), (2, 1.0), (3, -1.0), (1, 0.5)):
        weight.grad = torch.tensor([gradient])
        loop.update(updates.optimizer(run.optimizer, run.others, [(size,)]), 0.1)
        group = int(size > 2)  # the median of the sizes is 2.5
        velocity[group] = 0.5 * velocity[group] + gradient
        position -= 0.1 * velocity[group]
        assert weight.item() == pytest.approx(position)


def test_several_groups_make_another_super_network():
    assert not same_values(prepared(), prepared(momentum_groups=2))


def test_a_run_that_was_stopped_goes_on_with_all_momenta(tmp_path):
    settings = {"momentum_groups": 3, "rate_by_size": 0.5, "note_updates": True, "sampler": "grouped"}
    whole = prepared(epochs=3, **settings)

    class Stopped(Exception):
        pass

    def stop(what, epoch, epochs):
        if epoch == 2:
            raise Stopped

    cut = started(epochs=3, folder=tmp_path, **settings)
    cut.on_progress = stop
    with pytest.raises(Stopped):
        cut.prepare()
    rest = started(epochs=3, folder=tmp_path, **settings)
    assert untimed(rest.prepare()) == untimed(whole.prepare())
    assert same_values(rest, whole)
    assert rest.noted == whole.noted


# -- what is noted ------------------------------------------------------------------------------------


def live(path):
    """Edges that lie between input and output."""
    fed, used = {0}, {3}
    for (source, target), option in zip(EDGES, path, strict=True):
        fed |= {target} if option != NONE and source in fed else set()
    for (source, target), option in sorted(zip(EDGES, path, strict=True), key=lambda edge: -edge[0][1]):
        used |= {source} if option != NONE and target in used else set()
    return [i for i, (source, target) in enumerate(EDGES) if path[i] != NONE and source in fed and target in used]


@pytest.mark.parametrize("sampler", ["uniform", "fair"])
def test_candidates_are_noted_when_their_paths_reach_the_output(sampler, tmp_path):
    evaluator = started(sampler=sampler, note_updates=True, epochs=5, folder=tmp_path)
    evaluator.prepare()
    paths, expected = evaluator._shared._sampler(None), {}
    for _ in range(5 * 3):
        trained = {(i, path[i]) for path in paths.draw(0.0) for i in live(path)}
        for i, option in trained:
            name = f"{EDGES[i][0]}-{EDGES[i][1]}.{OPERATIONS[option]}"
            expected[name] = expected.get(name, 0) + (option in (SMALL_KERNEL, LARGE_KERNEL))
    expected = {name: updates for name, updates in expected.items() if updates}
    for layer in (0, 2, 4):  # a cell in each stage, and reductions between them
        mine = f"layers.{layer}.edges."
        found = {name.removeprefix(mine): row[0] for name, row in evaluator.noted.items() if name.startswith(mine)}
        assert found == expected
    assert all(norms > 0 for _, norms in evaluator.noted.values())
    lines = (tmp_path / "candidates.csv").read_text().splitlines()
    assert lines[0] == "candidate,updates,gradient_norm"
    name, updates, norm = lines[1].split(",")
    assert evaluator.noted[name][0] == int(updates)
    assert evaluator.noted[name][1] / int(updates) == pytest.approx(float(norm), rel=1e-5)


def test_norms_are_those_of_the_gradients():
    evaluator = started(note_updates=True)
    run = evaluator.trainer.begin(None, 0)
    updates = evaluator._updates(run)
    images, labels = evaluator.trainer.data.part("train")
    torch.nn.functional.cross_entropy(run.network(images[:20], (3,) * 6), labels[:20]).backward()
    updates.note(run.network)
    name = "layers.0.edges.0-1.nor_conv_3x3"
    squares = sum(float(weight.grad.square().sum()) for weight in run.network.get_submodule(name).parameters())
    assert updates.noted[name] == pytest.approx([1, squares**0.5], rel=1e-5)


def test_a_search_keeps_what_was_noted(tmp_path):
    folder = tmp_path / "run"
    search(SPACE, RandomSearch(), started(note_updates=True), trials=1, seed=0, out=folder)
    text = (folder / "evaluator" / "candidates.csv").read_text()
    resume(folder, trials=2)
    assert (folder / "evaluator" / "candidates.csv").read_text() == text


# -- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "space", "error", "message"),
    [
        (
            {"sampler": "fair", "warm_up_epochs": 1},
            SPACE,
            UsageError,
            "warm_up_epochs: only of the samplers uniform, gr",
        ),
        (
            {"sampler": "dropout", "rate_by_size": 1.0},
            SPACE,
            UsageError,
            "rate_by_size: only of the samplers uniform, g",
        ),
        ({"sampler": "fair", "momentum_groups": 2}, SPACE, UsageError, "momentum_groups: only of the samplers uniform"),
        ({"operation_dropout": 1.0}, SPACE, UsageError, "operation_dropout: expected a finite number"),
        ({"momentum_groups": 0}, SPACE, UsageError, "momentum_groups: expected"),
        (
            {"note_updates": True, "weights": "x"},
            SPACE,
            UsageError,
            "note_updates: nothing is trained where weights are",
        ),
        ({"sampler": "grouped"}, DARTS(), MissingAbility, "which candidates have weights to learn, DARTS does not"),
        ({"warm_up_epochs": 1}, NASBench101(), MissingAbility, "which candidates have weights to learn, NASBench101"),
        (
            {"operation_dropout": 0.1},
            NASBenchMacro(),
            MissingAbility,
            "none in the place of a candidate, which NASBench",
        ),
    ],
)
def test_what_cannot_be_is_refused(settings, space, error, message):
    with pytest.raises(error, match=message):
        OneShot(**settings).check(space)
