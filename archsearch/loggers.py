"""Loggers: what a search finds, trial by trial, in TensorBoard or MLflow.

    search(..., on_trial=TensorBoardLogger("runs/tb"))
    search(..., on_trial=[TensorBoardLogger("runs/tb"), MLflowLogger("my experiment"), print])

A logger is a callable for ``on_trial`` that also hears when the search begins and ends. The step of everything that
it logs is the trial's id, so a resumed search goes on where it was; after a kill, the trials since the last saved state
are logged a second time, at their steps, with the same values. A logger that fails (a server is gone, a disk is full)
warns once and logs no more: the search goes on.
"""

from __future__ import annotations

import abc
import os
import queue
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from archsearch.errors import UnknownName, UsageError
from archsearch.notes import read_note, write_note
from archsearch.texts import name_of
from archsearch.trial import COST_FIELDS, Trial

if TYPE_CHECKING:
    from archsearch.controller import Controller
    from archsearch.evaluator import Evaluator
    from archsearch.executor import Executor
    from archsearch.history import History
    from archsearch.loop import Result
    from archsearch.space import Space

LOGGERS = ("tensorboard", "mlflow")
MLFLOW_FILE = "mlflow.json"
"""File in the run folder that holds the id of its MLflow run."""
MAX_METRICS = 1_000
MAX_PARAMS = 100
"""Limits of MLflow for one call of ``log_batch``."""
MAX_PARAM_LENGTH = 6_000
"""Characters of a parameter's value that MLflow keeps."""
MAX_REASON_LENGTH = 400
"""Characters of the warning about a failure; some errors name all that was to be sent."""
MAX_WAITING = 100_000
"""Trials that may wait to be sent to MLflow; while that many wait, further ones are left out."""
PATIENCE_SECONDS = 60.0
"""How long the end of a search waits for an MLflow server that takes nothing."""


class Watched(Protocol):
    """What those who watch a search may read of it, at any time."""

    @property
    def space(self) -> Space:
        """What is searched."""

    @property
    def controller(self) -> Controller:
        """Who proposes."""

    @property
    def evaluator(self) -> Evaluator:
        """Who scores."""

    @property
    def executor(self) -> Executor:
        """Where evaluations run."""

    @property
    def history(self) -> History:
        """All finished trials, the root seed, and the run folder, if there is one."""

    @property
    def completed(self) -> int:
        """Completed trials so far."""

    @property
    def failed(self) -> int:
        """Failed trials so far."""

    @property
    def billed_seconds(self) -> float:
        """What all tries so far have billed."""

    @property
    def best(self) -> Trial | None:
        """The best completed trial so far."""


class Logger(abc.ABC):
    """Base of loggers. A search calls ``begin``, then the logger itself with every finished trial, then ``end``.

    A subclass defines ``open``, ``log`` and ``close``; what these raise becomes a warning.
    """

    _search: Watched | None = None  # None: not begun, over, or failed
    _best: Trial | None = None

    @abc.abstractmethod
    def open(self, config: Mapping[str, Any], folder: Path | None, resumed: bool) -> None:
        """Called before the first trial.

        Args:
            config: What is in the ``config.yaml`` of a run folder.
            folder: The run folder, if there is one.
            resumed: Whether an earlier run goes on.
        """

    @abc.abstractmethod
    def log(self, step: int, figures: Mapping[str, float], best: str | None) -> None:
        """Called with every finished trial.

        Args:
            step: The trial's id.
            figures: ``score`` and ``metrics/NAME`` if the trial completed; ``best``, the score of the best trial so
                far, if there is one; ``billed_seconds`` and ``failed``, the sums over all trials so far.
            best: The best architecture in the space's own notation, if it is another one than before.
        """

    @abc.abstractmethod
    def close(self, result: Result | None) -> None:
        """Called when the search is over.

        Args:
            result: What it found; None if it ended with an error.
        """

    def begin(self, search: Watched, config: Mapping[str, Any], resumed: bool) -> None:
        """Called by the search before anything is evaluated, and before the journal of a resumed run is replayed.

        Args:
            search: The search; what it stands at is read from it at every trial.
            config: See ``open``.
            resumed: See ``open``.
        """
        self._search, self._best = search, None
        folder = search.history.folder
        self._attempt(self.open, config, None if folder is None else folder.path, resumed)

    def __call__(self, trial: Trial) -> None:
        """Logs a finished trial."""
        search = self._search
        if search is None:
            return
        figures = {"billed_seconds": search.billed_seconds, "failed": float(search.failed)}
        if trial.evaluation is not None:
            figures["score"] = trial.evaluation.score
            for name, value in trial.evaluation.metrics.items():
                figures[f"metrics/{name}"] = value
        best = search.best
        if best is None or best.score is None:
            self._attempt(self.log, trial.id, figures, None)
            return
        figures["best"] = best.score
        is_new, self._best = best is not self._best, best
        self._attempt(self.log, trial.id, figures, name_of(search.space, best.architecture) if is_new else None)

    def end(self, result: Result | None) -> None:
        """Called by the search when it is over, however it ended.

        Args:
            result: See ``close``.
        """
        if self._search is not None:
            self._attempt(self.close, result)
        self._search = self._best = None

    def _attempt(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except Exception as error:  # whatever the service or its client raises
            self._search = None
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_REASON_LENGTH]
            warnings.warn(f"{type(self).__name__} failed, and logs no more of this search: {reason}", stacklevel=3)


