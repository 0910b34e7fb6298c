"""Trials in Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from archsearch.bridges.logged import final_figures, flatten, key, not_installed
from archsearch.errors import UsageError
from archsearch.files.notes import read_note, write_note
from archsearch.running.listener import Logger

if TYPE_CHECKING:
    from archsearch.running.result import Result

WANDB_FILE = "wandb.json"
"""File in the run folder that holds the id of its run in W&B."""
MODES = ("online", "offline")


class WandbLogger(Logger):
    """Logs a search as a run of Weights & Biases.

    Metrics as in ``Logger.log`` over ``trial``, the configuration, the best architecture and, at the end, the final
    figures in the summary. W&B's own process sends them. The run folder keeps the id of the run (``wandb.json``), with
    which a resumed search goes on; W&B's own files do not lie there, since some are links that lead out of it.

    Args:
        project: Name of the project.
        run_name: Name of the run; None: that of the run folder, else one that W&B makes up.
        mode: ``offline`` sends nothing: ``wandb sync FOLDER/wandb/offline-*`` does later. None: as W&B is configured
            (``WANDB_MODE``), else online.
        folder: Where W&B makes its folder ``wandb``, in no run folder; None: as it is configured (``WANDB_DIR``), else
            here.

    Raises:
        UsageError: If wandb is not installed, or there is no such mode.
    """

    def __init__(
        self,
        project: str = "archsearch",
        run_name: str | None = None,
        mode: Literal["online", "offline"] | None = None,
        folder: str | Path | None = None,
    ) -> None:
        if mode not in (None, *MODES):
            raise UsageError(f"WandbLogger: mode: expected one of {', '.join(MODES)}, got {mode!r}")
        try:
            import wandb
        except ImportError as error:
            raise not_installed("wandb", error) from None
        self.project = project
        self.run_name = run_name
        self.mode = mode
        self.folder = folder
        self._package: Any = wandb

    def open(self, config: Mapping[str, Any], folder: Path | None, resumed: bool) -> None:
        """Begins a run, or takes up that of the search which is resumed."""
        known = None
        if folder is not None and resumed and (folder / WANDB_FILE).exists():
            known = read_note(folder / WANDB_FILE, ("run_id",), "a new run is begun in W&B")
        self._run: Any = self._package.init(
            project=self.project,
            name=self.run_name or (None if folder is None else folder.absolute().name),
            id=None if known is None else known["run_id"],
            resume=None if known is None else "allow",
            mode=self.mode,
            dir=None if self.folder is None else str(self.folder),
            config=flatten(config),
            # It neither prints nor reads what the search prints.
            settings=self._package.Settings(silent=True, console="off"),
        )
        if folder is not None:
            write_note(folder / WANDB_FILE, {"run_id": self._run.id})
        # Trials may end in any order, and W&B's own steps only grow.
        self._run.define_metric("trial")
        self._run.define_metric("*", step_metric="trial")

    def log(self, step: int, figures: Mapping[str, float], best: str | None) -> None:
        """Hands it to W&B's own process, which sends it."""
        self._run.log({"trial": step, **{key(name): value for name, value in figures.items()}})
        if best is not None:
            self._run.summary["best_architecture"] = best

    def close(self, result: Result | None) -> None:
        """Adds the final figures and waits until all is sent, or written."""
        if result is not None:
            for name, value in final_figures(result).items():
                self._run.summary[name] = value
            self._run.summary["stopped"] = result.stopped
        self._run.finish(exit_code=1 if result is None else 0)
