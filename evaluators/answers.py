"""What a user's function answers, as an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archsearch.basics.texts import shown
from archsearch.trial import NO_COST, Cost, Evaluation


def as_evaluation(answer: Any, what: str, higher_is_better: bool = True) -> Evaluation:
    """A number, a mapping with ``score``, further metrics and, optionally, ``cost`` in seconds, or an ``Evaluation``.

    Args:
        answer: One of these.
        what: What it is, for the message.
        higher_is_better: If not, scores are turned around.

    Raises:
        TypeError: If it is none of them.
    """
    if isinstance(answer, Evaluation):
        found = answer
    elif isinstance(answer, Mapping):
        found = _from_mapping(answer, what)
    else:
        found = Evaluation(_number(answer, what))
    if higher_is_better:
        return found
    return found._replace(score=-found.score, curve=tuple(-score for score in found.curve))


def _from_mapping(answer: Mapping[str, Any], what: str) -> Evaluation:
    if "score" not in answer:
        raise TypeError(f"{what}: expected an entry 'score' in a mapping, got {', '.join(map(str, answer))}")
    cost = Cost(device_seconds=_number(answer["cost"], "cost")) if "cost" in answer else NO_COST
    metrics = {name: _number(value, name) for name, value in answer.items() if name not in ("score", "cost")}
    return Evaluation(_number(answer["score"], "score"), metrics, cost)


def _number(value: Any, what: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(
            f"{what}: expected a number, a mapping with a number as 'score', or an Evaluation, "
            f"got {type(value).__name__} {shown(value)}"
        ) from None
