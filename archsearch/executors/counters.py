"""Counters of energy, where the hardware has one: RAPL of the processor on Linux, NVML of an NVIDIA GPU.

They know the whole package or board, so that what else runs on it counts, too. They move about a thousand times (RAPL)
or ten times (NVML) a second.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows RAPL's."""


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
        root: Where they are; None: ``POWERCAP``.

    Raises:
        OSError: If there is none, or it may not be read.
    """

    name = "RAPL"

    def __init__(self, root: Path | None = None) -> None:
        root = POWERCAP if root is None else root
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
