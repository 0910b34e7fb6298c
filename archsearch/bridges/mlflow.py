"""Trials in MLflow."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from archsearch.bridges.logged import chunks, final_figures, flatten, key, not_installed
from archsearch.errors import UsageError
from archsearch.files.notes import read_note, write_note
from archsearch.running.listener import Logger

if TYPE_CHECKING:
    from archsearch.running.result import Result

MLFLOW_FILE = "mlflow.json"
"""File in the run folder that holds the id of its MLflow run."""
MAX_METRICS = 1_000
MAX_PARAMS = 100
"""Limits of MLflow for one call of ``log_batch``."""
MAX_PARAM_LENGTH = 6_000
"""Characters of a parameter's value that MLflow keeps."""
MAX_WAITING = 100_000
"""Trials that may wait to be sent to MLflow; while that many wait, further ones are left out."""
PATIENCE_SECONDS = 60.0
"""How long the end of a search waits for an MLflow server that takes nothing."""


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
            raise not_installed("mlflow", error) from None
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
        values = {key(name): str(value)[:MAX_PARAM_LENGTH] for name, value in flatten(config).items()}
        params = [self._package.entities.Param(name, value) for name, value in values.items() if name not in known]
        for chunk in chunks(params, MAX_PARAMS):
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
            metric(key(name), value, at, step) for step, at, figures, _ in points for name, value in figures.items()
        ]
        for chunk in chunks(metrics, MAX_METRICS):
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
