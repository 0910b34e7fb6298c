"""Contract suites: does a controller, evaluator, model or space of yours keep the promises that others rely on?

One line in a test runs all checks and reports every failure at once, not only the first:

    from archsearch.testing import check_controller
    from my_lab import Annealing

    def test_annealing():
        check_controller(Annealing)

``check_controller``, ``check_evaluator``, ``check_model`` and ``check_space`` take a factory: anything that is called
without arguments and gives a *new* object each time, such as the class itself or ``lambda: Annealing(steps=5)``. Each
check is a small function whose docstring is the promise; ``CONTROLLER_CHECKS``, ``EVALUATOR_CHECKS``, ``MODEL_CHECKS``
and ``SPACE_CHECKS`` hold them by name, so that a test runner can show each one apart. Nothing here needs a test runner.

One check starts a fresh Python process. A script that runs the suites needs the usual
``if __name__ == "__main__":`` guard.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import json
import math
import multiprocessing
import os
import pickle
import random
import sys
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from archsearch.components import build, describe
from archsearch.controller import Controller
from archsearch.errors import InvalidArchitecture, MissingAbility, UnknownProposal, UsageError
from archsearch.evaluator import Evaluator, SharedWeights, Trainable
from archsearch.gate import Refused, admit
from archsearch.history import RESERVED_COLUMNS
from archsearch.model import Model, Prediction, load_model
from archsearch.space import Space
from archsearch.trial import COST_FIELDS, MEASURED, Architecture, Budget, Cost, Evaluation, Proposal, Query, Trial

__all__ = [
    "CONTROLLER_CHECKS",
    "EVALUATOR_CHECKS",
    "MODEL_CHECKS",
    "SPACE_CHECKS",
    "ConditionalSpace",
    "ContractError",
    "FixedSpace",
    "OnePointSpace",
    "SeparableSpace",
    "VariableLengthSpace",
    "check_controller",
    "check_evaluator",
    "check_model",
    "check_space",
]

MakeController = Callable[[], Controller]
MakeEvaluator = Callable[[], Evaluator]
MakeModel = Callable[[], Model]
MakeSpace = Callable[[], Space]
Result = TypeVar("Result")

CONTROLLER_CHECKS: dict[str, Callable[[MakeController], None]] = {}
EVALUATOR_CHECKS: dict[str, Callable[[MakeEvaluator, Space], None]] = {}
MODEL_CHECKS: dict[str, Callable[[MakeModel], None]] = {}
SPACE_CHECKS: dict[str, Callable[[MakeSpace], None]] = {}

TRIALS = 260
"""Trials of one run: well past the initial population (100) of the controllers' defaults."""

AHEAD = 7
"""Results that are late in an asynchronous run, as with eight workers."""

LEARNING_SEEDS = 10
LEARNING_TRIALS = 400
LEARNING_MARGIN = 0.1
"""A controller that learns beats random search by this much, in the mean best score (0 to 1) over 10 seeds."""

SHORT_HISTORY, LONG_HISTORY = 1000, 3000
"""Trials after which cost is measured: by the longer one, populations of up to 1,000 members are full in both."""

LABELS, HELD_OUT = 100, 100
MODEL_TAU = 0.2
"""A model of 100 labels ranks 100 other architectures of a separable landscape with at least this Kendall's tau."""

GROWTH = 1.2
"""Function calls per trial and size of the state may be larger by this factor after the long history."""

SMALL_SPACE = 5000
"""Spaces of up to this many architectures are enumerated, and sampling is tested on every one of them."""


class ContractError(AssertionError):
    """A component breaks its contract.

    Attributes:
        failures: The error of each failed check, by name; empty if a single check raised this.
    """

    def __init__(self, message: str, failures: Mapping[str, Exception] | None = None) -> None:
        super().__init__(message)
        self.failures = dict(failures or {})


# -- the suites --------------------------------------------------------------------------------


def check_controller(make: MakeController, *, skip: Collection[str] = ()) -> None:
    """Runs all of ``CONTROLLER_CHECKS``.

    Args:
        make: Gives a new controller at each call, for example its class.
        skip: Names of checks to leave out.

    Raises:
        ContractError: If a check fails; the message lists every one that does, and why.
        UsageError: If ``skip`` names no check, or ``make`` gives the same object twice.
    """
    _check_all(CONTROLLER_CHECKS, make, (), skip)


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
    _check_all(EVALUATOR_CHECKS, make, (space,), skip)


def check_model(make: MakeModel, *, skip: Collection[str] = ()) -> None:
    """Runs all of ``MODEL_CHECKS``.

    Args:
        make: Gives a new model at each call; each check fits some, so give it small settings if that is costly.
        skip: Names of checks to leave out.

    Raises:
        ContractError: If a check fails; the message lists every one that does, and why.
        UsageError: If ``skip`` names no check, or ``make`` gives the same object twice.
    """
    _check_all(MODEL_CHECKS, make, (), skip)


def check_space(make: MakeSpace, *, skip: Collection[str] = ()) -> None:
    """Runs all of ``SPACE_CHECKS``.

    Args:
        make: Gives a new space at each call, for example its class.
        skip: Names of checks to leave out.

    Raises:
        ContractError: If a check fails; the message lists every one that does, and why.
        UsageError: If ``skip`` names no check, or ``make`` gives the same object twice.
    """
    _check_all(SPACE_CHECKS, make, (), skip)


def _check_all(
    checks: Mapping[str, Callable[..., None]], make: Callable[[], Any], further: tuple[Any, ...], skip: Collection[str]
) -> None:
    if unknown := sorted(set(skip) - set(checks)):
        raise UsageError(f"skip: no check is called {', '.join(unknown)}; there are {', '.join(checks)}")
    first, second = make(), make()
    if first is second:
        raise UsageError(f"make: expected a new object at each call, got the same {type(first).__name__} twice")
    failures = {}
    for name, check in checks.items():
        if name not in skip:
            try:
                check(make, *further)
            except Exception as error:  # one failing check must not hide the others
                failures[name] = error
    if failures:
        lines = [f"  {name}: {_explain(error)}" for name, error in failures.items()]
        total = len(checks) - len(set(skip))
        title = f"{type(first).__name__} fails {len(failures)} of {total} checks:"
        raise ContractError("\n".join([title, *lines]), failures)


