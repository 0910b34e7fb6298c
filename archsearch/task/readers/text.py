"""Language modelling tasks by name: the grammar, text files, columns of Parquet files, arrays of tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import whole_number
from archsearch.basics.seeding import stream
from archsearch.errors import TaskError, UsageError
from archsearch.task.grammar import Grammar
from archsearch.task.images import count_of
from archsearch.task.tokens import TokenTask

GRAMMAR = {"states": 12, "symbols": 6, "branches": 3, "train": 20_000, "valid": 5_000, "test": 5_000, "seed": 0}
SPLIT = {"valid": 0.1, "test": 0.1}
UNITS = ("character", "word")
END = "<end>"
"""Stands for the end of a line, where tokens are words."""


def grammar_task(text: str, options: Mapping[str, Any]) -> TokenTask:
    """Sequences of a ``Grammar``, whose entropy rate is the task's floor."""
    where = f"task {text!r}"
    whole_number(where, "states", options["states"], 2)
    whole_number(where, "symbols", options["symbols"], 2)
    whole_number(where, "branches", options["branches"], 2, options["symbols"])
    for part in ("train", "valid", "test"):
        whole_number(where, part, options[part], 3)
    grammar = Grammar(options["states"], options["symbols"], options["branches"], options["seed"])
    parts = [
        grammar.write(options[part], stream(options["seed"], f"grammar {part}")) for part in ("train", "valid", "test")
    ]
    return TokenTask(*parts, vocabulary=options["symbols"], name=text, floor=grammar.entropy_rate)


def text_task(path: Path, text: str, options: Mapping[str, Any]) -> TokenTask:
    """A text file, cut into a beginning to train on, a part to score on, and an end that is reported."""
    return _from_words(_words(_read(path), options["unit"], text), text, options)


def column_task(path: Path, text: str, options: Mapping[str, Any]) -> TokenTask:
    """A column of texts of a Parquet file, a text after the other."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = options["text"]
    try:
        known = pq.read_schema(path).names
        if name not in known:
            raise TaskError(f"{path}: no column is called {name!r}; expected one of {', '.join(known)}")
        column = pq.read_table(path, columns=[name])[name]
    except FileNotFoundError:
        raise TaskError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise TaskError(f"{path}: cannot be read as Parquet: {error}") from None
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise TaskError(f"{path}: column {name!r}: expected texts, got {column.type}")
    rows = column.to_pylist()
    if None in rows:
        raise TaskError(f"{path}: column {name!r}: row {rows.index(None)} is empty (null); leave such rows out")
    return _from_words(_words("\n".join(rows), options["unit"], text), text, options)


def array_task(path: Path, text: str, options: Mapping[str, Any]) -> TokenTask:
    """A one-dimensional array of whole numbers in a .npy file."""
    try:
        tokens = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise TaskError(f"{path}: no such file") from None
    except (ValueError, OSError, EOFError) as error:
        raise TaskError(f"{path}: cannot be read as .npy: {error}") from None
    if tokens.ndim != 1 or tokens.dtype.kind not in "ui":
        raise TaskError(
            f"{path}: expected an array of the shape (n,) of whole numbers, got {tokens.shape} of {tokens.dtype}"
        )
    if len(tokens) and tokens.min() < 0:
        place = int(np.argmax(tokens < 0))
        raise TaskError(f"{path}: position {place}: token {tokens[place]} is below 0; tokens count from 0")
    most = 1 + int(tokens.max(initial=0))
    return TokenTask(*_three(tokens, text, options), vocabulary=options["vocabulary"] or most, name=text)


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TaskError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = 1 + data[: error.start].count(b"\n")
        raise TaskError(
            f"{path}: line {line}, byte {error.start}: {data[error.start]:#04x} is no UTF-8; convert the file to UTF-8"
        ) from None


def _words(content: str, unit: str, text: str) -> Sequence[str]:
    """The tokens of a text, as texts; lines of words end in a token of their own."""
    if unit not in UNITS:
        raise UsageError(f"task {text!r}: unit: expected one of {', '.join(UNITS)}, got {unit!r}")
    if unit == "character":
        return content
    return [word for line in content.splitlines() for word in (*line.split(), END)]


def _from_words(words: Sequence[str], text: str, options: Mapping[str, Any]) -> TokenTask:
    """A task from texts; all that occur in any part are in the vocabulary."""
    vocabulary = sorted(set(words))
    number = {word: i for i, word in enumerate(vocabulary)}
    tokens = np.array([number[word] for word in words], np.int64)
    return TokenTask(*_three(tokens, text, options), vocabulary=vocabulary, name=text)


def _three(tokens: npt.NDArray[Any], text: str, options: Mapping[str, Any]) -> Iterable[npt.NDArray[Any]]:
    """The beginning, and behind it the parts valid and test."""
    if len(tokens) < 7:
        raise TaskError(
            f"{text}: expected at least 7 tokens, 3 to train on and 2 in each other part, got {len(tokens)}"
        )
    valid, test = (count_of(options[part], len(tokens), f"{text}, {part}", "tokens") for part in ("valid", "test"))
    train = len(tokens) - valid - test
    if min(valid, test) < 2 or train < 3:
        raise TaskError(
            f"{text}: valid={options['valid']} and test={options['test']} of {len(tokens)} tokens are {valid} and "
            f"{test}, which leaves {max(0, train)} to train on; expected at least 2, 2 and 3: give other sizes"
        )
    return np.split(tokens, [train, train + valid])
