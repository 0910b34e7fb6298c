"""TensorBoard and MLflow, read back with their own packages."""

import os
import sys

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import contextlib
import json
import shutil
import sqlite3
import threading
import time

import numpy as np
import pytest

from archsearch import Evaluation, Evaluator, Space, loggers, loop, resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.errors import TooManyFailures, UnknownName, UsageError
from archsearch.loggers import Logger, MLflowLogger, TensorBoardLogger, flatten, make_logger
from archsearch.trial import Cost

# MLflow's models use what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")

SPACE = Space(arities=[4, 3, 5, 2])


class Uneven(Evaluator):
    """Costs of 1 to 3 seconds, a metric that MLflow cannot name so, one architecture in three fails."""

    def evaluate(self, architecture, seed):
        if sum(architecture) % 3 == 0:
            raise ValueError("no such layer")
        return Evaluation(sum(architecture) + seed % 100 / 100, {"top-1 (%)": 7.0}, Cost(device_seconds=1.0 + seed % 3))


class Falling(Uneven):
    """The longer a training, the lower its score."""

    def check_budgets(self, budgets):
        pass

    def evaluate_query(self, query):
        evaluation = self.evaluate(query.architecture, query.seed)
        return evaluation._replace(score=evaluation.score - 100 * query.budget.stop)


class Ledger(Logger):
    """Keeps what it is told."""

    def __init__(self):
        self.opened, self.logged, self.closed = [], [], []

    def open(self, config, folder, resumed):
        self.opened.append((config, folder, resumed))

    def log(self, step, figures, best):
        self.logged.append((step, figures, best))

    def close(self, result):
        self.closed.append(result)


def run(on_trial, trials=40, controller=None, **settings):
    settings = {"seed": 0, "max_failures": 99, "executor": "simulated", **settings}
    return search(
        SPACE, controller or RegularizedEvolution(10, 3), Uneven(), trials=trials, on_trial=on_trial, **settings
    )


def expected(trials):
    """What is to be logged of these trials, as {name: [(step, value)]}; the best is the first of the highest."""
    scalars = {name: [] for name in ("score", "metrics/top-1 (%)", "best", "billed_seconds", "failed")}
    best, billed, failed, notation = None, 0.0, 0, []
    for trial in trials:
        if trial.evaluation is None:
            failed, billed = failed + 1, billed + trial.seconds
        else:
            billed += trial.cost.billed_seconds
            scalars["score"].append((trial.id, trial.score))
            scalars["metrics/top-1 (%)"].append((trial.id, 7.0))
            if best is None or trial.score > best.score:
                best = trial
                notation.append((trial.id, SPACE.format(trial.architecture)))
        if best is not None:
            scalars["best"].append((trial.id, best.score))
        scalars["billed_seconds"].append((trial.id, billed))
        scalars["failed"].append((trial.id, failed))
    return scalars, notation


# -- what loggers are told -----------------------------------------------------------------------


def test_loggers_are_told_of_begin_trials_and_end():
    ledger, heard = Ledger(), []
    result = run([ledger, heard.append], workers=3)
    scalars, notation = expected(result.history)
    assert result.failed > 5
    logged = {name: [(step, f[name]) for step, f, _ in ledger.logged if name in f] for name in scalars}
    assert logged == {name: [(step, pytest.approx(value)) for step, value in pairs] for name, pairs in scalars.items()}
    assert [(step, best) for step, _, best in ledger.logged if best is not None] == notation
    assert len(notation) > 2
    assert heard == list(result.history)
    assert ledger.closed == [result]
    (config, folder, resumed), *more = ledger.opened
    assert (folder, resumed, more) == (None, False, [])
    assert (config["seed"], config["settings"]["trials"], config["workers"]) == (0, 40, 3)


