"""Run folders that version 0.1.0 wrote, whole, killed and poisoned: they open, report, resume and end as they would."""

import math
import shutil
import warnings

import folder_lab
import pytest

from archsearch import search
from archsearch.keeping.folder import RunFolder
from archsearch.showing import report as showing_report
from archsearch.showing import status as showing_status

FOLDERS = {
    "finished": "plain",
    "journal": "plain",
    "two-parts": "failures",
    "two-parts-finished": "failures",
    "concurrent": "concurrent",
    "budgets": "budgets",
    "predictor": "predictor",
    "one-shot": "one_shot",
    "training": "training",
}


@pytest.fixture(scope="module")
def whole():
    """The trials of a search that is not interrupted, by its kind; each is run once."""
    known = {}

    def trials(kind):
        if kind not in known:
            result = search(**folder_lab.KINDS[kind](), seed=folder_lab.SEED)
            known[kind] = folder_lab.rows(result.history), result.completed
        return known[kind]

    return trials


def alike(one, other):
    """Whether rows are equal but for rounding: the folders were written on a processor with other kernels."""
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(alike(a, b) for a, b in zip(one, other, strict=True))
    return one == pytest.approx(other, rel=1e-5, nan_ok=True) if isinstance(one, float) else one == other


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_the_first_version_opens_and_ends_as_an_uninterrupted_run(name, whole, tmp_path):
    folder = tmp_path / name
    shutil.copytree(folder_lab.folder_of(name), folder)
    expected, completed = whole(FOLDERS[name])
    before = folder_lab.rows(RunFolder(folder).trials(folder_lab.SEED))
    assert before
    assert all(alike(expected[id_], row) for id_, row in before.items())
    assert f"{sum(row[2] == 'completed' for row in before.values())} completed" in showing_status.status(folder)
    result = folder_lab.go_on(FOLDERS[name], folder)
    assert alike(folder_lab.rows(result.history), expected)
    assert result.completed == completed
    assert (showing_report.report(folder)).exists()
    assert not [path for path in (folder / "trials").iterdir() if path.suffix != ".parquet"]


def test_what_advances_goes_on_in_a_folder_of_the_first_version(tmp_path):
    folder = tmp_path / "advances"
    shutil.copytree(folder_lab.folder_of("advances"), folder)
    before = folder_lab.rows(RunFolder(folder).trials(folder_lab.SEED))
    result = folder_lab.go_on("advances", folder)
    after = folder_lab.rows(result.history)
    assert {id_: after[id_] for id_ in before} == before
    assert result.setup_cost.updates == 100 + 50


@pytest.mark.parametrize("poison", folder_lab.POISONS)
def test_a_folder_that_the_first_version_has_poisoned_opens_again(poison, tmp_path):
    folder = tmp_path / poison
    shutil.copytree(folder_lab.folder_of(f"poisoned-{poison}"), folder)
    assert "completed" in showing_status.status(folder)
    table = RunFolder(folder).table(folder_lab.SPACE)
    before = table.num_rows
    assert before >= 5
    assert showing_report.report(folder).exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = folder_lab.resume(folder, space=folder_lab.SPACE, evaluator=folder_lab.healed(poison))
    assert result.completed == 12
    ids = [trial.id for trial in result.history]
    assert len(ids) == len(set(ids)) >= 12
    poisoned = next(trial for trial in result.history if trial.id == 4)
    figures = {
        "score": lambda: poisoned.score == 2.0**70,
        "metric": lambda: poisoned.metrics == {"operations": float(2**60 + 1)},
        "cost": lambda: poisoned.cost.flops == 2.0**70,
        "curve": lambda: poisoned.evaluation.curve == (1.0, 2.0**70),
        "name": lambda: poisoned.metrics == {"7": 1.0},
        "surrogate": lambda: poisoned.metrics == {"caf?": 1.0},
        "text": lambda: "cannot read caf?.png" in poisoned.error,
    }
    assert figures[poison]()
    assert all(math.isfinite(trial.score) for trial in result.history if trial.evaluation)
