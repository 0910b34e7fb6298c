"""The measure contract: what a study asks, again and again, under other settings and seeds.

An author writes ``measure``: from a seed to named figures and what they have cost. Where a study varies a setting, it
makes one measure for each of its values; where it compares two, it compares their figures under equal seeds, so a
measure draws whatever both should share (a sample of architectures, the order of the images) from the seed alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from archsearch.basics.descriptions import Described
from archsearch.trial import NO_COST, Cost


class Measured(NamedTuple):
    """What a measure found under one seed.

    Attributes:
        figures: By name, all of those that the class's ``figures`` lists. NaN: not known; the figure of a study's claim
            must be finite.
        cost: What they have cost, beyond the wall time, which the executor measures. Seconds of a table count as
            recorded ones, processor time as that of a device.
    """

    figures: Mapping[str, float]
    cost: Cost = NO_COST


class Measure(Described):
    """Base class of all measures.

    Settings are typed arguments of ``__init__`` with a docstring, kept as attributes of the same name: a study's file
    gives them as plain data. What is searched, who proposes and who scores are such settings, too, since the engine
    knows no shelf. A measure is sent to workers, so it must survive pickling.

    Attributes:
        figures: Name of each figure that it gives to what that means, with its unit, in a few words.
        quick: Settings with which it takes about a second, whatever they do to the figures: tests measure each shipped
            study once with these.
    """

    figures: ClassVar[Mapping[str, str]] = {}
    quick: ClassVar[Mapping[str, Any]] = {}

    def measure(self, seed: int) -> Measured:
        """Measures once.

        Must not depend on what was measured before: evaluators among the settings are made anew
        (``archsearch.running.scoring.anew``, which raises their own seed by this one).

        Args:
            seed: The only source of randomness, >= 0: equal seeds give equal figures.
        """
        raise NotImplementedError

    def fingerprints(self) -> Mapping[str, str]:
        """What this measure itself reads from outside, see ``Evaluator.fingerprints``; its components say theirs."""
        return {}


def seconds_of(cost: Cost) -> float:
    """Seconds to charge for work of several kinds: recorded ones and those of devices together, else wall seconds.

    ``Cost.billed_seconds`` is of one evaluation, which is of one kind.
    """
    return cost.recorded_seconds + cost.device_seconds or cost.billed_seconds


def as_billed(cost: Cost) -> Cost:
    """The bill of searches inside a measure as its own: wall seconds that were billed count as those of a device."""
    device = 0.0 if cost.recorded_seconds else cost.device_seconds or cost.billed_seconds
    recorded = cost.recorded_seconds + cost.device_seconds if cost.recorded_seconds else 0.0
    return dataclasses.replace(
        cost, wall_seconds=0.0, failed_seconds=0.0, device_seconds=device, recorded_seconds=recorded
    )
