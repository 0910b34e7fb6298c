"""The promises of evaluators."""

from __future__ import annotations

import functools
import math
import pickle
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from archsearch.errors import InvalidArchitecture, MissingAbility, UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.gate import Refused, admit
from archsearch.keeping.columns import RESERVED_COLUMNS
from archsearch.space import Space
from archsearch.testing.looking import default, expect_no_globals, expect_round_trip, expect_same, in_new_process
from archsearch.testing.suite import (
    EVALUATOR_CHECKS,
    ContractError,
    MakeEvaluator,
    check_all,
    evaluator_check,
    expect,
    expect_raises,
)
from archsearch.testing.toys import ConditionalSpace, FixedSpace, OnePointSpace, some
from archsearch.trial import COST_FIELDS, MEASURED, Architecture, Budget, Cost, Evaluation, Query


def check_evaluator(make: MakeEvaluator, space: Space, *, skip: Collection[str] = ()) -> None:
    """Runs all of ``EVALUATOR_CHECKS``.

    Args:
        make: Gives a new evaluator at each call. If ``prepare`` is costly, give it small settings: each check
            prepares once or twice.
        space: A space that the evaluator can score.
        skip: Names of checks to leave out.

    Raises:
        ContractError: If a check fails; the message lists every one that does, and why.
        UsageError: If ``skip`` names no check, or ``make`` gives the same object twice.
    """
    check_all(EVALUATOR_CHECKS, make, (space,), skip)


# -- evaluators ----------------------------------------------------------------------------------


def _ready(make: MakeEvaluator, space: Space) -> Evaluator:
    evaluator = make()
    evaluator.start(space)
    evaluator.prepare()
    return evaluator


def _outcomes(evaluator: Evaluator, architectures: Sequence[Architecture]) -> list[tuple[object, ...]]:
    return [_outcome(evaluator.evaluate(a, seed=i % 3)) for i, a in enumerate(architectures)]


def _outcome(evaluation: Evaluation) -> tuple[object, ...]:
    """What must be repeatable: score and metrics, as text since NaN differs from itself. Cost may be measured."""
    return repr(evaluation.score), sorted((name, repr(value)) for name, value in evaluation.metrics.items())


@evaluator_check
def default_settings_evaluate(make: MakeEvaluator, space: Space) -> None:
    """An evaluator whose settings all have defaults works with them, as users start it."""
    _ready(lambda: default(make()), space).evaluate(some(space, 1)[0], 0)


@evaluator_check
def starts_and_prepares(make: MakeEvaluator, space: Space) -> None:
    """``check`` accepts the space, ``start`` keeps it, and one-off work, now or every so often, costs a ``Cost``."""
    evaluator = make()
    evaluator.check(space)
    evaluator.start(space)
    expect(evaluator.space is space, "start() did not keep the space as self.space; call super().start(space)")
    interval = evaluator.interval
    whole = isinstance(interval, int) and not isinstance(interval, bool) and interval >= 0
    expect(whole, f"interval: expected a whole number >= 0, got {interval!r}")
    _expect_cost(evaluator.prepare(), "prepare()")
    _expect_cost(evaluator.advance([]), "advance([])")


def _expect_cost(cost: object, where: str) -> None:
    expect(isinstance(cost, Cost), f"{where}: expected a Cost, got {cost!r}")
    for field in COST_FIELDS:
        amount = getattr(cost, field)
        fine = _is_number(amount) and math.isfinite(amount) and amount >= 0
        expect(fine, f"{where}: expected a finite {field} >= 0, got {amount!r}")


def _is_number(value: object) -> bool:
    # NumPy's float32 and int64 are neither; they cannot be written to the journal.
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@evaluator_check
def refuses_spaces_clearly(make: MakeEvaluator, space: Space) -> None:
    """A space that it cannot score is refused by ``MissingAbility``, which names both, before anything is spent."""
    for other in (space, FixedSpace(), ConditionalSpace(), OnePointSpace()):
        evaluator = make()
        try:
            evaluator.check(other)
        except MissingAbility as error:
            for name in (type(evaluator).__name__, type(other).__name__):
                expect(name in str(error), f"the message does not name {name}: {error}")
            expect_raises(MissingAbility, functools.partial(evaluator.start, other), "start()")


@evaluator_check
def scores_are_finite(make: MakeEvaluator, space: Space) -> None:
    """The answer is an ``Evaluation`` with a finite score, for the smallest and the largest seed too."""
    evaluator = _ready(make, space)
    for architecture in some(space, 5):
        for seed in (0, 2**63 - 1):
            evaluation = evaluator.evaluate(architecture, seed)
            expect(isinstance(evaluation, Evaluation), f"evaluate(): expected an Evaluation, got {evaluation!r}")
            fine = _is_number(evaluation.score) and math.isfinite(evaluation.score)
            expect(fine, f"evaluate(): expected a finite int or float as score, got {evaluation.score!r}")


