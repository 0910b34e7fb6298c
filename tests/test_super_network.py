"""The super-network of ``OneShot``: its paths, its training, its bill and its file."""

import numpy as np
import pytest
import torch
from one_shot_lab import (
    CELL,
    SPACE,
    UPDATES,
    finished,
    like,
    outcome,
    prepared,
    same_values,
    started,
    untimed,
    watching,
)
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from archsearch.basics.seeding import stream
from archsearch.evaluators import super_network
from archsearch.evaluators.inheriting import as_tensor, inherit
from archsearch.spaces import MobileNet, NASBench201, NASBenchMacro
from archsearch.training.paths import DroppedPaths, FairPaths, Mixture, UniformPaths

# -- training the super-network ------------------------------------------------------------------


def test_a_path_trains_its_own_parameters_only():
    evaluator = started(training={"weight_decay": 0.1})
    training = evaluator.training
    run = training.trainer.begin(None, 0)
    before = {name: value.clone() for name, value in run.network.named_parameters()}
    with training.trainer.session() as meter:
        training.trainer.train(run, UPDATES, UPDATES, meter, paths=lambda progress: [CELL])
    own = {name for name, _ in training.trainer.network(CELL).named_parameters()}
    after = dict(run.network.named_parameters())
    assert {name for name in before if not torch.equal(before[name], after[name])} == own
    assert own < set(before)


@pytest.mark.parametrize("space", [SPACE, NASBenchMacro()])
def test_fair_updates_hold_every_candidate_of_every_choice_once(space):
    sampler = FairPaths(space, 0)
    for _ in range(50):
        paths = np.array(sampler.draw(0.5))
        assert all(tuple(path) in space for path in paths.tolist())
        assert (np.sort(paths, axis=0) == np.arange(space.arities[0])[:, None]).all()


def test_uniform_updates_hold_one_path_each_and_are_spread_as_a_binomial():
    sampler = UniformPaths(SPACE, 0)
    drawn = np.array([path for _ in range(3000) for path in sampler.draw(0.0)])
    assert len(drawn) == 3000
    counts = np.array([np.bincount(choice, minlength=5) for choice in drawn.T])
    # Binomial(3000, 1/5): mean 600, standard deviation 21.9; 30 counts within 4 of them.
    assert abs(counts - 600).max() < 88
    assert 10 < counts.std() < 35


def test_candidates_are_dropped_more_and_more():
    space, dropout, n = MobileNet(), 0.2, 1000
    sampler = DroppedPaths(space, 0, dropout, (100, 1000))
    everything = sum(space.arities)
    for progress in (0.0, 0.25, 0.5, 1.0):
        drawn = [sampler.draw(progress) for _ in range(n)]
        assert all(len(paths) == 1 and isinstance(paths[0], Mixture) for paths in drawn)
        kept = np.zeros(len(space.arities))
        for ((options, macs),) in drawn:
            assert all(0 < len(set(some)) == len(some) for some in options)
            assert all(set(some) <= set(range(n)) for some, n in zip(options, space.arities, strict=True))
            kept += list(map(len, options))
            share = (sum(map(len, options)) - space.max_length) / (everything - space.max_length)
            assert macs == round(100 + share * 900)
        for arity, mean in zip(space.arities, kept / n, strict=True):
            drop = progress * dropout ** (1 / arity)
            expected, deviation = arity * (1 - drop) + drop**arity, (arity * drop * (1 - drop) / n) ** 0.5
            assert abs(mean - expected) <= 5 * deviation
    nearly_all = DroppedPaths(space, 0, 1 - 1e-12, (100, 1000))
    assert nearly_all.draw(1.0)[0].macs == 100, "one of each choice stays"
    firsts = [nearly_all.draw(1.0)[0].options[0][0] for _ in range(600)]
    assert min(np.bincount(firsts, minlength=space.arities[0])) > 0.5 * 600 / space.arities[0]


@pytest.mark.parametrize(("sampler", "paths"), [("uniform", 1), ("fair", 5)])
def test_set_up_is_billed_by_paths_and_updates(sampler, paths):
    evaluator = started(sampler=sampler)
    cost = evaluator.prepare()
    assert cost.updates == UPDATES
    assert cost.examples == 2 * 60 * paths
    sizes = [evaluator.trainer.size(SPACE.sample(stream(i, "size")))[0] for i in range(16)]
    assert cost.flops == 2 * (3 * cost.examples * round(np.mean(sizes)) + watching(evaluator))
    assert cost.wall_seconds > 0
    assert cost.device_seconds > 0
    assert evaluator.prepare() == cost, "it is trained once"


def test_dropout_is_billed_by_what_is_computed():
    evaluator = started(sampler="dropout", dropout=0.5)
    cost = evaluator.prepare()
    assert (cost.updates, cost.examples) == (UPDATES, 2 * 60)
    single = evaluator.trainer.size(None)[0]
    (everything,) = {paths.macs for paths in evaluator._shared._paths.draw(0.0)}
    shared = evaluator.trainer.network(None).to_empty(device="cpu").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shared.mixture(torch.zeros(1, 1, 8, 8), [range(5)] * 6)
    assert everything == counter.get_total_flops() // 2 + 10, "ten biases"
    sampler = DroppedPaths(SPACE, 0, 0.5, (single, everything))
    macs = [sampler.draw(step / UPDATES)[0].macs for step in range(UPDATES)]
    assert cost.flops == 2 * (3 * 20 * sum(macs) + watching(evaluator))
    assert macs[0] == everything
    assert all(single < some < everything for some in macs[1:])


