"""The gate: what users' code hands to a search is judged and made plain here, once, before anything keeps it.

Scores, metrics, amounts and curves become Python's own floats, in objects that nobody else holds; names become
well-formed texts of bounded length. What cannot be converted is ``Refused``: that evaluation is a failed trial. So
nothing can reach the history which its files cannot hold.
"""

from __future__ import annotations

import functools
import itertools
import math
import numbers
import operator
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from archsearch.basics.texts import shortened, shown, well_formed
from archsearch.errors import UsageError
from archsearch.evaluator import Evaluator
from archsearch.keeping.columns import RESERVED_COLUMNS
from archsearch.trial import (
    COST_FIELDS,
    MEASURED,
    NO_COST,
    NO_METRICS,
    Architecture,
    Budget,
    Cost,
    Evaluation,
    JudgedMetrics,
    Trial,
)

MAX_NAME = 200
"""Most characters in the name of a metric."""
MAX_METRICS = 1_000
"""Most metrics of one evaluation: each is a column of the history."""
MAX_CURVE = 100_000
"""Most entries of a curve."""
MAX_NOTE = 2_000
"""Characters of an evaluator's note that are kept."""

_FLOAT, _WHOLE = {float}, 1 << 53
_amounts = operator.attrgetter(*COST_FIELDS)
_measured = operator.attrgetter(*MEASURED)


class Refused(Exception):
    """An evaluation that cannot be kept; the message says why, on one line.

    Args:
        text: What was expected, and what came.
        kind: Kind of the failure.
    """

    def __init__(self, text: str, kind: str = "exception") -> None:
        super().__init__(text)
        self.kind = kind


def admit(evaluation: object) -> Evaluation:
    """The evaluation in plain floats and texts, in containers of its own.

    Whole numbers of any size, numbers of NumPy and torch, bools, decimals and fractions become floats. The score must
    be finite; metrics and entries of the curve may be NaN or infinite; amounts of the cost must be finite and >= 0.
    Those that are measured by the executor become 0.

    Args:
        evaluation: What an evaluator returned.

    Raises:
        Refused: If it is no evaluation, or something in it cannot be converted.
    """
    if not isinstance(evaluation, Evaluation):
        raise Refused(f"expected an Evaluation, got {type(evaluation).__name__} {shown(evaluation)}")
    score, metrics, cost, curve = evaluation
    if type(metrics) is JudgedMetrics and metrics.score is score and metrics.cost is cost and curve == ():
        return evaluation
    if type(score) is not float:
        score = number(score, "score")
    if not math.isfinite(score):
        raise Refused(f"the score is {score}, not finite", "invalid_score")
    if not isinstance(metrics, Mapping) or not isinstance(cost, Cost):
        got = f"{type(metrics).__name__} and {type(cost).__name__}"
        raise Refused(f"expected a mapping as metrics and a Cost, got {got}")
    if metrics is not NO_METRICS:
        metrics = _admit_metrics(metrics)
    if cost is not NO_COST:
        cost = _unmeasured(plain_cost(cost))
    if type(curve) is not tuple or curve:
        curve = _admit_curve(curve)
    return Evaluation(score, metrics, cost, curve)


def judged(evaluation: Evaluation) -> Evaluation:
    """The evaluation as ``admit`` has it, with metrics that it need not judge again; as it is if that refuses it.

    For evaluators that give the same for an architecture again and again, such as tables.
    """
    try:
        score, metrics, cost, curve = admit(evaluation)
    except Refused:
        return evaluation
    return Evaluation(score, JudgedMetrics(metrics, score, cost), cost, curve)


def number(value: object, what: str) -> float:
    """A number of any kind as a float.

    Args:
        value: The number; of arrays and tensors only those that hold one.
        what: What it is, for the error.

    Raises:
        Refused: If it is no real number, or too large for a float.
    """
    real = isinstance(value, numbers.Real) or not isinstance(value, (str, bytes, bytearray, numbers.Complex))
    if not real or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        raise Refused(f"expected a number as {what}, got {shown(value)}")
    try:
        if getattr(value, "requires_grad", False):  # a tensor whose graph is still there; float() warns of it
            value = value.item()  # type: ignore[attr-defined]
        return float(value)  # type: ignore[arg-type]
    except Exception as error:  # strangers' classes can raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise Refused(f"expected a number as {what}, got {shown(value)} ({shortened(reason, 0, 200)})") from None


def plain_cost(cost: Cost) -> Cost:
    """The cost in Python's own floats.

    Raises:
        Refused: If an amount is no number, negative or not finite.
    """
    amounts = _amounts(cost)
    if type(cost) is Cost and set(map(type, amounts)) == _FLOAT and min(amounts) >= 0.0 and sum(amounts) < math.inf:
        return cost  # NaN, wherever it stands, makes the sum no smaller than infinity
    plain = Cost(*(number(amount, f"{field} of the cost") for field, amount in zip(COST_FIELDS, amounts, strict=True)))
    if not all(0.0 <= amount < math.inf for amount in _amounts(plain)):
        raise Refused(f"expected finite amounts >= 0 as cost, got {shown(cost)}")
    return plain


def _unmeasured(cost: Cost) -> Cost:
    """The cost without what the executor measures."""
    if not any(_measured(cost)):
        return cost
    return Cost(*(0.0 if field in MEASURED else getattr(cost, field) for field in COST_FIELDS))


