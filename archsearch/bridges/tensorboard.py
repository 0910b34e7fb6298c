"""Loggers: what a search finds, trial by trial, in TensorBoard or MLflow.

    search(..., on_trial=TensorBoardLogger("runs/tb"))
    search(..., on_trial=[TensorBoardLogger("runs/tb"), MLflowLogger("my experiment"), print])

A logger is a callable for ``on_trial`` that also hears when the search begins and ends. The step of everything that
it logs is the trial's id, so a resumed search goes on where it was; after a kill, the trials since the last saved state
are logged a second time, at their steps, with the same values. A logger that fails (a server is gone, a disk is full)
warns once and logs no more: the search goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.bridges.logged import code, final_figures, flatten, not_installed
from archsearch.errors import UsageError
from archsearch.running.listener import Logger

if TYPE_CHECKING:
    from archsearch.running.result import Result


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
            raise not_installed("tensorboard", error) from None
        self.folder = folder
        self.flush_seconds = flush_seconds
        self._package: Any = tensorboard
        self._writer: Any = None

    def open(self, config: Mapping[str, Any], folder: Path | None, resumed: bool) -> None:
        """Opens a new event file; TensorBoard puts it after those of the runs before."""
        self._parameters = flatten(config)
        self._writer = self._package.SummaryWriter(str(self.folder), flush_secs=self.flush_seconds)
        rows = "\n".join(f"| {name} | {code(value)} |" for name, value in self._parameters.items())
        self._writer.add_text("configuration", f"| name | value |\n| --- | --- |\n{rows}", 0)

    def log(self, step: int, figures: Mapping[str, float], best: str | None) -> None:
        """Hands it to TensorBoard's own thread, which writes."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        if best is not None:
            self._writer.add_text("best", code(best), step)

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