def test_dropout_trains_what_it_keeps(monkeypatch):
    evaluator, drawn = started(sampler="dropout"), []
    draw = DroppedPaths.draw
    monkeypatch.setattr(DroppedPaths, "draw", lambda self, progress: drawn.append(progress) or draw(self, progress))
    evaluator.prepare()
    assert drawn == [step / UPDATES for step in range(UPDATES)]
    initial = evaluator.trainer.begin(None, 0).network.state_dict()
    changed = {
        name for name, value in initial.items() if not torch.equal(value, as_tensor(evaluator._shared._values[name]))
    }
    assert changed >= {name for name, _ in evaluator.trainer.network(None).named_parameters()}


@pytest.mark.parametrize("settings", [{}, {"sampler": "fair"}, {"sampler": "dropout"}, {"source": "hyper_network"}])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path, monkeypatch, settings):
    whole = started(**settings)
    bill = whole.prepare()
    cut = started(**settings, folder=tmp_path)
    write = super_network.write_run

    def write_and_stop(run, path, **further):
        write(run, path, **further)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(super_network, "write_run", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            cut.prepare()
    again = started(**settings, folder=tmp_path)
    rest = again.prepare()
    assert untimed(rest) == untimed(bill), "what was done before the interruption is billed too"
    assert again.curve == whole.curve
    assert same_values(whole, again)


def test_the_seed_decides_the_super_network(trained):
    assert same_values(trained, prepared())
    assert not same_values(trained, prepared(seed=1))


def test_the_curve_is_what_fixed_paths_reach(tmp_path):
    evaluator = started(folder=tmp_path)
    evaluator.prepare()
    assert [row["epoch"] for row in evaluator.curve] == [1, 2]
    images, labels = (part[:256] for part in evaluator.trainer.data.part("valid"))
    shared = evaluator._shared.network().train()
    with torch.no_grad():
        found = [
            float((shared(images, SPACE.sample(stream(i, "watched"))).argmax(1) == labels).double().mean())
            for i in range(4)
        ]
    assert evaluator.curve[-1]["accuracy"] == pytest.approx(100 * np.mean(found))
    head, *rows = (tmp_path / "super-network.csv").read_text().splitlines()
    assert head == "epoch,train_loss,accuracy"
    read = [dict(zip(head.split(","), map(float, row.split(",")), strict=True)) for row in rows]
    assert read == [pytest.approx(row, rel=1e-5) for row in evaluator.curve]


@pytest.mark.parametrize("settings", [{}, {"source": "hyper_network"}])
def test_watching_changes_nothing_and_is_done_now_and_then(monkeypatch, settings):
    found = {}
    for points in (1, 2, 20):
        monkeypatch.setattr(super_network, "CURVE_POINTS", points)
        evaluator = prepared(epochs=5, training={"train_examples": 20, "drop_path": 0.5}, **settings)
        found[points] = evaluator
    assert [[row["epoch"] for row in each.curve] for each in found.values()] == [[5], [3, 5], [1, 2, 3, 4, 5]]
    assert same_values(found[1], found[20]), "counters of batches included"
    assert found[1].curve[-1] == found[20].curve[-1]


def test_progress_is_told_epoch_by_epoch():
    evaluator, told = started(sampler="controller", uniform_epochs=2, epochs=4), []
    evaluator.on_progress = lambda *facts: told.append(facts)
    evaluator.prepare()
    evaluator.advance(finished(SPACE, 2))
    assert told == [("super-network", 1, 4), ("super-network", 2, 4), ("super-network", 3, 4)]


# -- spaces of one's own ---------------------------------------------------------------------------


class Scale(nn.Module):
    """A layer with buffers, of which one is not part of the state."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.empty(1))
        self.register_buffer("factor", torch.empty(1), persistent=False)

    def initialise(self, generator):
        self.seen.zero_()
        self.factor.fill_(0.5)

    def forward(self, x):
        if self.training:
            self.seen += 1
        return x * self.factor + self.seen * 1e-3


class Scaled(NASBench201):
    """With other buffers than those of batch normalisation."""

    def network(self, architecture, task, *, channels=None, cells=None):
        return self._with_scale(super().network(architecture, task, channels=channels, cells=cells))

    def super_network(self, task, *, channels=None, cells=None):
        return self._with_scale(super().super_network(task, channels=channels, cells=cells))

    @staticmethod
    def _with_scale(network):
        network.head.append(Scale())
        return network


def test_other_buffers_are_inherited_too():
    evaluator = prepared(space=Scaled(), statistics="inherited")
    assert evaluator._shared._values["head.4.seen"] > 0
    assert "head.4.factor" not in evaluator._shared._values
    found = evaluator.evaluate(CELL, 0)
    network = evaluator.trainer.begin(CELL, 0).network.eval()
    inherit(network, {name: as_tensor(value) for name, value in evaluator._shared._values.items()})
    images, labels = evaluator.trainer.data.part("valid")
    with torch.no_grad():
        loss = functional.cross_entropy(network(images), labels)
    assert found.metrics["valid_loss"] == pytest.approx(float(loss), rel=1e-5)
    assert outcome(like(evaluator).evaluate(CELL, 0)) == outcome(found)
