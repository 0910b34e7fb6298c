"""W&B: all that is sent, by a stand-in for its package (the package itself is 20 MB, and starts a process)."""

import json
import sys

import pytest
import wandb_lab
from loggers_lab import Uneven, expected, run

from archsearch import WandbLogger, resume
from archsearch.bridges.loggers import make_logger
from archsearch.errors import UsageError


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", wandb_lab.MODULE)
    wandb_lab.KEPT.clear()
    return wandb_lab.KEPT


def test_wandb_has_every_trial_and_a_resumed_search_continues_its_run(tmp_path, kept):
    run(WandbLogger("whole", mode="offline"), trials=20, out=tmp_path / "r")
    ((id_, only),) = kept.items()
    assert json.loads((tmp_path / "r" / "wandb.json").read_text())["run_id"] == id_
    result = resume(
        tmp_path / "r", evaluator=Uneven(), trials=40, on_trial=WandbLogger("whole", mode="offline")
    )  # fmt: skip
    assert list(kept) == [id_]
    scalars, notation = expected(result.history)
    scalars["metrics/top-1 ___"] = scalars.pop("metrics/top-1 (%)")
    found = {name: [(row["trial"], row[name]) for row in only.rows if name in row] for name in scalars}
    for name, pairs in scalars.items():
        assert found[name] == [(step, pytest.approx(value)) for step, value in pairs], name
    assert only.axes["*"] == "trial"
    assert only.exit_codes == [0, 0]
    assert only.summary["best_architecture"] == notation[-1][1] == result.best_name
    assert only.summary["stopped"] == "trials"
    assert only.summary["final/completed"] == 40
    begin, later = only.given
    assert (begin["project"], begin["name"], begin["mode"], begin["resume"]) == ("whole", "r", "offline", None)
    assert later["resume"] == "allow"
    assert begin["config"]["controller.population_size"] == 10
    assert begin["dir"] is None, "W&B's folder has links that lead out, which a run folder must not have"


def test_a_search_that_fails_ends_as_failed(kept, tmp_path):
    with pytest.raises(Exception, match="no such layer"):
        run(WandbLogger(folder=tmp_path), max_failures=1)
    (only,) = kept.values()
    assert only.exit_codes == [1]
    assert only.given[0]["dir"] == str(tmp_path)


def test_by_name_and_refused(tmp_path):
    assert isinstance(make_logger("wandb", str(tmp_path)), WandbLogger)
    with pytest.raises(UsageError, match="mode: expected one of online, offline, got 'shared'"):
        WandbLogger(mode="shared")