def test_best_is_of_the_longest_training():
    ledger = Ledger()
    controller = SuccessiveHalving(RandomSearch(), 1, 9)
    result = search(SPACE, controller, Falling(), trials=60, seed=0, max_failures=99, on_trial=ledger)
    assert result.best.budget.stop == 9
    assert ledger.logged[-1][1]["best"] == result.best.score < ledger.logged[0][1]["best"] - 700


def test_a_search_that_fails_ends_its_loggers():
    ledger = Ledger()
    with pytest.raises(TooManyFailures):
        run(ledger, max_failures=1)
    assert ledger.closed == [None]


def test_resumed_run_after_a_kill_tells_loggers_everything(tmp_path, monkeypatch):
    whole = Ledger()
    run(whole, out=tmp_path / "whole")

    def kill(trial):
        if trial.id == 20:
            raise SystemExit

    monkeypatch.setattr(loop.History, "close", lambda self, state: self.folder.close())  # no last state
    before, after = Ledger(), Ledger()
    with pytest.raises(SystemExit):
        run([before, kill], out=tmp_path / "r")
    assert before.closed == [None]
    monkeypatch.undo()
    result = resume(tmp_path / "r", evaluator=Uneven(), trials=50, on_trial=[after])
    assert [folder for _, folder, _ in before.opened + after.opened] == [tmp_path / "r"] * 2
    assert [resumed for *_, resumed in before.opened + after.opened] == [False, True]
    assert after.opened[0][0]["settings"]["trials"] == 50
    assert before.logged == whole.logged[: len(before.logged)]
    assert after.logged[: len(whole.logged)] == whole.logged  # the journal is replayed, from the first trial
    assert after.closed == [result]


def test_several_that_cannot_be_called():
    with pytest.raises(UsageError, match="on_trial: expected what can be called"):
        run([print, "tensorboard"])


class Broken(Ledger):
    """Fails in one of its methods."""

    def __init__(self, where):
        super().__init__()
        self.where = where
        setattr(self, where, self.fail)

    def fail(self, *_):
        self.logged.append("failed")
        raise ConnectionError("server gone")


@pytest.mark.parametrize("where", ["open", "log", "close"])
def test_a_logger_that_fails_warns_once_and_the_search_goes_on(where):
    broken, sound = Broken(where), Ledger()
    with pytest.warns(UserWarning, match="Broken failed, and logs no more .*ConnectionError: server gone") as caught:
        result = run([broken, sound])
    assert len(caught) == 1
    assert result.completed == 40
    assert broken.logged.count("failed") == 1
    assert len(sound.logged) == 40 + result.failed
    assert sound.closed == [result]


@pytest.mark.parametrize(
    ("name", "module", "logger"),
    [
        ("tensorboard", "torch.utils.tensorboard", lambda: TensorBoardLogger("tb")),
        ("mlflow", "mlflow", MLflowLogger),
    ],
)
def test_missing_package(monkeypatch, name, module, logger):
    monkeypatch.setitem(sys.modules, module, None)
    if "." in module:
        monkeypatch.delattr(module, raising=False)
    with pytest.raises(UsageError, match=rf'pip install "archsearch\[{name}\]"'):
        logger()


def test_ranges():
    with pytest.raises(UsageError, match="flush_seconds: expected a number above 0, got 0"):
        TensorBoardLogger("tb", 0)
    with pytest.raises(UsageError, match="send_seconds: expected a number above 0, got -1"):
        MLflowLogger(send_seconds=-1)


def test_flat_configuration():
    inner = {"class_path": "lab.Inner", "init_args": {"rate": 0.5, "none": {}}}
    config = {
        "controller": {"class_path": "lab.Outer", "init_args": {"inner": inner, "sizes": [1, 2]}},
        "a": {"b": None},
    }
    assert flatten(config) == {
        "controller": "lab.Outer",
        "controller.inner": "lab.Inner",
        "controller.inner.rate": 0.5,
        "controller.inner.none": {},
        "controller.sizes": [1, 2],
        "a.b": None,
    }