@evaluator_check
def costs_are_not_negative(make: MakeEvaluator, space: Space) -> None:
    """Every amount of the cost is a finite number >= 0, and wall time is left to the executor."""
    evaluator = _ready(make, space)
    for architecture in some(space, 5):
        cost = evaluator.evaluate(architecture, 0).cost
        _expect_cost(cost, "evaluate().cost")
        for field in MEASURED:
            amount = getattr(cost, field)
            expect(amount == 0, f"evaluate().cost: {field} is measured by the executor, leave it at 0")


@evaluator_check
def noise_is_as_said(make: MakeEvaluator, space: Space) -> None:
    """``score_noise`` is None or a finite number >= 0, and where it is 0 the seed changes neither score nor metrics."""
    evaluator = _ready(make, space)
    noise = evaluator.score_noise
    fine = noise is None or (_is_number(noise) and math.isfinite(noise) and noise >= 0)
    expect(fine, f"noise: expected a finite number >= 0, or None, got {noise!r}")
    for architecture in some(space, 5) if noise == 0 else ():
        first, second = (_outcome(evaluator.evaluate(architecture, seed)) for seed in (1, 2))
        expect_same(first, second, f"noise is 0, but another seed changes the evaluation of {architecture!r}")


@evaluator_check
def metrics_can_be_stored(make: MakeEvaluator, space: Space) -> None:
    """Metrics are numbers under names of their own: text, and none of the history's columns."""
    evaluator = _ready(make, space)
    for architecture in some(space, 5):
        evaluation = evaluator.evaluate(architecture, 0)
        for name, value in evaluation.metrics.items():
            expect(isinstance(name, str) and name != "", f"expected text as the name of a metric, got {name!r}")
            expect(name not in RESERVED_COLUMNS, f"a metric is called {name!r}, as is a column of the history")
            expect(_is_number(value), f"metric {name!r}: expected an int or float, got {value!r}")
        try:
            admit(Evaluation(0.0, evaluation.metrics, curve=evaluation.curve))
        except Refused as refused:
            raise ContractError(f"evaluate(): {refused}") from None


@evaluator_check
def answers_stay_as_they_were(make: MakeEvaluator, space: Space) -> None:
    """Metrics and curve of an answer are its own: no later evaluation changes them."""
    evaluator = _ready(make, space)
    answers, then = [], []
    for seed, architecture in enumerate(some(space, 3)):
        answers.append(evaluator.evaluate(architecture, seed))
        then.append((*_outcome(answers[-1]), list(answers[-1].curve)))
    now = [(*_outcome(answer), list(answer.curve)) for answer in answers]
    expect_same(then, now, "an answer was changed by later ones; make metrics and curve anew for each")


@evaluator_check
def measuring_is_repeatable(make: MakeEvaluator, space: Space) -> None:
    """``measure`` gives numbers by name (NaN: not known), the same at each call, before ``prepare`` too."""
    evaluator = make()
    evaluator.start(space)
    architectures = some(space, 3)
    first = [_measured(evaluator, architecture) for architecture in architectures]
    evaluator.prepare()
    second = [_measured(evaluator, architecture) for architecture in architectures]
    expect_same(first, second, "measure() gave something else for the same architecture")


def _measured(evaluator: Evaluator, architecture: Architecture) -> dict[str, str]:
    figures = evaluator.measure(architecture)
    expect(isinstance(figures, Mapping), f"measure(): expected a mapping of names to numbers, got {figures!r}")
    for name, value in figures.items():
        expect(isinstance(name, str) and name != "", f"measure(): expected text as the name of a figure, got {name!r}")
        fine = _is_number(value) and not math.isinf(value)
        expect(fine, f"measure(): {name}: expected a finite int or float, or NaN for unknown, got {value!r}")
    return {name: repr(value) for name, value in figures.items()}


@evaluator_check
def same_seed_same_result(make: MakeEvaluator, space: Space) -> None:
    """Two evaluators with the same settings give the same architecture and seed the same score and metrics."""
    architectures = some(space, 12)
    first, second = (_outcomes(_ready(make, space), architectures) for _ in range(2))
    expect_same(first, second, "same architecture, same seed, other result; draw only from a generator of the seed")


@evaluator_check
def order_plays_no_part(make: MakeEvaluator, space: Space) -> None:
    """A result depends on architecture and seed only, not on what was evaluated before it."""
    evaluator, architectures = _ready(make, space), some(space, 12)
    first = [_outcome(evaluator.evaluate(a, 7)) for a in architectures]
    second = [_outcome(evaluator.evaluate(a, 7)) for a in reversed(architectures)]
    expect_same(first, second[::-1], "the result depends on what was evaluated before")


