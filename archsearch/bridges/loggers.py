"""Loggers by name."""

from __future__ import annotations

import os
from pathlib import Path

from archsearch.bridges.mlflow import MLflowLogger
from archsearch.bridges.tensorboard import TensorBoardLogger
from archsearch.errors import UnknownName, UsageError
from archsearch.running.listener import Logger

LOGGERS = ("tensorboard", "mlflow")


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