# -- TensorBoard ---------------------------------------------------------------------------------


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    scalars = {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}
    texts = {
        tag: [(e.step, e.tensor_proto.string_val[0].decode()) for e in accumulator.Tensors(tag)]
        for tag in accumulator.Tags()["tensors"]
    }
    return scalars, texts, accumulator


def test_tensorboard_has_every_trial_also_of_a_resumed_run(tmp_path):
    run(TensorBoardLogger(tmp_path / "tb"), trials=20, out=tmp_path / "r")
    result = resume(tmp_path / "r", evaluator=Uneven(), trials=40, on_trial=TensorBoardLogger(tmp_path / "tb"))
    trials = list(result.history)
    logged, notation = expected(trials)
    scalars, texts, _ = events(tmp_path / "tb")
    for name, pairs in logged.items():
        assert [step for step, _ in scalars[name]] == [step for step, _ in pairs], name
        np.testing.assert_allclose([v for _, v in scalars[name]], [v for _, v in pairs], rtol=1e-6, err_msg=name)
    resumed_at = next(t.id for i, t in enumerate(trials) if sum(t.evaluation is not None for t in trials[:i]) == 20)
    known = [name for step, name in notation if step < resumed_at][-1]
    told_again = [] if resumed_at in dict(notation) else [(resumed_at, known)]
    assert texts["best/text_summary"] == sorted([(s, f"`{n}`") for s, n in [*notation, *told_again]])
    assert "| controller.population_size | `10` |" in texts["configuration/text_summary"][-1][1]
    assert [text for _, text in texts["stopped/text_summary"]] == ["trials", "trials"]
    figures = {"best": result.best.score, "best_trial": result.best.id, "completed": 40, "failed": result.failed}
    assert {name: scalars[f"final/{name}"][-1][1] for name in figures} == pytest.approx(figures)
    assert scalars["final/cost/device_seconds"][-1][1] == pytest.approx(result.cost.device_seconds)


def test_tensorboard_shows_the_configuration_under_hparams(tmp_path):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    run(TensorBoardLogger(tmp_path), trials=3)
    metadata = events(tmp_path)[2].summary_metadata["_hparams_/session_start_info"]
    values = HParamsPluginData.FromString(metadata.plugin_data.content).session_start_info.hparams
    assert values["controller"].string_value == "archsearch.controllers.regularized_evolution.RegularizedEvolution"
    assert values["controller.population_size"].number_value == 10
    assert values["settings.timeout"].string_value == "None"


def test_tensorboard_that_cannot_write_warns_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="TensorBoardLogger failed") as caught:
        result = run(TensorBoardLogger(tmp_path / "file" / "tb"))
    assert len(caught) == 1
    assert result.completed == 40


# -- MLflow --------------------------------------------------------------------------------------


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


def runs(uri, experiment):
    """Client and runs of an experiment."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    return client, client.search_runs([found.experiment_id]) if found else []


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


# -- by name -------------------------------------------------------------------------------------


def test_loggers_by_name(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    out = str(tmp_path / "r")
    run([make_logger(name, out) for name in loggers.LOGGERS], trials=3, out=out)
    assert events(tmp_path / "r" / "tensorboard")[0]["final/completed"] == [(0, 3.0)]
    _, (only,) = runs(f"sqlite:///{tmp_path / 'r' / 'mlflow' / 'mlflow.db'}", "archsearch")
    assert only.data.metrics["final/completed"] == 3
    assert resume(out, evaluator=Uneven(), trials=4).completed == 4  # the loggers' files do not disturb


def test_loggers_by_name_that_cannot_be(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UnknownName, match="no logger is called 'wandb'; expected any of tensorboard, mlflow"):
        make_logger("wandb", "runs/r")
    for name in loggers.LOGGERS:
        with pytest.raises(UsageError, match=f"logger {name}: it writes into the run folder; name one with --out"):
            make_logger(name, None)