@evaluator_check
def batch_equals_one_by_one(make: MakeEvaluator, space: Space) -> None:
    """``evaluate_batch`` gives, in order, exactly what ``evaluate_query`` gives one by one; for none, nothing."""
    evaluator, architectures = _ready(make, space), some(space, 12)
    queries = [Query(i, architecture, i % 3) for i, architecture in enumerate(architectures)]
    kept = list(queries)
    with tempfile.TemporaryDirectory() as folder:
        evaluator.folder = Path(folder)
        batch = [_outcome(evaluation) for evaluation in evaluator.evaluate_batch(queries)]
        expect(queries == kept, "evaluate_batch() changed the list it was given")
        alone = [_outcome(evaluator.evaluate_query(query)) for query in queries]
        expect_same(alone, batch, "evaluate_batch() differs from evaluate_query()")
        expect(list(evaluator.evaluate_batch([])) == [], "evaluate_batch([]) must give an empty list")


@evaluator_check
def strangers_are_refused(make: MakeEvaluator, space: Space) -> None:
    """An architecture that is not in the space raises ``InvalidArchitecture``, alone and in a batch."""
    evaluator, architecture = _ready(make, space), some(space, 1)[0]
    for stranger in ((), (*architecture, 0), (10**6, *architecture[1:]), (-1, *architecture[1:])):
        what = f"evaluate({stranger!r})"
        expect_raises(InvalidArchitecture, functools.partial(evaluator.evaluate, stranger, 0), what)
    mixed = [Query(0, architecture, 0), Query(1, (*architecture, 0), 0)]
    expect_raises(InvalidArchitecture, lambda: evaluator.evaluate_batch(mixed), "evaluate_batch()")


@evaluator_check
def evaluator_survives_pickling(make: MakeEvaluator, space: Space) -> None:
    """An evaluator can be sent to workers, before and after ``prepare``, and gives the same there."""
    evaluator, architectures = _ready(make, space), some(space, 12)
    pickle.loads(pickle.dumps(make()))
    copy = pickle.loads(pickle.dumps(evaluator))
    expect_same(_outcomes(evaluator, architectures), _outcomes(copy, architectures), "its copy gives something else")


@evaluator_check
def evaluates_alike_in_a_new_process(make: MakeEvaluator, space: Space) -> None:
    """A worker with another ``PYTHONHASHSEED`` gives the same results."""
    evaluator, architectures = _ready(make, space), some(space, 12)
    here, there = _outcomes(evaluator, architectures), in_new_process(_outcomes, evaluator, architectures)
    expect_same(here, there, "a new process with another hash seed gives something else")


@evaluator_check
def evaluation_leaves_global_generators(make: MakeEvaluator, space: Space) -> None:
    """The global generators of ``random``, NumPy and PyTorch are neither read nor written."""
    architectures = some(space, 12)

    def outcomes() -> list[tuple[object, ...]]:
        evaluator = _ready(make, space)
        with tempfile.TemporaryDirectory() as folder:
            evaluator.folder = Path(folder)
            family = [Query(i, architectures[i], i, parent=i - 1 if i else None) for i in range(2)]
            return _outcomes(evaluator, architectures) + [_outcome(evaluator.evaluate_query(q)) for q in family]

    expect_no_globals(outcomes)


@evaluator_check
def evaluator_round_trip(make: MakeEvaluator, space: Space) -> None:
    """Settings are readable as attributes, and an evaluator rebuilt from them gives the same results."""
    twin, architectures = expect_round_trip(make()), some(space, 12)
    first, second = _outcomes(_ready(make, space), architectures), _outcomes(_ready(lambda: twin, space), architectures)
    expect_same(first, second, "rebuilt from its description, it gives something else")


@evaluator_check
def stopping_changes_nothing(make: MakeEvaluator, space: Space) -> None:
    """A training that is stopped and continued ends like one that was not, and no part of it is billed twice.

    Evaluators that refuse the budgets 1 and 2 in ``check_budgets`` are left alone.
    """
    evaluator, architecture = _ready(make, space), some(space, 1)[0]
    try:
        evaluator.check_budgets((1, 2))
    except UsageError:
        return
    with tempfile.TemporaryDirectory() as folder:
        evaluator.folder = Path(folder)
        budgets = Budget(1), Budget(2, 1, 0), Budget(2)
        queries = [Query(i, architecture, 5, budget=budget) for i, budget in enumerate(budgets)]
        first, second, whole = map(evaluator.evaluate_query, queries)
    expect_same([_outcome(whole)], [_outcome(second)], "stopped and continued, it gives something else")
    for field in ("examples", "updates", "recorded_seconds"):
        parts = getattr(first.cost, field) + getattr(second.cost, field)
        alike = math.isclose(parts, getattr(whole.cost, field), rel_tol=1e-9, abs_tol=1e-9)
        expect(alike, f"{field}: the parts cost {parts}, the whole {getattr(whole.cost, field)}")
