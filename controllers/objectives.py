"""Several objectives, as controllers take them: their names with "max" or "min", and what they are in a result."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, Protocol

from archsearch.errors import UsageError
from archsearch.trial import Architecture, Trial

Objectives = dict[str, Literal["max", "min"]]

SIGNS = {"max": 1.0, "min": -1.0}


def check_objectives(owner: str, objectives: Any) -> None:
    """Refuses what are no objectives.

    Args:
        owner: Name of the controller, for messages.
        objectives: As given by a user: names with "max" or "min"; None: the score alone.

    Raises:
        UsageError: If there are none, a direction is none, or the score is to be small.
    """
    if objectives is None:
        return
    if not isinstance(objectives, dict) or not objectives or not all(isinstance(name, str) for name in objectives):
        raise UsageError(
            f'{owner}: objectives: expected names with "max" or "min", such as '
            f'{{"score": "max", "params": "min"}}, got {objectives!r}'
        )
    for name, direction in objectives.items():
        if direction not in ("max", "min"):
            raise UsageError(f'{owner}: objectives: expected "max" or "min" for {name!r}, got {direction!r}')
    if objectives.get("score") == "min":
        raise UsageError(f'{owner}: objectives: a higher score is better with every evaluator; expected "score": "max"')


def signs_of(objectives: Mapping[str, str] | None) -> dict[str, float]:
    """By name what each is multiplied by, so that all are to be maximised; None is the score alone."""
    return {name: SIGNS[direction] for name, direction in (objectives or {"score": "max"}).items()}


def values_of(owner: str, trial: Trial, signs: Mapping[str, float]) -> tuple[float, ...] | None:
    """The objectives of a result, all to be maximised; None if it failed, or one is missing or not finite.

    Args:
        owner: Name of the controller, for the warning where one is missing.
        trial: The result.
        signs: As ``signs_of`` gives them.
    """
    if trial.evaluation is None:
        return None
    known = {**trial.metrics, "score": trial.evaluation.score}
    missing = [name for name in signs if name not in known]
    if missing:
        # Without this, a misspelt objective makes a random search of it, and nobody knows. Python shows it once.
        warnings.warn(
            f"{owner}: objectives: results without {', '.join(missing)} count as failed; there is "
            f"{', '.join(sorted(known))}",
            stacklevel=3,
        )
        return None
    values = {name: sign * float(known[name]) for name, sign in signs.items()}
    if endless := [name for name, value in values.items() if not math.isfinite(value)]:
        warnings.warn(
            f"{owner}: objectives: results whose {', '.join(endless)} is no finite number count as failed", stacklevel=3
        )
        return None
    return tuple(values.values())


class Compromise(NamedTuple):
    """A trial on the Pareto front: every other one is worse in an objective, or equal in all.

    Attributes:
        id: Id of the trial.
        architecture: One option per decision.
        objectives: Values by name, as the evaluator gave them.
    """

    id: int
    architecture: Architecture
    objectives: dict[str, float]


class _Point(Protocol):
    """A result with the values of all objectives, all to be maximised."""

    @property
    def id(self) -> int: ...
    @property
    def architecture(self) -> Architecture: ...
    @property
    def values(self) -> tuple[float, ...]: ...


def compromises(front: Iterable[_Point], signs: Mapping[str, float]) -> list[Compromise]:
    """The results on a front as a user wants them, the best by the first objective first."""
    return [
        Compromise(
            point.id,
            point.architecture,
            {name: sign * value + 0.0 for (name, sign), value in zip(signs.items(), point.values, strict=True)},
        )
        for point in sorted(front, key=lambda point: [-value for value in point.values])
    ]
