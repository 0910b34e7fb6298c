"""Interrupts (Ctrl-C): held back while something must be done whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

Answer = TypeVar("Answer")


class Interrupts:
    """Ctrl-C ends a search where its state is whole: at once while it waits or learns, else as soon as that is so."""

    def __init__(self) -> None:
        self._requested = False
        self._at_once = True

    def __enter__(self) -> Interrupts:
        self._usable = threading.current_thread() is threading.main_thread()
        if self._usable:
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._usable:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        self._requested = True
        if self._at_once:
            raise KeyboardInterrupt

    def hold_back(self) -> None:
        """From here on only what is called by ``call`` is interrupted."""
        self._at_once = False

    def heed(self) -> None:
        """Raises ``KeyboardInterrupt`` if it was held back."""
        if self._requested:
            raise KeyboardInterrupt

    def call(self, work: Callable[[], Answer]) -> Answer:
        """Does what takes long, interrupted at once."""
        self.heed()
        self._at_once = True
        try:
            return work()
        finally:
            self._at_once = False
