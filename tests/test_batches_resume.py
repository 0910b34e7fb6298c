"""Batches in runs that are killed and go on."""

import pytest
from advance_lab import killed_run, run
from advancing_lab import Together

from archsearch import resume
from archsearch.controllers import RegularizedEvolution


@pytest.mark.parametrize("then", [1, 5, 8])
@pytest.mark.parametrize("after", [1, 7, 8, 29])
def test_a_killed_run_in_batches_goes_on(after, then, tmp_path, monkeypatch):
    settings = {"controller": RegularizedEvolution(10, 3), "batch": 5, "trials": 60}
    whole = run(Together(), **settings)
    killed_run(tmp_path / "r", monkeypatch, after, Together(), **settings)
    evaluator = Together()
    resumed = resume(tmp_path / "r", evaluator=evaluator, batch=then)
    assert (resumed.completed, resumed.failed) == (60, 0)
    assert sorted(trial.id for trial in resumed.history) == list(range(60))
    if then == 5:  # whatever size its batches were cut to
        scores = [(t.id, t.architecture, t.parent, t.score) for t in whole.history]
        assert [(t.id, t.architecture, t.parent, t.score) for t in resumed.history] == scores
    else:
        assert max(evaluator.sizes, default=1) == then


@pytest.mark.parametrize("recorded", [0, 2, 4])
@pytest.mark.parametrize("duplicates", ["evaluate", "reuse"])
def test_a_batch_of_which_only_a_part_was_recorded_is_not_filled_up(recorded, duplicates, tmp_path, monkeypatch):
    settings = {"controller": RegularizedEvolution(10, 3), "batch": 6, "trials": 60, "duplicates": duplicates}
    whole = run(Together(), **settings)
    for then in (6, 3):
        folder = tmp_path / f"{then}"
        killed_run(folder, monkeypatch, 30, Together(), **settings)
        (journal,) = (folder / "journal").glob("journal-*")
        lines = journal.read_text().splitlines(keepends=True)
        asked = max(i for i, line in enumerate(lines) if line.startswith('["a"'))
        journal.write_text("".join(lines[: asked + 1 + recorded]))
        (folder / "lock").write_text("running")  # else it would know better
        evaluator = Together()
        resumed = resume(folder, evaluator=evaluator, batch=then)
        assert max(evaluator.sizes) <= then
        assert (resumed.completed, resumed.failed) == (60, 0)
        if then == 6:
            paths = [[(t.id, t.architecture, t.parent) for t in result.history] for result in (whole, resumed)]
            assert paths[0] == paths[1]
