"""What an evaluator learns on the way: when it is due, and from which trials."""

from __future__ import annotations

import dataclasses
from typing import Any

from archsearch.keeping.events import event_to_trial, trial_to_event
from archsearch.trial import NO_COST, Cost, Trial


class Advances:
    """What a search remembers for an evaluator that advances.

    Args:
        interval: Finished trials between two advances, >= 1.

    Attributes:
        sample: Trials completed since the last one.
        last: Finished trials when it was.
        scored_from: Trials from this id on were scored by what the evaluator is now.
        cost: Of all advances.
    """

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.sample: list[Trial] = []
        self.last = 0
        self.scored_from = 0
        self.cost = NO_COST

    def state(self) -> dict[str, Any]:
        """What ``load`` takes, as JSON data."""
        sample = [trial_to_event(trial) for trial in self.sample]
        cost = dataclasses.astuple(self.cost)
        return {"sample": sample, "last": self.last, "scored_from": self.scored_from, "cost": cost}

    def load(self, state: dict[str, Any], seed: int) -> None:
        """Restores ``state``'s result, of a run with this root seed."""
        self.sample = [event_to_trial(event, seed) for event in state["sample"]]
        self.last, self.scored_from, self.cost = state["last"], state["scored_from"], Cost(*state["cost"])
