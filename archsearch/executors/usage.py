"""What an evaluation used, by counters: memory of its process, memory of CUDA devices, energy. Nothing is estimated."""

from __future__ import annotations

import contextlib
import resource
import sys
import threading
from pathlib import Path
from typing import Any

from archsearch.executors.counters import Counter, counter_of
from archsearch.trial import Used

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
"""Where Linux says how much memory this process had at most, and has that begin anew."""

SECONDS = 0.01
"""Length of an evaluation from which on anything is read: reading takes time, and little can be touched in less."""

ENERGY_SECONDS = 0.1
"""Length of an evaluation from which on energy is read: RAPL moves a thousand times a second."""

DEVICE_ENERGY_SECONDS = 1.0
"""The same where a GPU is read, too: NVML moves some ten times a second."""

RESIDENT = 1 if sys.platform == "darwin" else 1024
"""Bytes in a unit of ``ru_maxrss``."""


class Gauge:
    """Reads counters before and after each evaluation in this process.

    In a process that only evaluates, the peak of its memory begins anew with each evaluation. In the user's own it is
    left as it is, so that the peak of an evaluation is known only where it is higher than any before. Energy is that of
    the whole machine, so it is read only where one worker evaluates.

    Attributes:
        alone: Whether this process is there for evaluations only.
        energy: Whether no other worker evaluates meanwhile.
    """

    def __init__(self) -> None:
        self.alone = False
        self.energy = True
        self._counters: dict[str, Counter | None] = {}
        self._worth = True  # whether evaluations take long enough for energy to be read
        self._begun = False

    def begin(self) -> None:
        """An evaluation begins."""
        self._begun = threading.current_thread() is threading.main_thread()
        if not self._begun:
            return  # others evaluate in this process, too
        if self.alone:
            with contextlib.suppress(OSError):
                RESET.write_text("5")
        self._resident = _resident()
        if (cuda := _cuda()) is not None:
            for device in range(cuda.device_count()):
                cuda.reset_peak_memory_stats(device)
        self._joules = self._read() if self.energy and self._worth else None

    def end(self, seconds: float) -> Used | None:
        """It has ended.

        Args:
            seconds: How long it took.

        Returns:
            What it used, as far as it was measured; None: nothing was.
        """
        self._worth = seconds >= ENERGY_SECONDS
        if not self._begun or seconds < SECONDS:
            return None
        self._begun = False
        used = Used(self._memory(), self._device_memory(), self._energy(seconds))
        return None if used == Used() else used

    def _memory(self) -> float | None:
        resident = _resident()
        if self.alone and (peak := _peak()) is not None:
            return peak
        return float(resident) if resident > self._resident else None

    def _device_memory(self) -> float | None:
        if (cuda := _cuda()) is None:
            return None
        peak = sum(cuda.max_memory_allocated(device) for device in range(cuda.device_count()))
        return float(peak) if peak else None

    def _energy(self, seconds: float) -> float | None:
        shortest = ENERGY_SECONDS if _cuda() is None else DEVICE_ENERGY_SECONDS
        if self._joules is None or seconds < shortest:
            return None
        now = self._read()
        if now is None or now.keys() != self._joules.keys():  # a device was first used meanwhile
            return None
        return sum(now.values()) - sum(self._joules.values())

    def _read(self) -> dict[str, float] | None:
        """Joules of the processors and of each CUDA device that is used; None where one of them has no counter."""
        devices = ["cpu"]
        if (cuda := _cuda()) is not None:
            devices += [f"cuda:{device}" for device in range(cuda.device_count())]
        read = {}
        for device in devices:
            if device not in self._counters:
                self._counters[device] = counter_of(device)
            if (counter := self._counters[device]) is None:
                return None
            try:
                read[device] = counter.joules()
            except Exception:  # whatever a driver says
                self._counters[device] = None
                return None
        return read


def _resident() -> int:
    """The most bytes that this process had in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RESIDENT


def _peak() -> float | None:
    """The same since it began anew, in bytes; None: nobody knows."""
    try:
        text = STATUS.read_text()
    except OSError:
        return None
    line = next((each for each in text.splitlines() if each.startswith("VmHWM:")), "")
    return float(line.split()[1]) * 1024 if line else None


def _cuda() -> Any:
    """PyTorch's module for CUDA if this process uses a device; None if not."""
    torch: Any = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return cuda if cuda is not None and cuda.is_initialized() else None


GAUGE = Gauge()
"""That of this process."""
