"""Loggers by name."""

from __future__ import annotations

import os

from archsearch.bridges.mlflow import MLflowLogger
from archsearch.bridges.tensorboard import TensorBoardLogger
from archsearch.bridges.wandb import WandbLogger
from archsearch.components import import_object
from archsearch.errors import UnknownName, UsageError
from archsearch.running.listener import Logger
from archsearch.stores.places import local_folder

LOGGERS = ("tensorboard", "mlflow", "wandb")


def make_logger(name: str, out: str | None) -> Logger:
    """The logger of that name, or of the class at that import path, for the command line.

    Args:
        name: ``tensorboard``: event files in OUT/tensorboard. ``mlflow``: to ``MLFLOW_TRACKING_URI``; if that is not
            set, to a database in OUT/mlflow. ``wandb``: to W&B as it is configured (``WANDB_MODE=offline``: only to
            files in the folder ``wandb``). A path such as ``my_lab.CsvLogger``: that class, made without arguments;
            its ``open`` is told the run folder.
        out: The run folder, or store.

    Raises:
        UnknownName: If there is none.
        UsageError: If its package is not installed, it needs a run folder, or the path leads to no class of ``Logger``.
    """
    if "." in name or ":" in name:
        return _own_logger(name)
    if name not in LOGGERS:
        raise UnknownName(
            f"no logger is called {name!r}; expected any of {', '.join(LOGGERS)}; a class of "
            "your own works by its import path"
        )
    if name == "mlflow" and os.environ.get("MLFLOW_TRACKING_URI"):
        return MLflowLogger()
    if name == "wandb":
        return WandbLogger()
    if out is None:
        otherwise = " or set MLFLOW_TRACKING_URI" if name == "mlflow" else ""
        raise UsageError(f"logger {name}: it writes into the run folder; name one with --out{otherwise}")
    if name == "mlflow":
        return MLflowLogger(tracking_uri=f"sqlite:///{local_folder(out) / 'mlflow' / 'mlflow.db'}")
    return TensorBoardLogger(local_folder(out) / "tensorboard")


def _own_logger(path: str) -> Logger:
    cls = import_object(path)
    if not (isinstance(cls, type) and issubclass(cls, Logger)):
        raise UsageError(f"logger {path}: expected a class of Logger, got {cls!r:.80}")
    try:
        return cls()
    except TypeError as error:
        raise UsageError(f"logger {path}: expected a class that is made without arguments: {error}") from None
