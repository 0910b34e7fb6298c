"""Tasks by name or path: which reader each is for."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path

from archsearch.basics.kinds import IMAGES, PIXELS, TABLES, TOKENS
from archsearch.errors import TaskError, UnknownName, UsageError
from archsearch.task.parts import options_of
from archsearch.task.readers.arrays import archive, cifar, digits
from archsearch.task.readers.pictures import folder, holds_pictures
from archsearch.task.readers.rows import hub, parquet, saved
from archsearch.task.readers.scenes import scenes
from archsearch.task.readers.tables import EMBEDDED, embedded
from archsearch.task.readers.tables import FILES as TABLE_FILES
from archsearch.task.readers.tables import file as table
from archsearch.task.readers.text import GRAMMAR, SPLIT, array_task, column_task, grammar_task, text_task
from archsearch.task.task import Task

# -- tasks by name -----------------------------------------------------------------------------


def load_task(task: str | Path | Task) -> Task:
    """A task by name or path, as this module's head lists them; a ``Task`` is returned as it is.

    Raises:
        UnknownName: If there is no such task or option.
        TaskError: If its files cannot be used.
    """
    return task if isinstance(task, Task) else _load(absolute(task))


def absolute(task: str | Path) -> str:
    """The name of a task; where it is a path to something, the path from the root, so that it holds everywhere.

    Raises:
        UsageError: If it is no text.
    """
    if not isinstance(task, (str, Path)):
        raise UsageError(f"task: expected a name, a path or a Task, got {task!r}")
    name, colon, options = _parts_of(str(task))
    path = Path(name).expanduser()
    return str(path.absolute()) + colon + options if path.exists() and name not in NAMES else str(task)


def _parts_of(text: str) -> tuple[str, str, str]:
    """Name, colon and options; the latter empty if there are none."""
    matched = re.fullmatch(r"(.+?)(:)(\w+=[^,]*(?:,\w+=[^,]*)*)", text)
    return (matched[1], matched[2], matched[3]) if matched else (text, "", "")


NAMES = ("digits", "cifar10", "cifar100", *EMBEDDED, "scenes", "grammar")

HUB = "hf:"
"""Names of the Hugging Face hub begin so."""


def kind_of(task: str | Path | Task) -> str:
    """The kind of network that a task wants, as far as its name tells: nothing is read.

    Raises:
        UnknownName: If there is no such task.
    """
    if isinstance(task, Task):
        return task.goal.kind
    name, options = _asked(str(task))
    form = _form(name, options, str(task))
    if form in (*EMBEDDED, "table"):
        return TABLES
    if form == "scenes":
        return PIXELS
    return TOKENS if form in ("grammar", ".txt", ".npy", "column") else IMAGES


def _asked(text: str) -> tuple[str, dict[str, str]]:
    """Name and options."""
    name, _, options = _parts_of(text)
    return name, dict(option.split("=", 1) for option in options.split(",") if option)


def _form(name: str, options: Mapping[str, str], text: str) -> str:
    """A name of ``NAMES``, the ending of a file, or hub, table, column (of texts), parquet, saved, pictures."""
    path = Path(name).expanduser()
    if name in NAMES:
        return name
    if name.startswith(HUB):
        return "hub"
    if path.suffix in TABLE_FILES or (path.suffix == ".parquet" and "target" in options):
        return "table"
    if path.suffix == ".parquet" or (path.is_dir() and "text" in options):
        return "column" if "text" in options else "parquet"
    if path.is_dir():
        return _form_of_folder(path)
    if path.suffix in (".npz", ".npy", ".txt"):
        return path.suffix
    raise UnknownName(
        f"no task is called {text!r}; expected {', '.join(NAMES)}, a .npz file, a .parquet file or a folder of them, a "
        "folder of pictures by class, hf:NAME for a data set of the Hugging Face hub, a .csv, .feather or .arrow file "
        "of a table, a .txt or .npy file of tokens, or, from Python, a task of your own data such as ImageTask (then "
        "hand the evaluator to archsearch.resume, too)"
    )


def _form_of_folder(path: Path) -> str:
    """What a folder holds, which is refused if it could be several things."""
    if (path / "dataset_dict.json").is_file() or (path / "dataset_info.json").is_file():
        return "saved"
    tables, shots = next(path.rglob("*.parquet"), None), holds_pictures(path)
    if tables is not None and shots:
        raise TaskError(
            f"{path}: holds pictures by class and Parquet files, such as {tables.relative_to(path)}; expected either: "
            "name a folder that holds only what you mean"
        )
    return "pictures" if shots else "parquet"


@functools.lru_cache(maxsize=8)
def _load(text: str) -> Task:
    name, options = _asked(text)
    path, form = Path(name).expanduser(), _form(name, options, text)
    if form in EMBEDDED:
        return embedded(name, text, options)
    if form in ("cifar10", "cifar100"):
        return cifar(name, text, options)
    if form == "grammar":
        return grammar_task(text, options_of(text, options, GRAMMAR))
    if form == ".txt":
        return text_task(path, text, options_of(text, options, {**SPLIT, "unit": "character"}))
    if form == "column":
        return column_task(path, text, options_of(text, options, {**SPLIT, "unit": "character", "text": "text"}))
    if form == ".npy":
        return array_task(path, text, options_of(text, options, {**SPLIT, "vocabulary": 0}))
    if form in ("digits", "scenes"):
        return {"digits": digits, "scenes": scenes}[form](text, options)
    if form == "hub":
        return hub(text, name.removeprefix(HUB), options)
    readers = {"table": table, ".npz": archive, "parquet": parquet, "saved": saved, "pictures": folder}
    return readers[form](path, text, options)