def _admit_metrics(metrics: Mapping[Any, Any]) -> dict[str, float]:
    given = tuple(itertools.islice(metrics, MAX_METRICS + 1))  # a mapping of one's own may be endless
    names = _admit_names(given)
    values = metrics.values() if type(metrics) is dict else [metrics[name] for name in given]
    plain = {}
    for name, value in zip(names, values, strict=True):
        kind = type(value)
        if kind is float:
            plain[name] = value
        elif kind is int and -_WHOLE < value < _WHOLE:
            plain[name] = float(value)
        else:
            plain[name] = number(value, f"metric {name!r}")
    return plain


@functools.lru_cache(maxsize=64)  # the evaluations of a search have the same few, again and again
def _admit_names(names: tuple[Any, ...]) -> tuple[str, ...]:
    """The names of metrics as plain texts."""
    if len(names) > MAX_METRICS:
        raise Refused(f"expected at most {MAX_METRICS:,} metrics, got more")
    plain = tuple(_admit_name(name) for name in names)
    if len(set(plain)) < len(plain):
        raise Refused(f"expected a name of its own for each metric, got {shown(names)}")
    if reserved := RESERVED_COLUMNS.intersection(plain):
        raise Refused(f"rename the metrics {', '.join(sorted(reserved))}, which are columns")
    return plain


def _admit_name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise Refused(f"expected text as the name of a metric, got {shown(name)}")
    if len(name) > MAX_NAME:
        raise Refused(f"expected at most {MAX_NAME} characters in the name of a metric, got {len(name):,}: {name[:40]}")
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise Refused(f"expected no control characters in the name of a metric, got {shown(name)}")
    return well_formed(name)


def _admit_curve(curve: object) -> tuple[float, ...]:
    if not isinstance(curve, Iterable) or isinstance(curve, (str, bytes, Mapping)):
        raise Refused(f"expected a sequence of numbers as curve, got {shown(curve)}")
    entries = tuple(itertools.islice(curve, MAX_CURVE + 1))
    if len(entries) > MAX_CURVE:
        raise Refused(f"expected at most {MAX_CURVE:,} entries in the curve, got more")
    return tuple([entry if type(entry) is float else number(entry, "entry of the curve") for entry in entries])


def admit_trial(trial: Trial) -> Trial:
    """A trial that an executor of the user's own made, with its evaluation and its error text judged.

    Args:
        trial: Any trial; one whose evaluation cannot be kept becomes a failed one.
    """
    trial = trial._replace(failure=well_formed(str(trial.failure)), error=shortened(str(trial.error)))
    if trial.evaluation is None:
        return trial
    try:
        return trial._replace(evaluation=admit(trial.evaluation))
    except Refused as refused:
        return trial._replace(evaluation=None, failure=refused.kind, error=str(refused))


def admit_origin(parent: object, budget: object, where: str) -> tuple[int | None, Budget | None]:
    """What a controller says of where a proposal comes from and how long it is to be trained, in plain integers.

    Args:
        parent: Id of a trial, or None.
        budget: A budget, or None.
        where: Whose, for the error.

    Raises:
        UsageError: If there is something in it that is no integer.
    """
    try:
        plain = None if budget is None else [None if n is None else operator.index(n) for n in budget]  # type: ignore
        return None if parent is None else operator.index(parent), None if plain is None else Budget(*plain)  # type: ignore
    except TypeError:
        raise UsageError(
            f"{where}: expected the id of a trial as parent and a Budget of integers, or None, got {shown(parent)} and "
            f"{shown(budget)}"
        ) from None


def admit_cost(cost: object, where: str) -> Cost:
    """The cost of one-off work in plain floats.

    Args:
        cost: What ``prepare`` or ``advance`` returned.
        where: Whose, for the error.

    Raises:
        UsageError: If it is no cost, or an amount is no number, negative or not finite.
    """
    if not isinstance(cost, Cost):
        raise UsageError(f"{where}: expected a Cost, got {shown(cost)}")
    try:
        return plain_cost(cost)
    except Refused as error:
        raise UsageError(f"{where}: {error}") from None


def figures_of(evaluator: Evaluator, architecture: Architecture) -> dict[str, float]:
    """What ``evaluator.measure`` knows of an architecture, in plain floats; NaN: not known.

    Raises:
        UsageError: If that is no mapping from names to numbers.
    """
    where, figures = f"{type(evaluator).__name__}.measure", evaluator.measure(architecture)
    if not isinstance(figures, Mapping):
        raise UsageError(f"{where}: expected a mapping from names to numbers, got {shown(figures)}")
    try:
        items = list(itertools.islice(figures.items(), MAX_METRICS + 1))
        if len(items) > MAX_METRICS:
            raise Refused(f"expected at most {MAX_METRICS:,} figures, got more")
        return {_admit_name(name): number(value, f"figure {shown(name)}") for name, value in items}
    except Refused as error:
        raise UsageError(f"{where}: {error}") from None


def note_of(evaluator: Evaluator) -> str:
    """What an evaluator says of its one-off work, as a well-formed text of bounded length."""
    try:
        note = evaluator.note
    except Exception as error:  # a search that is done does not fail for a note
        note = f"the note of {type(evaluator).__name__} cannot be had: {type(error).__name__}: {error}"
    return shortened(note if isinstance(note, str) else shown(note), MAX_NOTE // 2, MAX_NOTE // 2)
