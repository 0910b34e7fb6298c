"""Answers of what is asked outside a search, such as an adviser: asked once, on disk before they are used.

A replay asks the same questions, by the same names, and gets the same answers, whoever would answer now.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from archsearch.files.damage import Notices
from archsearch.steering.log import SealedLog

FILE = "outside.jsonl"
"""In the folder of a run that ever asked: ``["a", name of the question, answer]``."""


class Answers:
    """Answers by the name of the question; those of a run folder are taken from there."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._log: SealedLog | None = None

    def keep_in(self, folder: Path, notices: Notices) -> None:
        """Keeps answers in a run folder from here on, and knows those that are there."""
        self._log = SealedLog(folder / FILE, notices)
        for event in self._log.read():
            match event:
                case ["a", str(name), answer]:
                    self._known[name] = answer

    def give(self, name: str, ask: Callable[[], Any]) -> Any:
        """The answer to a question, as JSON data.

        Args:
            name: Of the question; no two questions of a search have one name.
            ask: Asks it, if that was not done before.

        Raises:
            StorageError: If it cannot be written down.
        """
        if name in self._known:
            return self._known.pop(name)
        answer = ask()
        if self._log is not None:
            self._log.append(["a", name, answer])
        return answer
