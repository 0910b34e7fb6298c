"""Loggers: what they are told, by name, and what goes wrong."""

import sys

import pytest
import wandb_lab
from loggers_lab import SPACE, Uneven, events, expected, run, runs

from archsearch import resume, search
from archsearch.bridges import loggers
from archsearch.bridges.logged import flatten
from archsearch.bridges.loggers import make_logger
from archsearch.bridges.mlflow import MLflowLogger
from archsearch.bridges.tensorboard import TensorBoardLogger
from archsearch.bridges.wandb import WandbLogger
from archsearch.controllers import RandomSearch, SuccessiveHalving
from archsearch.errors import TooManyFailures, UnknownName, UsageError
from archsearch.keeping.history import History
from archsearch.running.listener import Logger

# MLflow's models use what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")


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

    monkeypatch.setattr(History, "close", lambda self, state: self.folder.close())  # no last state
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
        ("wandb", "wandb", WandbLogger),
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


# -- by name -------------------------------------------------------------------------------------


def test_loggers_by_name(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", wandb_lab.MODULE)
    out = str(tmp_path / "r")
    run([make_logger(name, out) for name in loggers.LOGGERS], trials=3, out=out)
    assert events(tmp_path / "r" / "tensorboard")[0]["final/completed"] == [(0, 3.0)]
    _, (only,) = runs(f"sqlite:///{tmp_path / 'r' / 'mlflow' / 'mlflow.db'}", "archsearch")
    assert only.data.metrics["final/completed"] == 3
    assert resume(out, evaluator=Uneven(), trials=4).completed == 4  # the loggers' files do not disturb


def test_loggers_by_name_that_cannot_be(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UnknownName, match="no logger is called 'neptune'; expected any of tensorboard, mlflow, wandb;"):
        make_logger("neptune", "runs/r")
    for name in ("tensorboard", "mlflow"):
        with pytest.raises(UsageError, match=f"logger {name}: it writes into the run folder; name one with --out"):
            make_logger(name, None)
