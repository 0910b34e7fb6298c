"""What a measurement of a device has come to, and how that is said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from archsearch.components import one_line
from archsearch.devices.correction import Judged

CLOCK_TEXTS = {"wall": "wall time", "processor": "processor time"}


class Profile(NamedTuple):
    """A latency table, and how good it is.

    Attributes:
        path: The file.
        facts: What was measured, and how well it predicts; the file has the same.
        sums: How well sums of the blocks' seconds predict whole networks.
        corrected: How well the table does, whose rows are corrected where that helps.
        measured: Seconds of the networks that it was judged by.
        predicted: What the table says of them.
    """

    path: Path
    facts: Mapping[str, Any]
    sums: Judged
    corrected: Judged
    measured: list[float]
    predicted: list[float]

    def __str__(self) -> str:
        """The profile in words."""
        facts, count = self.facts, len(self.measured)
        built, (low, high) = facts["built"], facts["range_seconds"]
        shape = "x".join(map(str, built["input_shape"]))
        settings = "".join(f", {name} {value}" for name, value in built["skeleton"].items())
        threads = "1 thread" if facts["threads"] == 1 else f"{facts['threads']} threads"
        table = f"{_judged_text(self.corrected)}; corrected by {facts['fit']} others"
        if self.sums == self.corrected:
            table = "these sums, which no correction improves" if facts["fit"] else "these sums"
        quantile = "median" if facts["quantile"] == 0.5 else f"quantile {facts['quantile']:g}"
        lines = [
            f"space     {one_line(facts['space'])}, {shape}{settings}",
            f"device    {facts['device']} ({facts['processor']}), {facts['version']}, {threads}, batch "
            f"{facts['batch']}, {CLOCK_TEXTS[facts['clock']]}",
            f"measured  {facts['blocks']} blocks, {facts['repeats']} times in turn, {quantile}",
            f"networks  {count} random ones measured whole: {low * 1e3:.3g} to {high * 1e3:.3g} ms",
            f"sums      {_judged_text(self.sums)}",
            f"table     {table}",
            f"memory    {_bytes_text(facts['bytes'])}",
            f"energy    {_energy_text(facts['energy'])}",
            f"saved     {self.path}",
        ]
        return "\n".join(lines)


def _judged_text(judged: Judged) -> str:
    return (
        f"rank correlation {judged.rank_correlation:.3f}, mean absolute error {judged.error:.1%}, "
        f"largest {judged.largest:.1%}"
    )


def _bytes_text(found: Mapping[str, float]) -> str:
    """Medians of whole networks."""
    cache = f", cache {found['cache_bytes'] / 1024:,.0f} KiB" if found["cache_bytes"] else ""
    return (
        f"weights {found['weight_bytes'] / 1024:,.0f} KiB, activations at most {found['activation_bytes'] / 1024:,.0f} "
        f"KiB{cache} (medians, counted)"
    )


def _energy_text(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "not measured: there is no counter here that can be read (RAPL, NVML)"
    return f"{found['joules'] * 1e3:.3g} mJ a pass ({found['counter']}, with whatever else ran)"
