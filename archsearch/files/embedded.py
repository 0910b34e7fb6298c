"""The benchmark tables and models inside the package; ``archsearch/data/README.md`` says where they come from."""

from __future__ import annotations

import functools
import importlib.resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@functools.lru_cache(maxsize=4)
def embedded_columns(name: str, columns: tuple[str, ...]) -> dict[str, list[Any]]:
    """Some columns of an embedded table; remembered, so do not change what comes back.

    Args:
        name: File name without its suffix, such as ``nasbench201``.
        columns: Names of the columns.
    """
    import pyarrow.parquet as pq

    source = _file(f"{name}.parquet")
    # As in ``read_parquet``: without pyarrow.dataset, and without threads that outlive a short command.
    with importlib.resources.as_file(source) as path, pq.ParquetFile(path) as file:
        table: dict[str, list[Any]] = file.read(columns=list(columns), use_threads=False).to_pydict()
    return table


@functools.cache
def embedded_tensors(name: str) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors of an embedded model by name; remembered, so do not change what comes back.

    Args:
        name: File name without its suffix, such as ``hwgpt_perplexity_s``.
    """
    from safetensors.numpy import load

    found: dict[str, npt.NDArray[np.float32]] = load(_file(f"{name}.safetensors").read_bytes())
    return found


def embedded_bytes(name: str) -> bytes:
    """The content of an embedded table or model, by its name without suffix."""
    table = _file(f"{name}.parquet")
    return (table if table.is_file() else _file(f"{name}.safetensors")).read_bytes()


def _file(name: str) -> Traversable:
    return importlib.resources.files("archsearch") / "data" / name
