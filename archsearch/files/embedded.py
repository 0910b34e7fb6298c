"""The benchmark tables that are shipped inside the package; ``archsearch/data/README.md`` says where they come from."""

from __future__ import annotations

import functools
import importlib.resources
from typing import Any


@functools.lru_cache(maxsize=4)
def embedded_columns(name: str, columns: tuple[str, ...]) -> dict[str, list[Any]]:
    """Some columns of an embedded table; remembered, so do not change what comes back.

    Args:
        name: File name without its suffix, such as ``nasbench201``.
        columns: Names of the columns.
    """
    import pyarrow.parquet as pq

    source = importlib.resources.files("archsearch") / "data" / f"{name}.parquet"
    # As in ``read_parquet``: without pyarrow.dataset, and without threads that outlive a short command.
    with importlib.resources.as_file(source) as path, pq.ParquetFile(path) as file:
        table: dict[str, list[Any]] = file.read(columns=list(columns), use_threads=False).to_pydict()
    return table
