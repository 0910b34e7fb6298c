"""What a controller is told of a search at its beginning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archsearch.controller import Plan
from archsearch.evaluator import Evaluator
from archsearch.racing.certainty import noise_of, proposals


def plan_of(trials: int | None, certainty: Any, workers: int, evaluator: Evaluator) -> Plan:
    """The plan of a search that begins.

    Args:
        trials: The most that are completed, repeats included; None: there is no such limit.
        certainty: As ``certainty_of`` takes it.
        workers: How many evaluations run at a time.
        evaluator: Started.
    """
    noise = noise_of(evaluator)
    return Plan(proposals(trials, certainty, noise), workers, noise, evaluator.instant)


def plan_of_run(config: Mapping[str, Any]) -> Plan:
    """The plan that the controller of a run had, from its ``config.yaml``."""
    if "plan" in config:
        return Plan(**config["plan"])
    begun = config["settings"]
    return Plan(proposals(begun["trials"], begun.get("certainty"), config.get("noise")), config["workers"])
