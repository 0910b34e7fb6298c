"""Energy, where a counter of the hardware exists: RAPL of the processor on Linux, NVML of an NVIDIA GPU.

Counters know the whole package or board, so that what else runs on it counts, too. They move about a thousand times
(RAPL) or ten times (NVML) a second: networks are called for a while between two readings.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

POWERCAP = Path("/sys/class/powercap")
SECONDS = 1.0
"""For which networks are called between two readings, at least."""


class Counter(Protocol):
    """Counts energy.

    Attributes:
        name: For people.
    """

    name: str

    def joules(self) -> float:
        """Since some moment."""


class Rapl:
    """The processors' packages, as Linux reads Intel's and AMD's RAPL.

    Args:
        root: Where Linux shows them.

    Raises:
        OSError: If there is none, or it may not be read.
    """

    name = "RAPL"

    def __init__(self, root: Path = POWERCAP) -> None:
        packages = [each for each in sorted(root.glob("*rapl:*")) if each.name.count(":") == 1]
        if not packages:
            raise OSError(f"{root}: no RAPL counter")
        self._files = [package / "energy_uj" for package in packages]
        self._ranges = [int((package / "max_energy_range_uj").read_text()) for package in packages]
        self._last = self._read()
        self._passed = [0] * len(packages)

    def _read(self) -> list[int]:
        return [int(file.read_text()) for file in self._files]

    def joules(self) -> float:
        """See ``Counter``; a counter that has come round is gone on with."""
        now = self._read()
        for i, (value, before, size) in enumerate(zip(now, self._last, self._ranges, strict=True)):
            self._passed[i] += value - before if value >= before else value - before + size
        self._last = now
        return sum(self._passed) / 1e6


class Nvml:
    """An NVIDIA GPU.

    Args:
        index: Of the GPU.

    Raises:
        Exception: If there is no counter.
    """

    name = "NVML"

    def __init__(self, index: int) -> None:
        pynvml = importlib.import_module("pynvml")  # comes with drivers and tools of NVIDIA, not with this package
        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
        self._read: Callable[[], int] = lambda: int(pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu))
        self.joules()

    def joules(self) -> float:
        """See ``Counter``."""
        return float(self._read()) / 1e3


def counter_of(device: str) -> Counter | None:
    """The counter of a device; None where there is none."""
    kind, _, index = device.partition(":")
    try:
        return Nvml(int(index or 0)) if kind == "cuda" else Rapl()
    except Exception:  # whatever a driver that is not there says
        return None


def joules_each(
    calls: Sequence[Callable[[], object]],
    counter: Counter,
    synchronise: Callable[[], None],
    seconds: float = SECONDS,
) -> float:
    """Mean energy of a call, over calls in turn.

    Args:
        calls: At least one.
        counter: Of the device that they run on.
        synchronise: Waits until it has done what it was given.
        seconds: For which they are called, at least.
    """
    begun, before, done = time.perf_counter(), counter.joules(), 0
    while time.perf_counter() - begun < seconds:
        for call in calls:
            call()
        synchronise()
        done += len(calls)
    return (counter.joules() - before) / done