class TensorBoardLogger(Logger):
    """Writes event files for TensorBoard.

    Scalars as in ``Logger.log``, the best architecture and the configuration as texts, and at the end the configuration
    with the final figures under HPARAMS.

    Args:
        folder: Folder of the event files; ``tensorboard --logdir`` shows it or any folder above.
        flush_seconds: Seconds after which what was logged is on disk, > 0.

    Raises:
        UsageError: If tensorboard is not installed.
    """

    def __init__(self, folder: str | Path, flush_seconds: float = 10.0) -> None:
        if not flush_seconds > 0:
            raise UsageError(f"TensorBoardLogger: flush_seconds: expected a number above 0, got {flush_seconds!r}")
        try:
            from torch.utils import tensorboard
        except ImportError as error:
            raise _not_installed("tensorboard", error) from None
        self.folder = folder
        self.flush_seconds = flush_seconds
        self._package: Any = tensorboard
        self._writer: Any = None

    def open(self, config: Mapping[str, Any], folder: Path | None, resumed: bool) -> None:
        """Opens a new event file; TensorBoard puts it after those of the runs before."""
        self._parameters = flatten(config)
        self._writer = self._package.SummaryWriter(str(self.folder), flush_secs=self.flush_seconds)
        rows = "\n".join(f"| {name} | {_code(value)} |" for name, value in self._parameters.items())
        self._writer.add_text("configuration", f"| name | value |\n| --- | --- |\n{rows}", 0)

    def log(self, step: int, figures: Mapping[str, float], best: str | None) -> None:
        """Hands it to TensorBoard's own thread, which writes."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        if best is not None:
            self._writer.add_text("best", _code(best), step)

    def close(self, result: Result | None) -> None:
        """Adds the final figures and waits until all is on disk."""
        if result is not None:
            values = {
                name: value if isinstance(value, (bool, int, float, str)) else str(value)
                for name, value in self._parameters.items()
            }
            self._writer.add_hparams(values, final_figures(result), run_name=".")
            self._writer.add_text("stopped", result.stopped, result.completed + result.failed)
        self._writer.close()


class _Point(NamedTuple):
    """What is logged of one trial."""

    step: int
    milliseconds: int
    figures: Mapping[str, float]
    best: str | None


class _End(NamedTuple):
    """The last thing that is logged."""

    result: Result | None


class MLflowLogger(Logger):
    """Logs a search as a run of an MLflow experiment.

    Metrics as in ``Logger.log``, the configuration as parameters, the best architecture as the tag ``best``, and at the
    end the final figures as metrics. A thread of its own sends them, many trials at a time, so that the search never
    waits for the server. The run folder keeps the id of the MLflow run (``mlflow.json``), which a resumed search goes
    on with; its parameters stay as they were.

    Args:
        experiment: Name of the experiment; made if there is none.
        run_name: Name of the run; None: that of the run folder, else one that MLflow makes up.
        tracking_uri: Server, or database such as ``sqlite:///mlflow.db``; None: as MLflow is configured
            (``mlflow.set_tracking_uri``, ``MLFLOW_TRACKING_URI``).
        send_seconds: How long trials are collected before they are sent, > 0.

    Raises:
        UsageError: If MLflow is not installed.
    """

    def __init__(
        self,
        experiment: str = "archsearch",
        run_name: str | None = None,
        tracking_uri: str | None = None,
        send_seconds: float = 5.0,
    ) -> None:
        if not send_seconds > 0:
            raise UsageError(f"MLflowLogger: send_seconds: expected a number above 0, got {send_seconds!r}")
        try:
            import mlflow
        except ImportError as error:
            raise _not_installed("mlflow", error) from None
        self.experiment = experiment
        self.run_name = run_name
        self.tracking_uri = tracking_uri
        self.send_seconds = send_seconds
        self._package: Any = mlflow

    def open(self, config: Mapping[str, Any], folder: Path | None, resumed: bool) -> None:
        """Starts the thread; all calls of MLflow are made there."""
        self._waiting: queue.SimpleQueue[_Point | _End] = queue.SimpleQueue()
        self._left_out = 0
        self._failure: Exception | None = None
        self._calls = 0  # that went well
        # A daemon: a server that takes nothing must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, args=(config, folder, resumed), daemon=True)
        self._thread.start()

    def log(self, step: int, figures: Mapping[str, float], best: str | None) -> None:
        """Puts it with what waits to be sent."""
        if self._failure is not None:
            raise self._failure
        if self._waiting.qsize() >= MAX_WAITING:
            self._left_out += 1
            return
        self._waiting.put(_Point(step, time.time_ns() // 1_000_000, figures, best))

    def close(self, result: Result | None) -> None:
        """Waits until everything is sent, as long as the server takes anything."""
        self._waiting.put(_End(result))
        while self._thread.is_alive():
            before = self._calls
            self._thread.join(PATIENCE_SECONDS)
            if self._thread.is_alive() and self._calls == before:
                raise TimeoutError(f"the server took nothing for {PATIENCE_SECONDS:.0f} s")
        if self._failure is not None:
            raise self._failure

    # -- in the thread ---------------------------------------------------------------------------

    def _work(self, config: Mapping[str, Any], folder: Path | None, resumed: bool) -> None:
        try:
            self._client = self._connect()
            self._run_id = self._take_up(folder, resumed) or self._create(folder)
            self._log_parameters(config)
            end = None
            while end is None:
                points, end = self._collect()
                self._send(points)
            self._finish(end.result)
        except Exception as error:  # told by the search's own thread
            self._failure = error

    def _connect(self) -> Any:
        path = (self.tracking_uri or "").removeprefix("sqlite:///")
        if path and path != self.tracking_uri:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        return self._package.MlflowClient(tracking_uri=self.tracking_uri)

    def _take_up(self, folder: Path | None, resumed: bool) -> str | None:
        """Id of the run of before, if it is still there."""
        if folder is None or not resumed or not (folder / MLFLOW_FILE).exists():
            return None
        found = read_note(folder / MLFLOW_FILE, ("run_id",), "a new run is begun in MLflow")
        if found is None:
            return None
        run_id: str = found["run_id"]
        try:
            run = self._client.get_run(run_id)
        except self._package.MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        if run.info.lifecycle_stage != "active":
            return None
        self._client.update_run(run_id, status="RUNNING")
        return run_id

    def _create(self, folder: Path | None) -> str:
        name = self.run_name or (None if folder is None else folder.absolute().name)
        run_id: str = self._client.create_run(self._experiment_id(), run_name=name).info.run_id
        if folder is not None:
            write_note(folder / MLFLOW_FILE, {"run_id": run_id})
        return run_id

    def _experiment_id(self) -> str:
        experiment = self._client.get_experiment_by_name(self.experiment)
        if experiment is None:
            created: str = self._client.create_experiment(self.experiment)
            return created
        known: str = experiment.experiment_id
        return known

    def _log_parameters(self, config: Mapping[str, Any]) -> None:
        """Those that the run does not have: MLflow lets none be changed."""
        known = self._client.get_run(self._run_id).data.params
        values = {_key(name): str(value)[:MAX_PARAM_LENGTH] for name, value in flatten(config).items()}
        params = [self._package.entities.Param(name, value) for name, value in values.items() if name not in known]
        for chunk in _chunks(params, MAX_PARAMS):
            self._call(params=chunk)

    def _collect(self) -> tuple[list[_Point], _End | None]:
        """What to send next: waits for a trial, then for as many as come within ``send_seconds``."""
        points: list[_Point] = []
        size, until = 0, None
        while size < MAX_METRICS:
            try:
                item = self._waiting.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if isinstance(item, _End):
                return points, item
            points.append(item)
            size += len(item.figures)
            until = until or time.monotonic() + self.send_seconds
        return points, None

    def _send(self, points: Sequence[_Point]) -> None:
        metric = self._package.entities.Metric
        metrics = [
            metric(_key(name), value, at, step) for step, at, figures, _ in points for name, value in figures.items()
        ]
        for chunk in _chunks(metrics, MAX_METRICS):
            self._call(metrics=chunk)
        best = [point for point in points if point.best is not None]
        if best:
            self._tag(best=best[-1].best)

    def _finish(self, result: Result | None) -> None:
        if self._left_out:
            self._tag(trials_left_out=self._left_out)
        if result is None:
            self._client.set_terminated(self._run_id, "FAILED")
            return
        now, step = time.time_ns() // 1_000_000, result.completed + result.failed
        metric = self._package.entities.Metric
        self._call(metrics=[metric(name, value, now, step) for name, value in final_figures(result).items()])
        self._tag(stopped=result.stopped)
        self._client.set_terminated(self._run_id, "KILLED" if result.stopped == "interrupted" else "FINISHED")

    def _tag(self, **tags: Any) -> None:
        values = {name: str(value)[:MAX_PARAM_LENGTH] for name, value in tags.items()}
        self._call(tags=[self._package.entities.RunTag(name, value) for name, value in values.items()])

    def _call(self, **what: Any) -> None:
        self._client.log_batch(self._run_id, **what)
        self._calls += 1


def make_logger(name: str, out: str | None) -> Logger:
    """The logger of that name, for the command line.

    Args:
        name: ``tensorboard``: event files in OUT/tensorboard. ``mlflow``: to ``MLFLOW_TRACKING_URI``; if that is not
            set, to a database in OUT/mlflow.
        out: The run folder.

    Raises:
        UnknownName: If there is none.
        UsageError: If its package is not installed, or it needs a run folder.
    """
    if name not in LOGGERS:
        raise UnknownName(f"no logger is called {name!r}; expected any of {', '.join(LOGGERS)}")
    if name == "mlflow" and os.environ.get("MLFLOW_TRACKING_URI"):
        return MLflowLogger()
    if out is None:
        otherwise = " or set MLFLOW_TRACKING_URI" if name == "mlflow" else ""
        raise UsageError(f"logger {name}: it writes into the run folder; name one with --out{otherwise}")
    if name == "mlflow":
        return MLflowLogger(tracking_uri=f"sqlite:///{Path(out).absolute() / 'mlflow' / 'mlflow.db'}")
    return TensorBoardLogger(Path(out) / "tensorboard")


def final_figures(result: Result) -> dict[str, float]:
    """What a search came to, as numbers: ``final/NAME``."""
    figures: dict[str, float] = {}
    if result.best is not None and result.best.score is not None:
        figures = {"best": result.best.score, "best_trial": result.best.id}
        figures |= {f"best_metrics/{name}": value for name, value in result.best.metrics.items()}
    figures |= {name: getattr(result, name) for name in ("completed", "failed", "reused", "rejected", "seconds")}
    for part, cost in (("cost", result.cost), ("setup_cost", result.setup_cost)):
        figures |= {f"{part}/{field}": getattr(cost, field) for field in COST_FIELDS}
    return {_key(f"final/{name}"): float(value) for name, value in figures.items()}


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration without nesting: ``{"controller": "lab.Evolution", "controller.population_size": 100, ...}``."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if not isinstance(value, Mapping) or not value:
            flat[prefix + name] = value
        elif "class_path" in value:
            flat[prefix + name] = value["class_path"]
            flat |= flatten(value.get("init_args") or {}, f"{prefix}{name}.")
        else:
            flat |= flatten(value, f"{prefix}{name}.")
    return flat


def _not_installed(name: str, error: ImportError) -> UsageError:
    """What to say where a logger's package is missing."""
    return UsageError(f'{name} cannot be imported ({error}): pip install "archsearch[{name}]"')


def _key(name: str) -> str:
    """A name that MLflow takes: letters, digits and some signs."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)[:250]


def _code(value: Any) -> str:
    """Text that Markdown shows as it is, also in a table."""
    return f"`{value}`".replace("|", "\\|")


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """The items in groups of at most ``size``."""
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]
