"""Trials as the events of a journal, and back."""

from __future__ import annotations

import functools
import json
import operator
from typing import Any

from archsearch.files.checksums import Damaged
from archsearch.files.damage import as_number, text
from archsearch.keeping.columns import EVALUATED, OLD_COST, training_seed
from archsearch.trial import COST_FIELDS, NO_COST, Budget, Cost, Evaluation, JudgedMetrics, Trial, Used

encode = json.JSONEncoder(separators=(",", ":")).encode
"""JSON text as a journal has it."""
_spent = operator.attrgetter(*EVALUATED)
_FREE = [0.0] * len(EVALUATED)

# -- events: one line of the journal ---------------------------------------------------------------


def trial_to_event(trial: Trial) -> list[Any]:
    """The journal line of a finished trial, as JSON data."""
    evaluation = trial.evaluation
    parent: Any = trial.parent if trial.budget is None else [trial.parent, *trial.budget]
    if trial.repeat_of is not None or trial.proposed_by:
        parent = [trial.parent, *(trial.budget or (None, 0, None)), trial.repeat_of]
        parent += [trial.proposed_by] if trial.proposed_by else []
    event: list[Any] = ["t", trial.id, trial.architecture, parent]
    attempts: Any = [trial.attempts, round(trial.lost_seconds, 7)] if trial.lost_seconds else trial.attempts
    if trial.used is not None:
        attempts = [trial.attempts, round(trial.lost_seconds, 7), *trial.used]
    event += (round(trial.started, 6), round(trial.seconds, 7), trial.worker, attempts)
    if evaluation is None:
        return [*event, trial.failure, trial.error]
    cost = evaluation.cost
    event += (evaluation.score, list(evaluation.metrics), list(evaluation.metrics.values()))
    event.append((cost.device_seconds, cost.examples, cost.updates, cost.flops, cost.recorded_seconds))
    if evaluation.curve:
        event.append(evaluation.curve)
    return event


def trial_line(trial: Trial) -> str:
    """The journal line of a finished trial as JSON text: ``trial_to_event``, encoded.

    Most trials completed at the first try, in full length. Their line is put together here, since an encoder, which
    asks each entry what it is, takes several times as long.
    """
    id_, options, parent, found, _, started, seconds, worker, attempts, _, _, budget, lost, repeat_of, by, used = trial
    plain = budget is None and repeat_of is None and used is None
    if found is None or lost or found.curve or by or not plain:
        return encode(trial_to_event(trial))
    run = f"{started:.6f},{seconds:.7f},{worker},{attempts}"
    score, metrics, cost, _ = found
    if type(metrics) is JudgedMetrics and metrics.score is score and metrics.cost is cost:
        outcome = metrics.line = metrics.line or _outcome(found)
    else:
        outcome = _outcome(found)
    if "n" in run:  # nan, inf
        return encode(trial_to_event(trial))
    decisions = _decisions(len(options)) % options
    return f'["t",{id_},[{decisions}],{"null" if parent is None else parent},{run},{outcome}]'


@functools.lru_cache(maxsize=1024)
def _decisions(n: int) -> str:
    """What ``%`` turns the options of so many decisions into JSON text with."""
    return ",".join(["%d"] * n)


def _outcome(evaluation: Evaluation) -> str:
    """Score, names and values of the metrics, and cost, as a line of the journal has them."""
    score, metrics, cost, _ = evaluation
    values = list(metrics.values())
    scored, figures = f"{score!r}", f"{values},{_FREE if cost is NO_COST else list(_spent(cost))}"
    if "n" in scored or "n" in figures:  # nan, inf, np.float64: a case for the encoder
        return encode([score, list(metrics), values, _spent(cost)])[1:-1]
    return f"{scored},{_names(tuple(metrics))},{figures.replace(' ', '')}"


@functools.lru_cache(maxsize=64)  # the trials of a search have the same few, again and again
def _names(names: tuple[str, ...]) -> str:
    """Names of metrics as JSON text."""
    return encode(names)


def event_to_trial(event: list[Any], seed: int) -> Trial:
    """The trial that a journal line holds."""
    _, id_, architecture, parent, started, seconds, worker, attempts, *outcome = event
    evaluation, failure, error, budget, lost, repeat_of, by, used = None, "", "", None, 0.0, None, "", None
    if isinstance(attempts, list):
        attempts, lost, *counted = attempts
        used = Used(*(None if each is None else as_number(each) for each in counted)) if counted else None
    if isinstance(parent, list):
        parent, stop, *begun = parent
        repeat_of = begun[2] if len(begun) > 2 else None
        by = text(begun[3]) if len(begun) > 3 else ""
        budget = None if stop is None else Budget(stop, *begun[:2])
    if len(outcome) == 2:
        failure, error = map(text, outcome)
    else:
        score, names, values, cost, *curve = outcome
        spent = Cost(0.0, *map(as_number, cost)) if any(cost) else NO_COST
        metrics = dict(zip(map(text, names), map(as_number, values), strict=True))
        evaluation = Evaluation(as_number(score), metrics, spent, *(tuple(map(as_number, each)) for each in curve))
    run = (training_seed(seed, id_, budget), started, seconds, worker, attempts)
    told = (failure, error, budget, lost, repeat_of)
    return Trial(id_, tuple(architecture), parent, evaluation, *run, *told, proposed_by=by, used=used)


def sound_event(event: list[Any], seed: int) -> Trial | list[Any] | None:
    """What a line of the journal holds: a trial, or another event (see ``History.note``); None if it is none."""
    try:
        match event:
            case ["t", *_]:
                return event_to_trial(event, seed)
            case ["a", int(), float() | int(), list(jobs)] if all(_is_job(job) for job in jobs):
                return event
            case ["f", int(), now, int(), lost, _]:
                return [*event[:2], as_number(now), event[3], as_number(lost), event[5]]
            case ["s", *cost] if OLD_COST <= len(cost) <= len(COST_FIELDS):
                return ["s", *map(as_number, cost)]
            case ["d", dict()]:
                return event
            case ["r", now, dict(race)]:
                for each in race["contenders"]:
                    event_to_trial(each, seed)
                return ["r", as_number(now), race]
            case ["e", now]:
                return ["e", as_number(now)]
            case ["v", now, *cost] if OLD_COST <= len(cost) <= len(COST_FIELDS):
                return ["v", as_number(now), *map(as_number, cost)]
    except (ValueError, TypeError, LookupError, AttributeError):
        pass
    return None


def _is_job(job: Any) -> bool:
    return isinstance(job, list) and len(job) == 2 and isinstance(job[0], int) and isinstance(job[1], list)


def remembered_trials(state: dict[str, Any] | None, seed: int) -> list[Trial]:
    """Trials of a damaged journal that a state has kept, until the search asks for them."""
    return [event_to_trial(event, seed) for event in (state or {}).get("remembered", ())]


def check_state(state: dict[str, Any]) -> None:
    """Raises ``Damaged`` if what is read of a state, apart from by the search itself, is not as it should be."""
    try:
        cost, advances = state["setup_cost"], state.get("advances")
        for each in (state["clock"], state["billed"], *state["costs"]):
            as_number(each)
        Cost(*map(as_number, cost)), remembered_trials(state, 0)
        if advances:
            Cost(*map(as_number, advances["cost"]))
        parts = dict(state.get("parts", ()))
        if not all(type(each) is int for each in (state["completed"], state["failed"], *parts, *parts.values())):
            raise TypeError("expected whole numbers")
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise Damaged(f"no state of a search: {error!r:.80}") from None
