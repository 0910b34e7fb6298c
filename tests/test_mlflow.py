"""MLflow, read back with its own package."""

import contextlib
import json
import shutil
import sqlite3
import threading
import time

import pytest
from loggers_lab import Uneven, expected, run, runs

from archsearch import resume
from archsearch.bridges import mlflow as loggers
from archsearch.bridges.loggers import make_logger
from archsearch.bridges.mlflow import MLflowLogger

# MLflow's models use what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")


@pytest.fixture(scope="module")
def database_file(tmp_path_factory):
    """One for all tests, since it takes a second to make."""
    path = tmp_path_factory.mktemp("mlflow") / "made" / "mlflow.db"
    run(MLflowLogger(tracking_uri=f"sqlite:///{path}"), trials=1)
    return path


@pytest.fixture
def database(database_file):
    """Address of the database; each test uses an experiment of its own."""
    return f"sqlite:///{database_file}"


def history(client, run, name):
    return sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name))


def test_mlflow_has_every_trial_and_a_resumed_search_continues_its_run(tmp_path, database):
    logger = MLflowLogger("whole", tracking_uri=database)
    run(logger, trials=20, out=tmp_path / "r")
    client, (first,) = runs(database, "whole")
    assert json.loads((tmp_path / "r" / "mlflow.json").read_text())["run_id"] == first.info.run_id
    result = resume(
        tmp_path / "r", evaluator=Uneven(), trials=40, on_trial=MLflowLogger("whole", tracking_uri=database)
    )
    _, (only,) = runs(database, "whole")
    assert only.info.run_id == first.info.run_id
    assert (only.info.run_name, only.info.status) == ("r", "FINISHED")
    scalars, notation = expected(result.history)
    scalars["metrics/top-1 ___"] = scalars.pop("metrics/top-1 (%)")
    for name, pairs in scalars.items():
        assert history(client, only, name) == [(step, pytest.approx(value)) for step, value in sorted(pairs)], name
    assert only.data.tags["best"] == notation[-1][1] == result.best_name
    assert only.data.tags["stopped"] == "trials"
    assert only.data.metrics["final/completed"] == 40
    assert only.data.metrics["final/cost/device_seconds"] == pytest.approx(result.cost.device_seconds)
    assert only.data.params["controller.population_size"] == "10"
    assert only.data.params["settings.trials"] == "20"  # as it was: MLflow lets no parameter be changed


def test_mlflow_run_that_is_gone_is_begun_anew(tmp_path, database):
    run(MLflowLogger("gone", tracking_uri=database), trials=3, out=tmp_path / "r")
    client, (first,) = runs(database, "gone")
    client.delete_run(first.info.run_id)
    resume(tmp_path / "r", evaluator=Uneven(), trials=5, on_trial=MLflowLogger("gone", tracking_uri=database))
    _, (second,) = runs(database, "gone")
    (tmp_path / "r" / "mlflow.json").write_text('{"run_id": "0123456789abcdef0123456789abcdef"}')
    resume(tmp_path / "r", evaluator=Uneven(), trials=7, on_trial=MLflowLogger("gone", tracking_uri=database))
    assert len({run.info.run_id for run in (first, second, *runs(database, "gone")[1])}) == 3


def test_mlflow_gets_few_calls(database, monkeypatch):
    from mlflow import MlflowClient

    calls = []
    whole = MlflowClient.log_batch

    def log_batch(self, run_id, **what):
        calls.append({name: len(items) for name, items in what.items()})
        whole(self, run_id, **what)

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    result = run(MLflowLogger("few", tracking_uri=database, send_seconds=999.0), trials=600)
    trials = [len(expected([trial])[0]) for trial in result.history]
    sizes = [call["metrics"] for call in calls if "metrics" in call]
    assert max(sizes) <= 1_000
    assert len(trials) > 800
    assert len(sizes) < 15  # of 600 trials of 5 figures, and others of 3; then the final figures
    calls.clear()
    run([MLflowLogger("few", tracking_uri=database, send_seconds=999.0), lambda _: time.sleep(0.02)], trials=30)
    assert len([call for call in calls if "metrics" in call]) == 2, "what comes slowly is collected too"
    (_, (_, only)) = runs(database, "few")
    assert only.data.metrics["final/completed"] == 600


def test_mlflow_truncates_and_counts_what_it_left_out(database, monkeypatch):
    monkeypatch.setattr(loggers, "MAX_PARAM_LENGTH", 9)
    monkeypatch.setattr(loggers, "MAX_WAITING", 0)
    run(MLflowLogger("cut", "a name", database), trials=3, max_failures=50)
    client, (only,) = runs(database, "cut")
    assert only.info.run_name == "a name"
    assert only.data.params["controller"] == "archsearc"
    assert int(only.data.tags["trials_left_out"]) >= 3
    assert history(client, only, "score") == []


@pytest.mark.parametrize(("end", "status"), [(KeyboardInterrupt, "KILLED"), (SystemExit, "FAILED")])
def test_mlflow_says_how_it_ended(database, end, status):
    def stop(trial):
        if trial.id == 5:
            raise end

    experiment = f"ended by {end.__name__}"
    with contextlib.suppress(SystemExit):
        run([MLflowLogger(experiment, tracking_uri=database), stop])
    assert [r.info.status for r in runs(database, experiment)[1]] == [status]


def test_mlflow_server_that_is_gone_warns_once(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nothing listens there
    with pytest.warns(UserWarning, match=r"MLflowLogger failed.*127\.0\.0\.1") as caught:
        result = run(make_logger("mlflow", None))
    assert len(caught) == 1
    assert result.completed == 40


def test_mlflow_database_that_is_lost_on_the_way_warns_once(tmp_path, database_file):
    shutil.copy(database_file, tmp_path / "db")

    def lose(trial):
        if trial.id == 5:
            while not (tmp_path / "r" / "mlflow.json").exists():
                time.sleep(0.01)
            with sqlite3.connect(tmp_path / "db") as connection:
                connection.execute("drop table metrics")

    with pytest.warns(UserWarning, match=r"MLflowLogger failed.*no such table: metrics") as caught:
        result = run([MLflowLogger(tracking_uri=f"sqlite:///{tmp_path / 'db'}"), lose], out=tmp_path / "r")
    assert len([warning for warning in caught if warning.category is UserWarning]) == 1
    assert result.completed == 40


def test_mlflow_server_that_hangs_does_not_hold_up_the_end(monkeypatch):
    hang = threading.Event()
    monkeypatch.setattr(loggers, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(MLflowLogger, "_connect", lambda self: hang.wait())
    with pytest.warns(UserWarning, match=r"MLflowLogger failed.*TimeoutError: the server took nothing"):
        assert run(MLflowLogger()).completed == 40
    hang.set()
