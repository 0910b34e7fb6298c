"""What is told of damaged files: one line each, which names the file and says what the damage costs."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from archsearch.errors import ArchsearchError, RunFolderError

__all__ = ["DamageWarning", "Notices", "as_number", "keep_aside", "readable", "reads_folder", "text"]

Given = ParamSpec("Given")
Answer = TypeVar("Answer")
FOLDER = "damaged"
"""In a run folder: files that are damaged, kept for those who want to look at them."""


class DamageWarning(UserWarning):
    """A file is damaged; the message says which one, and what that costs."""


class Notices:
    """What is known of damage in a folder: each told once, as a warning, and kept for reports.

    Attributes:
        lines: What was told so far, in order.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, path: Path, what: str) -> None:
        """Tells of damage to a file.

        Args:
            path: The file.
            what: What is wrong with it, and what that costs, after "FILE ".
        """
        self.say(f"{path} {what}")

    def say(self, line: str) -> None:
        """Tells a whole line."""
        if line not in self.lines:
            self.lines.append(line)
            warnings.warn(line, DamageWarning, stacklevel=4)


def keep_aside(folder: Path, path: Path) -> str:
    """Moves a damaged file of a run folder to where it harms nobody; its new name, relative to the folder."""
    target = folder / FOLDER / path.name
    target.parent.mkdir(exist_ok=True)
    path.replace(target)
    return f"{FOLDER}/{path.name}"


@contextmanager
def readable(what: str | Path) -> Iterator[None]:
    """Inside, content of a file that no program of this project can have written is an error that names the file.

    Raises:
        RunFolderError: If it is.
    """
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError) as error:
        if isinstance(error, ArchsearchError):
            raise
        raise RunFolderError(f"{what} cannot be read: {type(error).__name__}: {text(error)[:200]}") from None


def reads_folder(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """For a function whose first argument is a folder: whatever that holds, its errors are ``readable``'s."""

    @functools.wraps(function)
    def guarded(*arguments: Given.args, **named: Given.kwargs) -> Answer:
        with readable(str(arguments[0] if arguments else named["directory"])):
            return function(*arguments, **named)

    return guarded


def as_number(value: Any) -> float:
    """A figure as a float; whole numbers beyond all floats are infinite.

    Raises:
        TypeError: If it is no number.
    """
    if isinstance(value, float):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a number, got {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def text(value: Any) -> str:
    """Text that every file format can hold: what stands for undecodable bytes (lone surrogates) is replaced."""
    given = value if isinstance(value, str) else str(value)
    return given if given.isascii() else given.encode("utf-8", "replace").decode()