def _explain(error: Exception) -> str:
    if isinstance(error, ContractError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def _expect(condition: bool, message: str) -> None:
    # Not ``assert``: the suite must not become silent under ``python -O``.
    if not condition:
        raise ContractError(message)


def _expect_raises(expected: type[Exception], action: Callable[[], object], what: str) -> Exception:
    try:
        answer = action()
    except expected as error:
        return error
    except Exception as error:
        raise ContractError(f"{what}: expected {expected.__name__}, got {_explain(error)}") from error
    raise ContractError(f"{what}: expected {expected.__name__}, but it gave {answer!r}")


def _controller_check(check: Callable[[MakeController], None]) -> Callable[[MakeController], None]:
    CONTROLLER_CHECKS[check.__name__] = check
    return check


def _evaluator_check(check: Callable[[MakeEvaluator, Space], None]) -> Callable[[MakeEvaluator, Space], None]:
    EVALUATOR_CHECKS[check.__name__] = check
    return check


def _model_check(check: Callable[[MakeModel], None]) -> Callable[[MakeModel], None]:
    MODEL_CHECKS[check.__name__] = check
    return check


def _space_check(check: Callable[[MakeSpace], None]) -> Callable[[MakeSpace], None]:
    SPACE_CHECKS[check.__name__] = check
    return check


# -- small spaces to search in -----------------------------------------------------------------


class FixedSpace(Space):
    """Six decisions of five options each: 15,625 architectures."""

    def __init__(self) -> None:
        super().__init__(arities=(5,) * 6)


class ConditionalSpace(Space):
    """Two layers, each a convolution (3 kernels, 4 widths), a pooling (2 sizes) or nothing: 225 architectures."""

    _SETTINGS = ((3, 4), (2,), ())

    def __init__(self) -> None:
        super().__init__(max_length=6, max_options=4)

    def _position(self, prefix: Architecture) -> tuple[int, int, int]:
        """Layers begun, kind of the last one, and how many of its settings are decided."""
        layers, kind, settings = 0, 2, 0
        for option in prefix:
            if settings < len(self._SETTINGS[kind]):
                settings += 1
            else:
                layers, kind, settings = layers + 1, option, 0
        return layers, kind, settings

    def arity(self, prefix: Architecture) -> int:
        """A setting of the last layer, else the kind of the next one."""
        layers, kind, settings = self._position(prefix)
        if settings < len(self._SETTINGS[kind]):
            return self._SETTINGS[kind][settings]
        return len(self._SETTINGS) if layers < 2 else 0

    def label(self, prefix: Architecture) -> str:
        """Layer, and for a setting the kind of that layer and which setting it is."""
        layers, kind, settings = self._position(prefix)
        return f"{layers}.{kind}.{settings}" if settings < len(self._SETTINGS[kind]) else f"{layers}"


class VariableLengthSpace(Space):
    """One to eight decisions of four options; option 0 ends the architecture: 13,120 architectures."""

    def __init__(self) -> None:
        super().__init__(max_length=8, max_options=4)

    def arity(self, prefix: Architecture) -> int:
        """Four until option 0 or the greatest length comes."""
        return 0 if len(prefix) == self.max_length or prefix[-1:] == (0,) else 4

    def subtree(self, prefix: Architecture) -> tuple[int, bool]:
        """What follows depends on the length, and on whether it has ended."""
        return len(prefix), prefix[-1:] == (0,)


class OnePointSpace(Space):
    """Three decisions of one option: a single architecture."""

    def __init__(self) -> None:
        super().__init__(arities=(1, 1, 1))


class SeparableSpace(Space):
    """Twelve decisions of five options: 244,140,625 architectures, on which learning is measured."""

    def __init__(self) -> None:
        super().__init__(arities=(5,) * 12)


_SPACES: tuple[type[Space], ...] = (FixedSpace, ConditionalSpace, VariableLengthSpace)


def _score(architecture: Architecture) -> float:
    """The share of decisions that are right, 0 to 1, weighted so that few architectures tie; separable."""
    weights = [1 + 0.05 * i for i in range(len(architecture))]
    hits = [weight for i, weight in enumerate(weights) if architecture[i] == (3 * i + 1) % 5]
    return sum(hits) / sum(weights)


# -- running a controller ----------------------------------------------------------------------


def _started(make: MakeController, space: Space | None = None, seed: int = 1) -> Controller:
    """A new controller, begun."""
    controller = make()
    controller.start(FixedSpace() if space is None else space, seed)
    return controller


def _completed(proposal: Proposal) -> Trial:
    """The trial of a proposal, with the score of the toy problem."""
    return _scored(proposal, _score(proposal.architecture))


def _scored(proposal: Proposal, score: float) -> Trial:
    """The trial of a proposal, with this score."""
    return Trial(proposal.id, proposal.architecture, proposal.parent, Evaluation(score))


def _failed(proposal: Proposal) -> Trial:
    return Trial(proposal.id, proposal.architecture, proposal.parent, failure="exception", error="on purpose")


def _failing_every(n: int, fail: Callable[[Proposal], Trial] = _failed) -> Callable[[Proposal], Trial]:
    """Every n-th proposal fails; the others are completed."""
    return lambda proposal: _completed(proposal) if proposal.id % n else fail(proposal)


def _search(
    controller: Controller,
    trials: int,
    answer: Callable[[Proposal], Trial] = _completed,
    pending: deque[Proposal] | None = None,
    ahead: int = 0,
) -> list[Proposal]:
    """Asks one by one; a result is told once more than ``ahead`` of them are due, oldest first."""
    pending = deque() if pending is None else pending
    proposals = []
    for _ in range(trials):
        proposals += controller.ask()
        pending.append(proposals[-1])
        if len(pending) > ahead:
            controller.tell([answer(pending.popleft())])
    return proposals


def _expect_in_space(proposals: Sequence[Proposal], space: Space, when: str) -> None:
    """All proposals lie in the space."""
    for proposal in proposals:
        _expect(
            proposal.architecture in space,
            f"{when}: proposal {proposal.id}, {proposal.architecture!r}, is not in {type(space).__name__}",
        )


def _expect_same(expected: Sequence[object], got: Sequence[object], what: str) -> None:
    """Two sequences are equal."""
    for i, (one, other) in enumerate(zip(expected, got, strict=False)):
        _expect(one == other, f"{what}: they part at number {i}: {one!r} against {other!r}")
    _expect(len(expected) == len(got), f"{what}: {len(expected)} against {len(got)} of them")


# -- the world outside: global generators, other processes ---------------------------------------


def _global_generators() -> tuple[object, ...]:
    """What the global generators would give next; PyTorch's too, if something has imported it."""
    torch: Any = sys.modules.get("torch")
    return (
        random.getstate(),
        pickle.dumps(np.random.get_state()),  # noqa: NPY002 (that nobody touches it is what is checked)
        torch.get_rng_state().numpy().tobytes() if torch else b"",
    )


@contextlib.contextmanager
def _restored_generators() -> Iterator[None]:
    torch: Any = sys.modules.get("torch")
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch_state = torch.get_rng_state() if torch else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        if torch:
            torch.set_rng_state(torch_state)


def _disturb_generators() -> None:
    torch: Any = sys.modules.get("torch")
    random.random()
    np.random.random()  # noqa: NPY002
    if torch:
        torch.rand(1)


def _expect_no_globals(run: Callable[[], Sequence[object]]) -> None:
    """Global generators are neither read nor written."""
    run()  # what is imported on first use is there from now on
    with _restored_generators():
        _disturb_generators()  # else seeding them with the same number again would go unseen
        before = _global_generators()
        first = run()
        for name, one, other in zip(("random", "numpy", "torch"), before, _global_generators(), strict=True):
            _expect(one == other, f"the global generator of {name} was drawn from or seeded; use the one you are given")
        _disturb_generators()
        _expect_same(first, run(), "the results depend on the state of a global generator")


def _in_new_process(function: Callable[..., Result], *arguments: object) -> Result:
    """Calls a module's function in a fresh Python whose ``PYTHONHASHSEED`` differs from this one's."""
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = "2" if before == "1" else "1"
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(function, *arguments).result()
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before


def _has_defaults(cls: type) -> bool:
    parameters = list(inspect.signature(cls).parameters.values())
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def _default(component: Result) -> Result:
    """A new one with default settings, or the component itself if its class has no defaults for all of them."""
    return type(component)() if _has_defaults(type(component)) else component


def _expect_round_trip(component: Any) -> Any:
    """``describe`` gives JSON data, from which ``build`` makes the same thing; returns that."""
    description = json.loads(json.dumps(describe(component)))
    twin = build(description, trust=True)
    _expect(type(twin) is type(component), f"build gave a {type(twin).__name__} for a {type(component).__name__}")
    again = json.loads(json.dumps(describe(twin)))
    _expect(again == description, f"settings changed on their way through config.yaml: {description} became {again}")
    return twin


# -- controllers ---------------------------------------------------------------------------------


@_controller_check
def default_settings_work(make: MakeController) -> None:
    """A controller whose settings all have defaults runs with them, as users start it."""
    _search(_started(lambda: _default(make())), 20)


@_controller_check
def proposals_lie_in_the_space(make: MakeController) -> None:
    """Every proposal is a member of the space: of fixed length, conditional, of variable length."""
    for space in (each() for each in _SPACES):
        controller = _started(make, space)
        _expect_in_space(_search(controller, 120, ahead=AHEAD) + controller.ask(20), space, "asked")


@_controller_check
def ask_returns_n(make: MakeController) -> None:
    """``ask(n)`` gives n proposals, however large n is; n < 1, or asking before ``start``, is a ``UsageError``."""
    controller = _started(make)
    for n in (1, 2, 7, 300):
        got = len(controller.ask(n))
        _expect(got == n, f"ask({n}) gave {got} proposals")
    _expect_raises(UsageError, lambda: controller.ask(0), "ask(0)")
    _expect_raises(UsageError, lambda: make().ask(), "ask() before start()")


@_controller_check
def ids_rise_by_one(make: MakeController) -> None:
    """Ids are 0, 1, 2, ... whatever is asked and told in between, and a parent is an earlier id."""
    controller = _started(make)
    proposals = controller.ask(3) + _search(controller, 120) + controller.ask(7) + controller.ask()
    _expect_same(range(131), [proposal.id for proposal in proposals], "ids must rise by one from 0")
    for proposal in proposals:
        earlier = proposal.parent is None or 0 <= proposal.parent < proposal.id
        _expect(earlier, f"proposal {proposal.id} names {proposal.parent!r} as its parent, which is no earlier one")


@_controller_check
def same_seed_same_proposals(make: MakeController) -> None:
    """Two searches with the same seed and the same results propose the same, well past the initial population."""
    first, second = _search(_started(make), TRIALS), _search(_started(make), TRIALS)
    _expect_same(first, second, "same seed, same results, other proposals")


@_controller_check
def other_seed_other_proposals(make: MakeController) -> None:
    """The seed matters: the first 20 proposals of two seeds are not all the same."""
    one, other = ([proposal.architecture for proposal in _started(make, seed=s).ask(20)] for s in (1, 2))
    _expect(one != other, "seeds 1 and 2 gave the same 20 proposals; draw from self.rng")


@_controller_check
def start_begins_afresh(make: MakeController) -> None:
    """A second ``start`` forgets the first search, even one in another space."""
    controller = _started(make, VariableLengthSpace(), seed=5)
    _search(controller, 120, ahead=AHEAD)
    controller.start(FixedSpace(), 1)
    _expect(not controller.pending, f"start() left {len(controller.pending)} proposals of the last search pending")
    _expect_same(_search(_started(make), 150), _search(controller, 150), "start() did not forget the last search")


@_controller_check
def global_generators_untouched(make: MakeController) -> None:
    """The global generators of ``random``, NumPy and PyTorch are neither read nor written."""
    _expect_no_globals(lambda: _search(_started(make), TRIALS))


@_controller_check
def same_in_a_new_process(make: MakeController) -> None:
    """A fresh process with another ``PYTHONHASHSEED`` proposes the same, so no order of a set plays a part."""
    description = describe(make())
    here, there = _proposals_of(description), _in_new_process(_proposals_of, description)
    _expect_same(here, there, "a new process with another hash seed proposes something else")


def _proposals_of(description: dict[str, Any]) -> list[Proposal]:
    return _search(_started(lambda: build(description, trust=True), ConditionalSpace()), TRIALS)


@_controller_check
def resume_equals_not_stopping(make: MakeController) -> None:
    """A controller restored from its state, with results still due, goes on exactly as one that never stopped."""
    for space in (FixedSpace(), VariableLengthSpace()):
        for trials in (0, 130):
            controller, due = _started(make, space), deque[Proposal]()
            _search(controller, trials, pending=due, ahead=AHEAD)
            state = json.dumps(controller.state_dict())
            restored = _started(make, space, seed=2)
            restored.load_state_dict(json.loads(state))
            _expect(restored.pending == controller.pending, "the restored controller lost pending proposals")
            going_on = _search(controller, 120, pending=deque(due), ahead=AHEAD)
            resumed = _search(restored, 120, pending=deque(due), ahead=AHEAD)
            _expect_same(
                going_on, resumed, f"resumed after {trials} trials in {type(space).__name__}, it goes another way"
            )


@_controller_check
def state_is_plain_data(make: MakeController) -> None:
    """The state is JSON data, survives JSON and pickle, is a snapshot, and is left alone by who loads it."""
    controller = _started(make)
    _search(controller, 120, ahead=AHEAD)
    state = controller.state_dict()
    _expect_json(state, "state_dict()")
    text = json.dumps(state)
    _expect(json.dumps(pickle.loads(pickle.dumps(state))) == text, "state_dict() does not survive pickling")
    restored = _started(make, seed=2)
    loaded = json.loads(text)
    restored.load_state_dict(loaded)
    _expect(json.dumps(restored.state_dict()) == text, "state_dict() after load_state_dict(state) differs from state")
    _search(controller, 120)
    _search(restored, 120)
    _expect(json.dumps(state) == text, "the dictionary that state_dict() gave changes as the search goes on; copy")
    _expect(json.dumps(loaded) == text, "the dictionary given to load_state_dict() changes as the search goes on; copy")


def _expect_json(value: object, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _expect(isinstance(key, str), f"{where}: the key {key!r} is no string, and JSON would make it one")
            _expect_json(item, f"{where}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for item in value:
            _expect_json(item, f"{where}[...]")
    else:
        plain = value is None or type(value) in (bool, int, float, str)
        _expect(plain, f"{where}: a {type(value).__name__} is no JSON data")


@_controller_check
def results_in_any_order(make: MakeController) -> None:
    """Results may come in any order, in parts, or not at all, as on a cluster: asking goes on."""
    space = VariableLengthSpace()
    silent = _started(make, space)
    _expect_in_space(_search(silent, 300, ahead=300), space, "no result told")
    controller, rng = _started(make, space), random.Random(3)
    due: list[Proposal] = []
    for _ in range(30):
        due += controller.ask(9)
        rng.shuffle(due)
        controller.tell([_completed(proposal) for proposal in due[:5]])
        del due[:5]
    _expect({p.id: p.architecture for p in due} == controller.pending, "pending is not what was asked but not told")
    _expect_in_space(due, space, "results told in another order")


@_controller_check
def failures_never_stop_it(make: MakeController) -> None:
    """The search goes on when trials fail, even when all do, and a failed trial is nobody's parent."""
    space = FixedSpace()
    for failing, share in ((1, "all"), (3, "every third")):
        controller = _started(make, space)
        proposals = _search(controller, TRIALS, answer=_failing_every(failing))
        _expect_in_space(proposals, space, f"{share} failed")
        for proposal in proposals:
            fine = proposal.parent is None or proposal.parent % failing != 0
            _expect(fine, f"proposal {proposal.id} was derived from trial {proposal.parent}, which failed")


@_controller_check
def invalid_scores_count_as_failures(make: MakeController) -> None:
    """NaN and infinite scores change nothing that a failure would not: they are never a parent, never the best."""
    invalid = itertools.cycle((math.nan, math.inf, -math.inf))
    first = _search(_started(make), TRIALS, answer=_failing_every(3, lambda p: _scored(p, next(invalid))))
    second = _search(_started(make), TRIALS, answer=_failing_every(3))
    _expect_same(second, first, "scores of NaN and infinity do not act like failures")


@_controller_check
def unknown_results_raise(make: MakeController) -> None:
    """A result that was never asked for, or was told before, raises ``UnknownProposal``; the search can go on."""
    controller = _started(make)
    proposal, *_ = controller.ask(3)
    _expect_raises(UnknownProposal, lambda: controller.tell([_completed(proposal._replace(id=999))]), "never asked")
    controller.tell([_completed(proposal)])
    _expect_raises(UnknownProposal, lambda: controller.tell([_completed(proposal)]), "told twice")
    _expect_in_space(_search(controller, 5), FixedSpace(), "after the errors")


@_controller_check
def arguments_unchanged(make: MakeController) -> None:
    """``tell`` and ``start`` leave what they are given as it was, and the lists that come back are the caller's."""
    space = FixedSpace()
    controller = _started(make, space)
    for _ in range(15):
        proposals = controller.ask(10)
        trials = [
            _completed(p)._replace(evaluation=Evaluation(_score(p.architecture), {"loss": 1.0})) for p in proposals
        ]
        kept, metrics = list(trials), [dict(trial.metrics) for trial in trials]
        controller.tell(trials)
        _expect(trials == kept, "tell() changed or reordered the list it was given")
        _expect([trial.metrics for trial in trials] == metrics, "tell() changed the metrics of a trial")
        proposals.clear()
    proposals = controller.ask(2)
    controller.pending.clear()
    controller.tell([_completed(proposal) for proposal in proposals])
    _expect(space == FixedSpace(), "the controller changed the space")


@_controller_check
def one_point_and_constant(make: MakeController) -> None:
    """A space with a single architecture, and scores that are all equal, are searched like any other."""
    space, point = FixedSpace(), OnePointSpace()
    _expect_in_space(_search(_started(make, point), 120), point, "one-point space")
    flat = _search(_started(make, space), 120, answer=lambda p: _scored(p, 0.5))
    _expect_in_space(flat, space, "constant scores")


@_controller_check
def beats_random_search(make: MakeController) -> None:
    """A controller that learns beats random search with late, lost and shuffled results; others ignore results.

    Mean best score of 10 seeds with 400 trials each in ``SeparableSpace``, where scores run from 0 to 1: at least 0.1
    above random search. With ``learns = False``, what is newly proposed must not depend on the results; which trainings
    go on may.
    """
    if not make().learns:
        one = _begun(_search(_started(make), TRIALS))
        other = _begun(_search(_started(make), TRIALS, answer=lambda p: _scored(p, -_score(p.architecture))))
        both = min(len(one), len(other))
        _expect_same(one[:both], other[:both], "learns is False, yet the proposals depend on the results")
        return
    space = SeparableSpace()
    ours, random_search = [], []
    for seed in range(LEARNING_SEEDS):
        rng = np.random.default_rng(seed)
        random_search.append(max(_score(space.sample(rng)) for _ in range(LEARNING_TRIALS)))
        ours.append(_best_asynchronous(_started(make, space, seed), random.Random(seed)))
    ahead = sum(ours) / LEARNING_SEEDS - sum(random_search) / LEARNING_SEEDS
    _expect(
        ahead >= LEARNING_MARGIN,
        f"expected a mean best score at least {LEARNING_MARGIN} above random search's "
        f"{sum(random_search) / LEARNING_SEEDS:.3f} after {LEARNING_TRIALS} trials, got {ahead:+.3f}",
    )


def _begun(proposals: Sequence[Proposal]) -> list[tuple[Architecture, int]]:
    """Architectures that are not trainings going on, with their lengths."""
    new = [p for p in proposals if p.budget is None or not p.budget.start]
    return [(p.architecture, p.budget.stop if p.budget else 0) for p in new]


def _best_asynchronous(controller: Controller, rng: random.Random) -> float:
    # The first results never come: who links results to proposals by position instead of id learns nothing.
    controller.ask(30)
    due: list[Proposal] = []
    best = -math.inf
    for _ in range(LEARNING_TRIALS):
        due += controller.ask()
        if len(due) > AHEAD:
            trial = _completed(due.pop(rng.randrange(len(due))))
            best = max(best, trial.score or 0.0)
            controller.tell([trial])
    return best


@_controller_check
def cost_stays_flat(make: MakeController) -> None:
    """Neither the function calls per trial nor, but for what it states, the size of the state grow with the history."""
    controller = _started(make)
    asked = 0
    calls, sizes = [], []
    for trials in (SHORT_HISTORY, LONG_HISTORY):
        while asked < trials:
            controller.tell([_completed(proposal) for proposal in controller.ask(20)])
            asked += 20
        calls.append(_count_calls(lambda: _search(controller, 100)))
        asked += 100
        sizes.append(len(json.dumps(controller.state_dict())))
    stated = controller.state_per_trial * (LONG_HISTORY - SHORT_HISTORY)
    for what, (short, long), more in (
        ("function calls in 100 trials", calls, 0),
        ("bytes of state", sizes, stated),
    ):
        _expect(
            long <= GROWTH * short + 100 + more,
            f"{what} grow with the history: {short} after {SHORT_HISTORY} trials, {long} after {LONG_HISTORY}; "
            f"at most {GROWTH} times as many are allowed{f', and {more} more as it states' if more else ''}",
        )


def _count_calls(action: Callable[[], object]) -> int:
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


@_controller_check
def settings_round_trip(make: MakeController) -> None:
    """Settings are readable as attributes, and a controller rebuilt from them proposes the same."""
    controller = make()
    twin = _expect_round_trip(controller)
    same = _search(_started(lambda: controller), 120), _search(_started(lambda: twin), 120)
    _expect_same(*same, "rebuilt from its description, it proposes something else")


# -- evaluators ----------------------------------------------------------------------------------


def _ready(make: MakeEvaluator, space: Space) -> Evaluator:
    evaluator = make()
    evaluator.start(space)
    evaluator.prepare()
    return evaluator


def _some(space: Space, n: int, seed: int = 1) -> list[Architecture]:
    """``n`` members, all different if the space has as many; what else ``sample`` gives is for another check."""
    rng = np.random.default_rng(seed)
    found = dict.fromkeys(a for a in (space.sample(rng) for _ in range(4 * n)) if a in space)
    _expect(bool(found), f"none of {4 * n} samples is in the space")
    return list(itertools.islice(itertools.cycle(found), n))


def _outcomes(evaluator: Evaluator, architectures: Sequence[Architecture]) -> list[tuple[object, ...]]:
    return [_outcome(evaluator.evaluate(a, seed=i % 3)) for i, a in enumerate(architectures)]


def _outcome(evaluation: Evaluation) -> tuple[object, ...]:
    """What must be repeatable: score and metrics, as text since NaN differs from itself. Cost may be measured."""
    return repr(evaluation.score), sorted((name, repr(value)) for name, value in evaluation.metrics.items())


@_evaluator_check
def default_settings_evaluate(make: MakeEvaluator, space: Space) -> None:
    """An evaluator whose settings all have defaults works with them, as users start it."""
    _ready(lambda: _default(make()), space).evaluate(_some(space, 1)[0], 0)


@_evaluator_check
def starts_and_prepares(make: MakeEvaluator, space: Space) -> None:
    """``check`` accepts the space, ``start`` keeps it, and one-off work, now or every so often, costs a ``Cost``."""
    evaluator = make()
    evaluator.check(space)
    evaluator.start(space)
    _expect(evaluator.space is space, "start() did not keep the space as self.space; call super().start(space)")
    interval = evaluator.interval
    whole = isinstance(interval, int) and not isinstance(interval, bool) and interval >= 0
    _expect(whole, f"interval: expected a whole number >= 0, got {interval!r}")
    _expect_cost(evaluator.prepare(), "prepare()")
    _expect_cost(evaluator.advance([]), "advance([])")


def _expect_cost(cost: object, where: str) -> None:
    _expect(isinstance(cost, Cost), f"{where}: expected a Cost, got {cost!r}")
    for field in COST_FIELDS:
        amount = getattr(cost, field)
        fine = _is_number(amount) and math.isfinite(amount) and amount >= 0
        _expect(fine, f"{where}: expected a finite {field} >= 0, got {amount!r}")


def _is_number(value: object) -> bool:
    # NumPy's float32 and int64 are neither; they cannot be written to the journal.
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@_evaluator_check
def refuses_spaces_clearly(make: MakeEvaluator, space: Space) -> None:
    """A space that it cannot score is refused by ``MissingAbility``, which names both, before anything is spent."""
    for other in (space, FixedSpace(), ConditionalSpace(), OnePointSpace()):
        evaluator = make()
        try:
            evaluator.check(other)
        except MissingAbility as error:
            for name in (type(evaluator).__name__, type(other).__name__):
                _expect(name in str(error), f"the message does not name {name}: {error}")
            _expect_raises(MissingAbility, functools.partial(evaluator.start, other), "start()")


@_evaluator_check
def scores_are_finite(make: MakeEvaluator, space: Space) -> None:
    """The answer is an ``Evaluation`` with a finite score, for the smallest and the largest seed too."""
    evaluator = _ready(make, space)
    for architecture in _some(space, 5):
        for seed in (0, 2**63 - 1):
            evaluation = evaluator.evaluate(architecture, seed)
            _expect(isinstance(evaluation, Evaluation), f"evaluate(): expected an Evaluation, got {evaluation!r}")
            fine = _is_number(evaluation.score) and math.isfinite(evaluation.score)
            _expect(fine, f"evaluate(): expected a finite int or float as score, got {evaluation.score!r}")


@_evaluator_check
def costs_are_not_negative(make: MakeEvaluator, space: Space) -> None:
    """Every amount of the cost is a finite number >= 0, and wall time is left to the executor."""
    evaluator = _ready(make, space)
    for architecture in _some(space, 5):
        cost = evaluator.evaluate(architecture, 0).cost
        _expect_cost(cost, "evaluate().cost")
        for field in MEASURED:
            amount = getattr(cost, field)
            _expect(amount == 0, f"evaluate().cost: {field} is measured by the executor, leave it at 0")


@_evaluator_check
def metrics_can_be_stored(make: MakeEvaluator, space: Space) -> None:
    """Metrics are numbers under names of their own: text, and none of the history's columns."""
    evaluator = _ready(make, space)
    for architecture in _some(space, 5):
        evaluation = evaluator.evaluate(architecture, 0)
        for name, value in evaluation.metrics.items():
            _expect(isinstance(name, str) and name != "", f"expected text as the name of a metric, got {name!r}")
            _expect(name not in RESERVED_COLUMNS, f"a metric is called {name!r}, as is a column of the history")
            _expect(_is_number(value), f"metric {name!r}: expected an int or float, got {value!r}")
        try:
            admit(Evaluation(0.0, evaluation.metrics, curve=evaluation.curve))
        except Refused as refused:
            raise ContractError(f"evaluate(): {refused}") from None


@_evaluator_check
def answers_stay_as_they_were(make: MakeEvaluator, space: Space) -> None:
    """Metrics and curve of an answer are its own: no later evaluation changes them."""
    evaluator = _ready(make, space)
    answers, then = [], []
    for seed, architecture in enumerate(_some(space, 3)):
        answers.append(evaluator.evaluate(architecture, seed))
        then.append((*_outcome(answers[-1]), list(answers[-1].curve)))
    now = [(*_outcome(answer), list(answer.curve)) for answer in answers]
    _expect_same(then, now, "an answer was changed by later ones; make metrics and curve anew for each")


@_evaluator_check
def measuring_is_repeatable(make: MakeEvaluator, space: Space) -> None:
    """``measure`` gives numbers by name (NaN: not known), the same at each call, before ``prepare`` too."""
    evaluator = make()
    evaluator.start(space)
    architectures = _some(space, 3)
    first = [_measured(evaluator, architecture) for architecture in architectures]
    evaluator.prepare()
    second = [_measured(evaluator, architecture) for architecture in architectures]
    _expect_same(first, second, "measure() gave something else for the same architecture")


def _measured(evaluator: Evaluator, architecture: Architecture) -> dict[str, str]:
    figures = evaluator.measure(architecture)
    _expect(isinstance(figures, Mapping), f"measure(): expected a mapping of names to numbers, got {figures!r}")
    for name, value in figures.items():
        _expect(isinstance(name, str) and name != "", f"measure(): expected text as the name of a figure, got {name!r}")
        fine = _is_number(value) and not math.isinf(value)
        _expect(fine, f"measure(): {name}: expected a finite int or float, or NaN for unknown, got {value!r}")
    return {name: repr(value) for name, value in figures.items()}


@_evaluator_check
def same_seed_same_result(make: MakeEvaluator, space: Space) -> None:
    """Two evaluators with the same settings give the same architecture and seed the same score and metrics."""
    architectures = _some(space, 12)
    first, second = (_outcomes(_ready(make, space), architectures) for _ in range(2))
    _expect_same(first, second, "same architecture, same seed, other result; draw only from a generator of the seed")


@_evaluator_check
def order_plays_no_part(make: MakeEvaluator, space: Space) -> None:
    """A result depends on architecture and seed only, not on what was evaluated before it."""
    evaluator, architectures = _ready(make, space), _some(space, 12)
    first = [_outcome(evaluator.evaluate(a, 7)) for a in architectures]
    second = [_outcome(evaluator.evaluate(a, 7)) for a in reversed(architectures)]
    _expect_same(first, second[::-1], "the result depends on what was evaluated before")


@_evaluator_check
def batch_equals_one_by_one(make: MakeEvaluator, space: Space) -> None:
    """``evaluate_batch`` gives, in order, exactly what ``evaluate_query`` gives one by one; for none, nothing."""
    evaluator, architectures = _ready(make, space), _some(space, 12)
    queries = [Query(i, architecture, i % 3) for i, architecture in enumerate(architectures)]
    kept = list(queries)
    with tempfile.TemporaryDirectory() as folder:
        evaluator.folder = Path(folder)
        batch = [_outcome(evaluation) for evaluation in evaluator.evaluate_batch(queries)]
        _expect(queries == kept, "evaluate_batch() changed the list it was given")
        alone = [_outcome(evaluator.evaluate_query(query)) for query in queries]
        _expect_same(alone, batch, "evaluate_batch() differs from evaluate_query()")
        _expect(list(evaluator.evaluate_batch([])) == [], "evaluate_batch([]) must give an empty list")


@_evaluator_check
def strangers_are_refused(make: MakeEvaluator, space: Space) -> None:
    """An architecture that is not in the space raises ``InvalidArchitecture``, alone and in a batch."""
    evaluator, architecture = _ready(make, space), _some(space, 1)[0]
    for stranger in ((), (*architecture, 0), (10**6, *architecture[1:]), (-1, *architecture[1:])):
        what = f"evaluate({stranger!r})"
        _expect_raises(InvalidArchitecture, functools.partial(evaluator.evaluate, stranger, 0), what)
    mixed = [Query(0, architecture, 0), Query(1, (*architecture, 0), 0)]
    _expect_raises(InvalidArchitecture, lambda: evaluator.evaluate_batch(mixed), "evaluate_batch()")


@_evaluator_check
def evaluator_survives_pickling(make: MakeEvaluator, space: Space) -> None:
    """An evaluator can be sent to workers, before and after ``prepare``, and gives the same there."""
    evaluator, architectures = _ready(make, space), _some(space, 12)
    pickle.loads(pickle.dumps(make()))
    copy = pickle.loads(pickle.dumps(evaluator))
    _expect_same(_outcomes(evaluator, architectures), _outcomes(copy, architectures), "its copy gives something else")


@_evaluator_check
def evaluates_alike_in_a_new_process(make: MakeEvaluator, space: Space) -> None:
    """A worker with another ``PYTHONHASHSEED`` gives the same results."""
    evaluator, architectures = _ready(make, space), _some(space, 12)
    here, there = _outcomes(evaluator, architectures), _in_new_process(_outcomes, evaluator, architectures)
    _expect_same(here, there, "a new process with another hash seed gives something else")


@_evaluator_check
def evaluation_leaves_global_generators(make: MakeEvaluator, space: Space) -> None:
    """The global generators of ``random``, NumPy and PyTorch are neither read nor written."""
    architectures = _some(space, 12)

    def outcomes() -> list[tuple[object, ...]]:
        evaluator = _ready(make, space)
        with tempfile.TemporaryDirectory() as folder:
            evaluator.folder = Path(folder)
            family = [Query(i, architectures[i], i, parent=i - 1 if i else None) for i in range(2)]
            return _outcomes(evaluator, architectures) + [_outcome(evaluator.evaluate_query(q)) for q in family]

    _expect_no_globals(outcomes)


@_evaluator_check
def evaluator_round_trip(make: MakeEvaluator, space: Space) -> None:
    """Settings are readable as attributes, and an evaluator rebuilt from them gives the same results."""
    twin, architectures = _expect_round_trip(make()), _some(space, 12)
    first, second = _outcomes(_ready(make, space), architectures), _outcomes(_ready(lambda: twin, space), architectures)
    _expect_same(first, second, "rebuilt from its description, it gives something else")


@_evaluator_check
def stopping_changes_nothing(make: MakeEvaluator, space: Space) -> None:
    """A training that is stopped and continued ends like one that was not, and no part of it is billed twice.

    Evaluators that refuse the budgets 1 and 2 in ``check_budgets`` are left alone.
    """
    evaluator, architecture = _ready(make, space), _some(space, 1)[0]
    try:
        evaluator.check_budgets((1, 2))
    except UsageError:
        return
    with tempfile.TemporaryDirectory() as folder:
        evaluator.folder = Path(folder)
        budgets = Budget(1), Budget(2, 1, 0), Budget(2)
        queries = [Query(i, architecture, 5, budget=budget) for i, budget in enumerate(budgets)]
        first, second, whole = map(evaluator.evaluate_query, queries)
    _expect_same([_outcome(whole)], [_outcome(second)], "stopped and continued, it gives something else")
    for field in ("examples", "updates", "recorded_seconds"):
        parts = getattr(first.cost, field) + getattr(second.cost, field)
        alike = math.isclose(parts, getattr(whole.cost, field), rel_tol=1e-9, abs_tol=1e-9)
        _expect(alike, f"{field}: the parts cost {parts}, the whole {getattr(whole.cost, field)}")


# -- models --------------------------------------------------------------------------------------


def _labelled(space: Space, n: int, seed: int = 1) -> tuple[list[Architecture], list[float]]:
    architectures = _some(space, n, seed)
    return architectures, [_score(architecture) for architecture in architectures]


def _fitted(make: MakeModel, space: Space | None = None, seed: int = 1, labels: int = 30) -> Model:
    space = FixedSpace() if space is None else space
    model = make()
    model.fit(space, *_labelled(space, labels), seed)
    return model


def _expect_close(expected: Prediction, got: Prediction, what: str) -> None:
    for name, one, other in zip(Prediction._fields, expected, got, strict=True):
        _expect(np.allclose(one, other, rtol=1e-3, atol=1e-4), f"{what}: {name} {one} became {other}")


def _predicted(model: Model) -> list[tuple[float, float]]:
    return list(zip(*(values.tolist() for values in model.predict(_some(model.space, 12, seed=2))), strict=True))


@_model_check
def default_settings_predict(make: MakeModel) -> None:
    """A model whose settings all have defaults works with them, as users start it."""
    _predicted(_fitted(lambda: _default(make())))


@_model_check
def predictions_are_sound(make: MakeModel) -> None:
    """In spaces of every kind: for each architecture a finite mean and a finite spread >= 0; for none, nothing."""
    for space in (*(cls() for cls in _SPACES), OnePointSpace()):
        model = _fitted(make, space)
        for n in (0, 1, 12):
            prediction = model.predict(_some(space, n, seed=2) if n else [])
            for name, values in zip(Prediction._fields, prediction, strict=True):
                where = f"{name} of {n} architectures of {type(space).__name__}"
                _expect(values.shape == (n,), f"{where}: expected the shape ({n},), got {values.shape}")
                fine = np.isfinite(values).all() and (name == "mean" or (values >= 0).all())
                _expect(bool(fine), f"{where}: expected finite numbers, spreads >= 0, got {values}")


@_model_check
def learns_from_labels(make: MakeModel) -> None:
    """Of a separable landscape it learns an order that agrees with the truth, on architectures it has not seen."""
    from scipy.stats import kendalltau

    space = FixedSpace()
    model = _fitted(make, space, labels=LABELS)
    known = set(model.architectures)
    others = [each for each in _some(space, LABELS + HELD_OUT, seed=3) if each not in known][:HELD_OUT]
    tau = float(kendalltau([_score(each) for each in others], model.predict(others).mean).statistic)
    _expect(tau >= MODEL_TAU, f"Kendall's tau with the truth is {tau:.2f}; expected at least {MODEL_TAU}")


@_model_check
def same_seed_same_predictions(make: MakeModel) -> None:
    """Two models with the same settings, labels and seed predict the same."""
    first, second = _predicted(_fitted(make)), _predicted(_fitted(make))
    _expect_same(first, second, "same labels, same seed, other predictions; draw only from the generator you are given")


@_model_check
def fitting_forgets(make: MakeModel) -> None:
    """Fitted again, or cloned and fitted, it predicts as a new model does; the labels it is given stay unchanged."""
    space = FixedSpace()
    used = _fitted(make, space)
    copy = used.clone()
    architectures, scores = _labelled(space, 40, seed=4)
    kept = list(architectures), list(scores)
    fresh = make()
    for model in (fresh, used, copy):
        model.fit(space, architectures, scores, 5)
    _expect((architectures, scores) == kept, "fit() changed the labels it was given")
    for what, model in {"fitted twice": used, "cloned and fitted": copy}.items():
        _expect_same(_predicted(fresh), _predicted(model), f"{what}, it predicts something else")


@_model_check
def company_plays_no_part(make: MakeModel) -> None:
    """What is predicted of an architecture does not depend on which others are asked for, but for rounding."""
    model = _fitted(make)
    architectures = _some(model.space, 12, seed=2)
    together = model.predict(architectures)
    backwards = model.predict(architectures[::-1])
    _expect_close(together, Prediction(*(values[::-1] for values in backwards)), "asked for in another order")
    alone = [model.predict([each]) for each in architectures]
    _expect_close(together, Prediction(*(np.concatenate(values) for values in zip(*alone, strict=True))), "asked alone")


@_model_check
def features_are_used_or_refused(make: MakeModel) -> None:
    """Features are refused by a model that takes none; otherwise they count, and are asked for in predictions, too."""
    space, model = FixedSpace(), make()
    architectures, scores = _labelled(space, 40)
    features = np.stack([scores, np.arange(40.0)], axis=1)
    if not model.takes_features:
        _expect_raises(UsageError, lambda: model.fit(space, architectures, scores, 1, features), "fit with features")
        return
    model.fit(space, architectures, scores, 1, features)
    _expect_raises(UsageError, lambda: model.predict(architectures), "predict without the features of fit")
    others = _some(space, 2, seed=2)
    low, high = (model.predict(others, np.tile([value, 20.0], (2, 1))).mean for value in (min(scores), max(scores)))
    _expect(bool((high > low).all()), "a feature that equals the score does not move what is predicted")


@_model_check
def model_files_hold_all(make: MakeModel) -> None:
    """Saved and read, without unpickling anything, it predicts exactly the same; so does a pickled copy."""
    model = _fitted(make)
    with tempfile.TemporaryDirectory() as folder, _no_unpickling():
        model.save(Path(folder) / "model.safetensors")
        twin = load_model(Path(folder) / "model.safetensors", model.space, make())
    _expect_same(_predicted(model), _predicted(twin), "read from its file, it predicts something else")
    copy = pickle.loads(pickle.dumps(model))
    _expect_same(_predicted(model), _predicted(copy), "its pickled copy predicts something else")


@contextlib.contextmanager
def _no_unpickling() -> Iterator[None]:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise ContractError("reading the file unpickles something; keep arrays and JSON data")

    names = ("load", "loads", "Unpickler")
    before = {name: getattr(pickle, name) for name in names}
    for name in names:
        setattr(pickle, name, refuse)
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(pickle, name, function)


@_model_check
def model_leaves_global_generators(make: MakeModel) -> None:
    """The global generators of ``random``, NumPy and PyTorch are neither read nor written."""
    _expect_no_globals(lambda: _predicted(_fitted(make)))


@_model_check
def model_round_trip(make: MakeModel) -> None:
    """Settings are readable as attributes, and a model rebuilt from them predicts the same."""
    model = make()
    twin = _expect_round_trip(model)
    same = _predicted(_fitted(lambda: model)), _predicted(_fitted(lambda: twin))
    _expect_same(*same, "rebuilt from its description, it predicts something else")


# -- spaces --------------------------------------------------------------------------------------


def _size(space: Space) -> int:
    """Number of architectures; spaces that cannot be counted are large."""
    size = space.size()
    return sys.maxsize if size is None else size


@_space_check
def default_settings_sample(make: MakeSpace) -> None:
    """A space whose settings all have defaults works with them, as users start it."""
    space = _default(make())
    space.validate(space.sample(np.random.default_rng(0)))


@_space_check
def samples_lie_in_it(make: MakeSpace) -> None:
    """What is sampled is in the space, drawn alone or, for fixed length, as a batch."""
    space, rng = make(), np.random.default_rng(0)
    for _ in range(1000):
        architecture = space.sample(rng)
        _expect(architecture in space, f"sample() gave {architecture!r}, which is not in the space")
    if space.arities is None:
        _expect_raises(UsageError, lambda: space.sample_batch(rng, 2), "sample_batch() of a space without arities")
        return
    batch = space.sample_batch(rng, 50)
    _expect(batch.shape == (50, len(space.arities)), f"sample_batch(rng, 50) has shape {batch.shape}")
    for row in batch.tolist():
        _expect(tuple(row) in space, f"sample_batch() gave {row!r}, which is not in the space")


@_space_check
def sampling_is_uniform(make: MakeSpace) -> None:
    """Sampling is uniform (chi-square): over all architectures of a small space, else over the first decisions.

    In a space too large to count, each decision is uniform over its options; else an option is as likely as the
    architectures that begin with it are many.
    """
    space, rng = make(), np.random.default_rng(0)
    size = _size(space)
    if size <= SMALL_SPACE:
        drawn = [space.sample(rng) for _ in range(max(2000, 5 * size))]
        _expect_distribution(drawn, dict.fromkeys(space.enumerate(), 1.0), "sample()")
        return
    drawn = [space.sample(rng)[:1] for _ in range(4000)]
    n = space.arity(())
    counted = space.arities is None and size < sys.maxsize
    weights = [float(space._count((option,)) or 0) if counted else 1.0 for option in range(n)]
    _expect_distribution(drawn, {(option,): weights[option] for option in range(n)}, "first decision of sample()")
    if space.arities is not None:
        for i, column in enumerate(space.sample_batch(rng, 4000).T.tolist()):
            _expect_distribution(column, dict.fromkeys(range(space.arities[i]), 1.0), f"decision {i} of sample_batch()")


def _expect_distribution(drawn: Sequence[Any], weights: Mapping[Any, float], what: str) -> None:
    """Chi-square test at 5 standard deviations, by the Wilson-Hilferty approximation of its quantile."""
    total, freedom = sum(weights.values()), len(weights) - 1
    counts = dict.fromkeys(weights, 0)
    for outcome in drawn:
        _expect(outcome in counts, f"{what}: {outcome!r} is not among the {len(weights)} that there are")
        counts[outcome] += 1
    if freedom == 0:
        return
    expected = {key: len(drawn) * weight / total for key, weight in weights.items()}
    statistic = sum((counts[key] - mean) ** 2 / mean for key, mean in expected.items())
    limit = freedom * (1 - 2 / (9 * freedom) + 5 * math.sqrt(2 / (9 * freedom))) ** 3
    _expect(
        statistic <= limit,
        f"{what}: not uniform; chi-square {statistic:.1f} at {freedom} degrees of freedom exceeds {limit:.1f}",
    )


@_space_check
def mutation_changes_it(make: MakeSpace) -> None:
    """A mutant is another member of the space; only a space of one point gives it back unchanged."""
    space, rng = make(), np.random.default_rng(0)
    for architecture in _some(space, 100):
        mutant = space.mutate(architecture, rng)
        _expect(mutant in space, f"mutate({architecture!r}) gave {mutant!r}, which is not in the space")
        _expect(mutant != architecture or _size(space) == 1, f"mutate({architecture!r}) changed nothing")


@_space_check
def crossover_stays_in_it(make: MakeSpace) -> None:
    """A child is in the space, and the child of two equal parents is like them."""
    space, rng = make(), np.random.default_rng(0)
    architectures = _some(space, 100)
    for first, second in itertools.pairwise(architectures):
        child = space.crossover(first, second, rng)
        _expect(child in space, f"crossover({first!r}, {second!r}) gave {child!r}, which is not in the space")
        same = space.crossover(first, first, rng)
        _expect(same == first, f"crossover of {first!r} with itself gave {same!r}")


@_space_check
def neighbours_are_others(make: MakeSpace) -> None:
    """Neighbours are in the space, all different, and never the architecture itself."""
    space = make()
    for architecture in _some(space, 5):
        near = list(itertools.islice(space.neighbours(architecture), 1000))
        _expect(architecture not in near, f"{architecture!r} is among its own neighbours")
        _expect(len(set(near)) == len(near), f"neighbours({architecture!r}) gave an architecture twice")
        _expect(bool(near) or _size(space) == 1, f"neighbours({architecture!r}) gave none")
        for other in near:
            _expect(other in space, f"neighbours({architecture!r}) gave {other!r}, which is not in the space")


@_space_check
def decisions_keep_their_bounds(make: MakeSpace) -> None:
    """No architecture is longer than ``max_length``, no arity above ``max_options``; labels are distinct texts."""
    space = make()
    for architecture in _some(space, 50):
        arities = [space.arity(architecture[:i]) for i in range(len(architecture))]
        _expect(len(arities) <= space.max_length, f"{architecture!r} is longer than max_length {space.max_length}")
        _expect(max(arities) <= space.max_options, f"arities {arities} exceed max_options {space.max_options}")
        _expect(space.arity(architecture) == 0, f"arity({architecture!r}) must be 0, since it is complete")
        labels = [space.label(architecture[:i]) for i in range(len(architecture))]
        fine = all(isinstance(label, str) for label in labels) and len(set(labels)) == len(labels)
        _expect(fine, f"{architecture!r}: expected a different text as label of each decision, got {labels}")


@_space_check
def text_round_trip(make: MakeSpace) -> None:
    """``parse`` reads what ``format`` wrote."""
    space = make()
    for architecture in _some(space, 100):
        text = space.format(architecture)
        _expect(isinstance(text, str), f"format({architecture!r}) gave {text!r}, which is no text")
        back = space.parse(text)
        _expect(back == architecture, f"parse({text!r}) gave {back!r} for {architecture!r}")


@_space_check
def nonsense_is_refused(make: MakeSpace) -> None:
    """Text that is no architecture raises ``InvalidArchitecture``."""
    space = make()
    text = space.format(_some(space, 1)[0])
    for nonsense in ("", " ", "no such architecture", "-", "\0", "[1, 2", "{}", text + "?", "99" + text):
        _expect_raises(InvalidArchitecture, functools.partial(space.parse, nonsense), f"parse({nonsense!r})")


@_space_check
def wrong_architectures_are_outside(make: MakeSpace) -> None:
    """Too short, too long, an option out of range, a bool, a float, no tuple: not in the space."""
    space = make()
    for architecture in _some(space, 20):
        for wrong in _wrong(space, architecture):
            _expect(wrong not in space, f"{wrong!r} passes for a member of the space")
            if not isinstance(wrong, list):
                _expect_raises(InvalidArchitecture, functools.partial(space.validate, wrong), f"validate({wrong!r})")
        listed = space.validate(list(architecture)), space.validate(np.array(architecture))
        _expect(listed == (architecture,) * 2, f"validate() of {architecture!r} as list and as array gave {listed}")


def _wrong(space: Space, architecture: Architecture) -> Iterator[object]:
    yield from (architecture[:-1], (*architecture, 0), list(architecture), space.format(architecture), None)
    for i, option in enumerate(architecture):
        before, after = architecture[:i], architecture[i + 1 :]
        yield (*before, -1, *after)
        yield (*before, space.arity(before), *after)
        yield (*before, float(option), *after)
        if option in (0, 1):
            yield (*before, bool(option), *after)


@_space_check
def enumeration_is_complete(make: MakeSpace) -> None:
    """``enumerate`` gives different members in lexicographic order; of a small space as many as ``size`` says."""
    space = make()
    size = _size(space)
    members = list(itertools.islice(space.enumerate(), SMALL_SPACE + 1 if size <= SMALL_SPACE else 500))
    for member in members:
        _expect(member in space, f"enumerate() gave {member!r}, which is not in the space")
    for one, next_one in itertools.pairwise(members):
        _expect(one < next_one, f"enumerate() gave {next_one!r} after {one!r}")
    if size <= SMALL_SPACE:
        _expect(len(members) == size, f"size() is {size}, but enumerate() gave {len(members)}")


@_space_check
def canonical_is_a_stable_key(make: MakeSpace) -> None:
    """``canonical`` is hashable, and the same for an equal space and in a new process with another hash seed."""
    space, architectures = make(), _some(make(), 50)
    keys = [space.canonical(architecture) for architecture in architectures]
    _expect(len({hash(key) for key in keys}) > 0, "canonical() must be hashable")
    _expect_same(keys, [make().canonical(a) for a in architectures], "canonical() differs between equal spaces")
    there = _in_new_process(_canonical_forms, space, architectures)
    _expect_same(keys, there, "canonical() differs in a new process")


def _canonical_forms(space: Space, architectures: Sequence[Architecture]) -> list[object]:
    return [space.canonical(architecture) for architecture in architectures]


@_space_check
def encodings_tell_apart(make: MakeSpace) -> None:
    """``one_hot`` gives one row of finite numbers per architecture, of one width, different for different ones."""
    space, architectures = make(), _some(make(), 50)
    rows = space.one_hot(architectures)
    _expect(rows.ndim == 2 and len(rows) == 50, f"one_hot() of 50 architectures has shape {rows.shape}")
    _expect(bool(np.isfinite(rows).all()), "one_hot() gave numbers that are not finite")
    alone = space.one_hot(architectures[:1])
    _expect(bool(np.array_equal(alone, rows[:1])), "one_hot() of an architecture depends on the others in the batch")
    different = len(np.unique(rows, axis=0)), len(set(architectures))
    _expect(different[0] == different[1], f"{different[1]} different architectures have {different[0]} encodings")


@_space_check
def graph_can_be_drawn(make: MakeSpace) -> None:
    """``graph`` gives an acyclic directed graph whose nodes carry a text as ``label``."""
    import networkx

    space = make()
    for architecture in _some(space, 20):
        graph = space.graph(architecture)
        _expect(networkx.is_directed_acyclic_graph(graph), f"graph({architecture!r}) is no acyclic directed graph")
        for node, label in graph.nodes(data="label"):
            _expect(isinstance(label, str), f"graph({architecture!r}): node {node!r} has the label {label!r}, no text")


@_space_check
def same_generator_same_draws(make: MakeSpace) -> None:
    """Sampling and variation depend on the given generator only, also after pickling."""
    space = make()
    for twin in (make(), pickle.loads(pickle.dumps(space))):
        _expect_same(_draws(space), _draws(twin), "equal generators, other draws")


def _draws(space: Space) -> list[Architecture]:
    rng = np.random.default_rng(4)
    drawn = [space.sample(rng) for _ in range(30)]
    drawn += [space.mutate(architecture, rng) for architecture in drawn[:30]]
    return drawn + [space.crossover(one, other, rng) for one, other in zip(drawn[:30], drawn[30:], strict=True)]


@_space_check
def space_leaves_global_generators(make: MakeSpace) -> None:
    """The global generators of ``random``, NumPy and PyTorch are neither read nor written."""
    _expect_no_globals(lambda: _draws(make()))


@_space_check
def equal_spaces_hash_alike(make: MakeSpace) -> None:
    """Spaces with the same settings are equal and have equal hashes, also after pickling; others differ."""
    space = make()
    for twin in (make(), pickle.loads(pickle.dumps(space))):
        _expect(space == twin, "a space with the same settings, or its pickled copy, is not equal to it")
        _expect(hash(space) == hash(twin), "equal spaces have different hashes")
    other = OnePointSpace() if not isinstance(space, OnePointSpace) else FixedSpace()
    _expect(space != other, f"it is equal to {type(other).__name__}")


@_space_check
def space_round_trip(make: MakeSpace) -> None:
    """Settings are readable as attributes, and a space rebuilt from them is equal and draws the same."""
    space = make()
    twin = _expect_round_trip(space)
    _expect(space == twin, "rebuilt from its description, it is another space")
    _expect_same(_draws(space), _draws(twin), "rebuilt from its description, it draws something else")


@_space_check
def networks_are_built_right(make: MakeSpace) -> None:
    """Networks of a trainable space give logits, get their values from the seed, and are parts of its super-network.

    Spaces without ``network`` are left alone.
    """
    space = make()
    if not isinstance(space, Trainable):
        return
    import torch

    from archsearch.network import InputShape, build

    shape, images = InputShape((1, 8, 8), 3), torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for architecture in _some(space, 2):
        networks = [build(functools.partial(space.network, architecture, shape), seed).eval() for seed in (0, 0, 1)]
        first, again, other = (network(images) for network in networks)
        _expect(tuple(first.shape) == (2, 3), f"2 images of 3 classes give logits of the shape {tuple(first.shape)}")
        _expect(torch.equal(first, again), "one seed gives two networks: build(make, seed) must decide all values")
        _expect(not torch.equal(first, other), "two seeds give the same network")
        if isinstance(space, SharedWeights):
            shared = build(functools.partial(space.super_network, shape), 2).eval()
            weights = shared.state_dict()
            for name, value in networks[0].state_dict().items():
                _expect(name in weights, f"the super-network has no parameter {name!r} of the stand-alone network")
                value.copy_(weights[name][tuple(map(slice, value.shape))])  # leading part, where that is wider
            alike = torch.allclose(networks[0](images), shared(images, architecture), rtol=1e-4, atol=1e-5)
            _expect(alike, "with the super-network's weights, the stand-alone network computes something else")
