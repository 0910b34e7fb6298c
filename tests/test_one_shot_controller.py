"""Super-networks that learn on the paths that a controller proposed (ENAS)."""

import os
import signal
from pathlib import Path

import forked
import pytest
from one_shot_lab import (
    CELL,
    PER_EPOCH,
    SPACE,
    enas,
    enas_search,
    facts,
    finished,
    like,
    outcome,
    same_values,
    untimed,
    watching,
)

from archsearch import resume
from archsearch.evaluators import one_shot, super_network
from archsearch.keeping.folder import RunFolder
from archsearch.training.trainer import Trainer
from archsearch.trial import Query

# -- a controller's own paths ------------------------------------------------------------------------


@pytest.fixture
def drawn(monkeypatch):
    """The paths that are trained, as they are drawn."""
    paths, train = [], Trainer.train

    def spy(self, run, *rest, **named):
        if draw := named.get("paths"):
            named["paths"] = lambda progress: (found := draw(progress), paths.extend(found))[0]
        return train(self, run, *rest, **named)

    monkeypatch.setattr(Trainer, "train", spy)
    return paths


def test_a_controller_trains_the_super_network_with_what_it_proposes(drawn):
    evaluator = enas()
    assert evaluator.interval == 4
    bill = evaluator.prepare()
    assert (bill.updates, bill.examples, len(drawn)) == (PER_EPOCH, 60, PER_EPOCH)
    assert len(set(drawn)) > 1
    before = dict(evaluator._shared._values)
    first = evaluator.evaluate(CELL, 0)
    for round_ in (0, 1):
        drawn.clear()
        sample = finished(SPACE, 4, seed=round_, first=4 * round_)
        cost = evaluator.advance(sample)
        assert (cost.updates, cost.examples, len(drawn)) == (PER_EPOCH, 60, PER_EPOCH)
        macs = evaluator.trainer.size(None)[0]
        assert cost.flops == 2 * (3 * 60 * macs + watching(evaluator, 1))
        assert set(drawn) <= {trial.architecture for trial in sample}
    assert any((before[name] != value).any() for name, value in evaluator._shared._values.items())
    assert evaluator.evaluate(CELL, 0).metrics != first.metrics, "it is scored with the new weights"
    assert evaluator.prepare() == bill
    # All epochs are done.
    after, points = dict(evaluator._shared._values), len(evaluator.curve)
    drawn.clear()
    cost = evaluator.advance(finished(SPACE, 4, seed=2, first=8))
    assert untimed(cost) == untimed(one_shot.NO_COST)
    assert not drawn
    assert all((after[name] == value).all() for name, value in evaluator._shared._values.items())
    assert len(evaluator.curve) == points == 3


def test_paths_are_drawn_uniformly_from_the_sample(drawn):
    evaluator = enas(training={"train_examples": 400, "batch_size": 4})
    evaluator.prepare()
    drawn.clear()
    sample = finished(SPACE, 4)
    evaluator.advance(sample)
    counts = [drawn.count(trial.architecture) for trial in sample]
    assert sum(counts) == 100
    assert min(counts) > 8, "25 expected, standard deviation 4.3"


def test_without_a_sample_or_another_sampler_nothing_is_learnt(trained):
    assert trained.interval == 0
    assert trained.advance(finished(SPACE, 3)) == one_shot.NO_COST
    evaluator = enas()
    evaluator.prepare()
    assert evaluator.advance([]) == one_shot.NO_COST


def test_each_round_is_scored_on_images_of_its_own():
    evaluator = enas(validation_batches=1, epochs=1)
    evaluator.prepare()
    seen = []
    for i in range(3):
        seen.append(evaluator._chosen(Query(0, CELL, 0)).tolist())
        assert like(evaluator)._chosen(Query(1, CELL, 3)).tolist() == seen[-1]
        evaluator.advance(finished(SPACE, 4, first=4 * i))
    assert len({tuple(sorted(images)) for images in seen}) == 3


def test_a_sample_is_learnt_from_once(tmp_path):
    evaluator, sample = enas(tmp_path), finished(SPACE, 4)
    evaluator.prepare()
    cost = evaluator.advance(sample)
    values = dict(evaluator._shared._values)
    assert evaluator.advance(sample) == cost
    again = enas(tmp_path)
    again.prepare()
    assert again.advance(sample) == cost, "as after a kill, before the search had noted it"
    assert all(
        (values[name] == value).all() for each in (evaluator, again) for name, value in each._shared._values.items()
    )


@pytest.mark.parametrize("moment", ["before", "after"])
def test_learning_goes_on_from_the_folder_as_if_it_had_not_stopped(tmp_path, monkeypatch, moment):
    rounds = [finished(SPACE, 4, seed=i, first=4 * i) for i in range(3)]
    whole = enas(epochs=4, validation_batches=2)
    whole_bills = [whole.prepare(), *map(whole.advance, rounds)]
    cut = enas(tmp_path, epochs=4, validation_batches=2)
    bills = [cut.prepare(), cut.advance(rounds[0])]
    write = super_network.write_run

    def stop(*rest, **named):
        if moment == "after":
            write(*rest, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(super_network, "write_run", stop)
        with pytest.raises(KeyboardInterrupt):
            cut.advance(rounds[1])
    again = enas(tmp_path, epochs=4, validation_batches=2)
    assert again.prepare() == bills[0]
    bills += [again.advance(rounds[1]), again.advance(rounds[2])]
    assert list(map(untimed, bills)) == list(map(untimed, whole_bills))
    assert same_values(again, whole)
    assert again.curve == whole.curve
    assert outcome(again.evaluate(CELL, 0)) == outcome(whole.evaluate(CELL, 0))


def search_until_killed(folder, writes, after):
    """For a process of its own: begins the search or goes on with it, until kill -9 at a write of the super-network."""
    write, calls = super_network.write_run, []

    def write_and_die(*rest, **named):
        calls.append(0)
        if len(calls) == writes and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        write(*rest, **named)
        if len(calls) == writes:
            os.kill(os.getpid(), signal.SIGKILL)

    super_network.write_run = write_and_die
    resume(folder) if (Path(folder) / "config.yaml").exists() else enas_search(folder)


def test_a_killed_search_ends_as_an_uninterrupted_one(tmp_path):
    whole = enas_search(tmp_path / "whole")
    assert whole.setup_cost.updates == 3 * PER_EPOCH
    folder = tmp_path / "killed"
    # Once when the first round is on disk, but not in the journal; once when the second is trained, but not on disk.
    for writes, after, done in ((2, True, 3), (1, False, 6)):
        ended = forked.run(search_until_killed, str(folder), writes, after, cwd=tmp_path)
        assert ended.poll() == -signal.SIGKILL, ended.stderr
        assert len(list(RunFolder(folder).trials(3))) == done
    killed = resume(folder)
    assert facts(killed) == facts(whole)
    assert not list((folder / "evaluator").glob("*.tmp"))
