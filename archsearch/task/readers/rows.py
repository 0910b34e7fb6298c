"""Encoded pictures in rows with labels: Parquet files, Hugging Face data sets by name and as saved folders."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archsearch.errors import TaskError
from archsearch.task.parts import PARTS, SHARES, from_parts, need, one_of, options_of, three_parts
from archsearch.task.readers.decoding import MODES, PICTURES, Decoder, channels_first, need_pillow
from archsearch.task.stored import CHUNK, Store
from archsearch.task.task import ImageTask, Task

COLUMNS = {"image": "image", "label": "label"}
Row = tuple[str, Any, Any]
"""Where it stands, the picture, and the label."""


def parquet(path: Path, text: str, given: Mapping[str, str]) -> Task:
    """Image classification Parquet in the Hugging Face layout; files named after parts are those parts."""
    need_pillow("Parquet image sets")
    options = options_of(text, given, {**SHARES, **COLUMNS, **PICTURES})
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise TaskError(f"{path}: no .parquet file here")
    by_part: dict[str, list[Path]] = {}
    for file in files:
        words = re.split(r"[^a-z]+", str(file.relative_to(path.parent)).lower())
        found = [PARTS[word] for word in words if word in PARTS]
        by_part.setdefault(found[-1] if found else "all", []).append(file)
    rows = {part: _of_files(names, options["image"], options["label"]) for part, names in by_part.items()}
    if "train" not in rows and rows.keys() != {"all"}:
        raise TaskError(f"{text}: no file is named after the training part; found {', '.join(rows)}")
    if "all" in rows and len(rows) > 1:
        raise TaskError(
            f"{text}: {by_part['all'][0].name} is named after no part, and others are; expected all or none to be"
        )
    return task_of(text, rows, options)


def _of_files(files: list[Path], image: str, label: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in files:
        row = 0
        try:
            with pq.ParquetFile(file) as opened:
                for batch in opened.iter_batches(CHUNK, columns=[image, label]):
                    pictures, labels = batch.column(image), batch.column(label)
                    for picture, wanted in zip(pictures.to_pylist(), labels.to_pylist(), strict=True):
                        yield f"{file}, row {row}", picture, wanted
                        row += 1
        except (pa.ArrowException, OSError, TypeError, ValueError, KeyError) as error:
            if isinstance(error, TaskError):
                raise
            raise TaskError(
                f"{file}: cannot be read{f' from row {row} on' if row else ''}: {' '.join(str(error).split())}; "
                f"expected a column {image!r} of encoded images and a column {label!r} of whole numbers (image=NAME "
                "and label=NAME choose others)"
            ) from None


def saved(path: Path, text: str, given: Mapping[str, str]) -> Task:
    """A folder that the ``datasets`` library wrote with ``save_to_disk``: it is read a row at a time."""
    need("datasets", "saved data sets", "images")
    import datasets

    options = options_of(text, given, {**SHARES, **COLUMNS, **PICTURES})
    try:
        found = datasets.load_from_disk(str(path))
        parts = dict(found) if isinstance(found, datasets.DatasetDict) else {"all": found}
        # As bytes: a picture that is not in the files is not fetched from wherever they say.
        held = {
            part: rows.select_columns([options["image"], options["label"]]).cast_column(
                options["image"], datasets.Image(decode=False)
            )
            for part, rows in parts.items()
        }
    except Exception as error:  # whatever the library stumbles over in a damaged folder
        raise TaskError(_unread(str(path), error, options)) from None
    return _of_datasets(text, held, options)


def hub(text: str, name: str, given: Mapping[str, str]) -> Task:
    """A data set of the Hugging Face hub, or a folder that its library reads: streamed, so that nothing is kept twice.

    ``config`` is the name of its configuration, if it has several.
    """
    need("datasets", "Hugging Face data sets", "images")
    import datasets

    options = options_of(text, given, {**SHARES, **COLUMNS, **PICTURES, "config": ""})
    try:
        parts = datasets.load_dataset(name, options["config"] or None, streaming=True)
        held = {part: rows.select_columns([options["image"], options["label"]]) for part, rows in dict(parts).items()}
    except Exception as error:  # no network, no such name, no such column: the library says which
        raise TaskError(_unread(text, error, options)) from None
    return _of_datasets(text, held, options)


def _unread(where: str, error: Exception, options: Mapping[str, Any]) -> str:
    said = " ".join(str(error).split())[:300]
    return (
        f"{where}: cannot be read: {type(error).__name__}: {said}; expected columns {options['image']!r} and "
        f"{options['label']!r} (image=NAME and label=NAME choose others)"
    )


def _of_datasets(text: str, held: Mapping[str, Any], options: Mapping[str, Any]) -> Task:
    known = {PARTS.get(name, name): rows for name, rows in held.items()}
    if len(known) == 1:
        known = {"all": next(iter(known.values()))}
    elif "train" not in known or len(known) < len(held) or not known.keys() <= set(PARTS.values()):
        raise TaskError(
            f"{text}: splits {', '.join(held)}; expected train and perhaps validation and test, or a single one"
        )
    image, label = options["image"], options["label"]
    return task_of(text, {part: _of_rows(text, part, rows, image, label) for part, rows in known.items()}, options)


def _of_rows(text: str, part: str, rows: Any, image: str, label: str) -> Iterator[Row]:
    i, iterator = 0, iter(rows)
    while True:
        where = f"{text}, {part}, row {i}"
        try:
            row = next(iterator, None)
        except Exception as error:  # the library decodes pictures itself
            raise TaskError(f"{where}: cannot be read: {' '.join(str(error).split())}") from None
        if row is None:
            return
        yield where, row[image], row[label]
        i += 1


# -- rows to tasks -----------------------------------------------------------------------------


def task_of(text: str, rows: Mapping[str, Iterable[Row]], options: Mapping[str, Any]) -> Task:
    """A task from the rows of its parts, or of one called ``all`` or ``train``, which is split."""
    decoder = Decoder(one_of(text, options, "mode", MODES), options["size"])
    taken = {part: _taken(f"{text}, {part}", some, decoder, options["memory"]) for part, some in rows.items()}
    names = sorted({str(label) for _, labels in taken.values() for label in labels if isinstance(label, str)})
    arrays = {part: (images, _numbers(text, part, labels, names)) for part, (images, labels) in taken.items()}
    make = functools.partial(ImageTask, name=text, layout="channels_first")
    if arrays.keys() in ({"all"}, {"train"}):
        return three_parts(text, *next(iter(arrays.values())), options, make)
    return from_parts(text, arrays, options, make)


def _taken(where: str, rows: Iterable[Row], decoder: Decoder, memory: float) -> tuple[Any, list[Any]]:
    """The pictures, and the labels as they are."""
    store, labels, held = Store(memory), list[Any](), list[npt.NDArray[np.uint8]]()
    for place, picture, label in rows:
        if isinstance(picture, dict):
            picture = picture.get("bytes")
        if picture is None or isinstance(picture, str):
            raise TaskError(
                f"{place}: the image is not in the file itself; paths and addresses are not followed: cannot be read"
            )
        if label is None or isinstance(label, (bool, float, list, dict)):
            raise TaskError(f"{place}: expected a whole number or a text as label, got {label!r}")
        held.append(decoder.decode(picture, place))
        labels.append(label)
        if len(held) == CHUNK:
            store.append(channels_first(np.stack(held)))
            held.clear()
    if held:
        store.append(channels_first(np.stack(held)))
    if not labels:
        raise TaskError(f"{where}: there are no rows")
    return store.done(), labels


def _numbers(text: str, part: str, labels: list[Any], names: list[str]) -> npt.NDArray[np.int64]:
    """Labels as whole numbers; texts by their place among all of them."""
    if not names:
        return np.asarray(labels, np.int64)
    if not all(isinstance(label, str) for label in labels):
        raise TaskError(f"{text}, {part}: labels are texts and numbers; expected one of these")
    place = {name: i for i, name in enumerate(names)}
    return np.array([place[label] for label in labels])
