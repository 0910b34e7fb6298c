"""The predictor: refits, resumes and kills; nothing is paid for twice."""

from __future__ import annotations

import json
import math
import pickle
import time

import forked
import numpy as np
import pytest
from common import run_command
from predictor_lab import Additive, Slow, prepared, queries

from archsearch import Cost, models, search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import UsageError
from archsearch.evaluators import Predictor, Tabular
from archsearch.model import load_model
from archsearch.running.search import resume
from archsearch.spaces import NASBench201
from archsearch.testing import SeparableSpace
from archsearch.trial import Trial


def test_refit_labels_the_best_and_bills_it():
    space = SeparableSpace()
    result = search(
        space,
        RegularizedEvolution(20, 5),
        predictor := Predictor(Additive(), labels=20, refit=25, relabels=4),
        trials=100,
        seed=0,
    )
    assert len(predictor.labelled_scores) in range(20 + 3 * 4 - 2, 20 + 4 * 4 + 1)
    extra = len(predictor.labelled_scores) - 20
    assert result.setup_cost.updates == 3 * (20 + extra)
    new = list(predictor.labelled_scores.values())[20:]
    assert np.mean(new) > np.mean(list(predictor.labelled_scores.values())[:20])


def test_advancing_again_with_the_same_sample_changes_and_costs_nothing(tmp_path):
    predictor, _ = prepared(refit=10)
    predictor.folder = tmp_path
    sample = [
        Trial(q.id, q.architecture, evaluation=e)
        for q, e in zip(
            queries(predictor.space, 10), predictor.evaluate_batch(queries(predictor.space, 10)), strict=True
        )
    ]
    cost = predictor.advance(sample)
    labels = predictor.labelled_scores
    again = Predictor(Additive(), labels=40, refit=10)
    again.start(predictor.space)
    again.folder = tmp_path
    again.prepare()
    assert again.advance(sample) == cost
    assert again.labelled_scores == labels


def test_resume_neither_labels_nor_fits_again(tmp_path, capsys):
    asked = tmp_path / "asked"
    settings = {"trials": 30, "seed": 0, "out": tmp_path / "run"}
    first = search(SeparableSpace(), RandomSearch(), Predictor(Additive(str(asked)), labels=25), **settings)
    assert asked.read_text() == "x" * 25
    status, out, _ = run_command(capsys, "report", str(tmp_path / "run"))
    assert status == 0
    assert first.note in out
    second = resume(tmp_path / "run", trials=60, trust=True)
    assert asked.read_text() == "x" * 25
    assert second.setup_cost.updates == first.setup_cost.updates == 75
    assert second.note == first.note
    straight = search(SeparableSpace(), RandomSearch(), Predictor(Additive(), labels=25), trials=60, seed=0)
    assert [t.score for t in second.history] == [t.score for t in straight.history]


def prepare_slowly(asked):
    predictor = Predictor(Slow(str(asked)), labels=20)
    search(SeparableSpace(), RandomSearch(), predictor, trials=5, seed=0, out="run")


def test_a_killed_preparation_goes_on_where_it_was(tmp_path):
    asked = tmp_path / "asked"
    process = forked.Process(prepare_slowly, asked, cwd=tmp_path)
    while not asked.exists() or len(asked.read_text()) < 6:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    before = len(asked.read_text())
    result = resume(tmp_path / "run", evaluator=Predictor(Slow(str(asked)), labels=20))
    assert result.completed == 5
    assert len(asked.read_text()) <= 20 + 1  # at most the one that was being evaluated
    assert before < 20
    assert result.setup_cost.updates == 20 * 3


def test_workers_get_a_predictor_that_predicts():
    predictor, _ = prepared()
    other = pickle.loads(pickle.dumps(predictor))
    asked = queries(predictor.space, 3)
    assert [e.score for e in other.evaluate_batch(asked)] == [e.score for e in predictor.evaluate_batch(asked)]
    assert predictor.executor is None


def test_what_is_kept_is_read_without_pickle(tmp_path):
    search(SeparableSpace(), RandomSearch(), Predictor(Additive(), labels=20), trials=5, seed=0, out=tmp_path / "run")
    file = tmp_path / "run" / "evaluator" / "predictor.safetensors"
    model = load_model(file, SeparableSpace())
    assert len(model.scores) == 20
    assert math.isfinite(model.notes["tau"][0])
    header = file.read_bytes()
    length = int.from_bytes(header[:8], "little")
    assert json.loads(header[8 : 8 + length])  # safetensors
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(UsageError, match="expected a model of SeparableSpace"):
        load_model(file, SeparableSpace())
    with pytest.warns(UserWarning, match=r"predictor\.safetensors is damaged .*; the model is fitted anew"):
        again = resume(tmp_path / "run", evaluator=Predictor(Additive(), labels=20), trials=10)
    assert again.completed == 10
    assert load_model(file, SeparableSpace()).scores.tolist() == model.scores.tolist()


class Prepared(Additive):
    """Must be prepared in every process, which is work once for a run; keeps how often that was done in its folder."""

    keeps_files = True
    ready = False

    def prepare(self):
        assert self.folder is not None
        done = self.folder / "done"
        done.write_text(done.read_text() if done.exists() else "once")
        self.ready = True
        return Cost(updates=1_000)

    def evaluate(self, architecture, seed):
        if not self.ready:
            raise UsageError("call prepare first")
        return super().evaluate(architecture, seed)


@pytest.mark.parametrize("labelled", [False, True])
def test_what_gives_labels_is_ready_for_a_refit_after_a_resume(tmp_path, labelled):
    if labelled:
        search(SeparableSpace(), RandomSearch(), Additive(), trials=20, seed=7, out=tmp_path / "labels")
    where = {"labelled": str(tmp_path / "labels")} if labelled else {"labels": 20}

    def predictor():
        return Predictor(Prepared(), refit=10, relabels=2, folds=0, **where)

    run = tmp_path / "run"
    first = search(SeparableSpace(), RandomSearch(), predictor(), trials=5, seed=0, out=run)
    assert first.setup_cost.updates == 20 * 3 + 1_000
    second = resume(run, evaluator=predictor(), trials=25)
    assert second.setup_cost.updates == 20 * 3 + 1_000 + 2 * 2 * 3  # prepared again, but billed once


def test_features_are_prepared_once_for_a_run(tmp_path):
    def predictor():
        return Predictor(Additive(), labels=20, features=[Prepared()], model=models.RandomForest(5), folds=0)

    first = search(SeparableSpace(), RandomSearch(), predictor(), trials=5, seed=0, out=tmp_path / "run")
    second = resume(tmp_path / "run", evaluator=predictor(), trials=10)
    assert first.setup_cost.updates == second.setup_cost.updates == 1_000 + 2 * 20 * 3
    assert (tmp_path / "run" / "evaluator" / "feature_1" / "done").read_text() == "once"


def test_a_refit_passes_over_what_cannot_be_labelled():
    predictor = Predictor(Tabular(dataset="digits201"), labels=20, refit=20, relabels=3, folds=0)
    result = search(NASBench201(), RandomSearch(), predictor, trials=60, seed=0)
    assert result.completed == 60
    failing = Predictor(Additive(fails=0.5), labels=20, refit=10, relabels=4, folds=0)
    search(SeparableSpace(), RandomSearch(), failing, trials=40, seed=0)
    assert 20 < len(failing.labelled_scores) < 20 + 4 * 4
