"""The promises of controllers."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import random
import sys
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from archsearch.components import build, describe
from archsearch.controller import Controller
from archsearch.errors import UnknownProposal, UsageError
from archsearch.testing.looking import (
    default,
    expect_in_space,
    expect_no_globals,
    expect_round_trip,
    expect_same,
    in_new_process,
)
from archsearch.testing.suite import (
    CONTROLLER_CHECKS,
    MakeController,
    check_all,
    controller_check,
    expect,
    expect_raises,
)
from archsearch.testing.toys import (
    AHEAD,
    SPACES,
    TRIALS,
    ConditionalSpace,
    FixedSpace,
    OnePointSpace,
    SeparableSpace,
    VariableLengthSpace,
    completed,
    failing_every,
    score,
    scored,
    search,
    started,
)
from archsearch.trial import Architecture, Evaluation, Proposal

LEARNING_SEEDS = 10
LEARNING_TRIALS = 400
LEARNING_MARGIN = 0.1
"""A controller that learns beats random search by this much, in the mean best score (0 to 1) over 10 seeds."""

SHORT_HISTORY, LONG_HISTORY = 1000, 3000
"""Trials after which cost is measured: by the longer one, populations of up to 1,000 members are full in both."""

GROWTH = 1.2
"""Function calls per trial and size of the state may be larger by this factor after the long history."""


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
    check_all(CONTROLLER_CHECKS, make, (), skip)


# -- controllers ---------------------------------------------------------------------------------


@controller_check
def default_settings_work(make: MakeController) -> None:
    """A controller whose settings all have defaults runs with them, as users start it."""
    search(started(lambda: default(make())), 20)


@controller_check
def proposals_lie_in_the_space(make: MakeController) -> None:
    """Every proposal is a member of the space: of fixed length, conditional, of variable length."""
    for space in (each() for each in SPACES):
        controller = started(make, space)
        expect_in_space(search(controller, 120, ahead=AHEAD) + controller.ask(20), space, "asked")


@controller_check
def ask_returns_n(make: MakeController) -> None:
    """``ask(n)`` gives n proposals, however large n is; n < 1, or asking before ``start``, is a ``UsageError``."""
    controller = started(make)
    for n in (1, 2, 7, 300):
        got = len(controller.ask(n))
        expect(got == n, f"ask({n}) gave {got} proposals")
    expect_raises(UsageError, lambda: controller.ask(0), "ask(0)")
    expect_raises(UsageError, lambda: make().ask(), "ask() before start()")


@controller_check
def ids_rise_by_one(make: MakeController) -> None:
    """Ids are 0, 1, 2, ... whatever is asked and told in between, and a parent is an earlier id."""
    controller = started(make)
    proposals = controller.ask(3) + search(controller, 120) + controller.ask(7) + controller.ask()
    expect_same(range(131), [proposal.id for proposal in proposals], "ids must rise by one from 0")
    for proposal in proposals:
        earlier = proposal.parent is None or 0 <= proposal.parent < proposal.id
        expect(earlier, f"proposal {proposal.id} names {proposal.parent!r} as its parent, which is no earlier one")


@controller_check
def same_seed_same_proposals(make: MakeController) -> None:
    """Two searches with the same seed and the same results propose the same, well past the initial population."""
    first, second = search(started(make), TRIALS), search(started(make), TRIALS)
    expect_same(first, second, "same seed, same results, other proposals")


@controller_check
def other_seed_other_proposals(make: MakeController) -> None:
    """The seed matters: the first 20 proposals of two seeds are not all the same."""
    one, other = ([proposal.architecture for proposal in started(make, seed=s).ask(20)] for s in (1, 2))
    expect(one != other, "seeds 1 and 2 gave the same 20 proposals; draw from self.rng")


@controller_check
def start_begins_afresh(make: MakeController) -> None:
    """A second ``start`` forgets the first search, even one in another space."""
    controller = started(make, VariableLengthSpace(), seed=5)
    search(controller, 120, ahead=AHEAD)
    controller.start(FixedSpace(), 1)
    expect(not controller.pending, f"start() left {len(controller.pending)} proposals of the last search pending")
    expect_same(search(started(make), 150), search(controller, 150), "start() did not forget the last search")


@controller_check
def global_generators_untouched(make: MakeController) -> None:
    """The global generators of ``random``, NumPy and PyTorch are neither read nor written."""
    expect_no_globals(lambda: search(started(make), TRIALS))


@controller_check
def same_in_a_new_process(make: MakeController) -> None:
    """A fresh process with another ``PYTHONHASHSEED`` proposes the same, so no order of a set plays a part."""
    description = describe(make())
    here, there = _proposals_of(description), in_new_process(_proposals_of, description)
    expect_same(here, there, "a new process with another hash seed proposes something else")


def _proposals_of(description: dict[str, Any]) -> list[Proposal]:
    return search(started(lambda: build(description, trust=True), ConditionalSpace()), TRIALS)


@controller_check
def resume_equals_not_stopping(make: MakeController) -> None:
    """A controller restored from its state, with results still due, goes on exactly as one that never stopped."""
    for space in (FixedSpace(), VariableLengthSpace()):
        for trials in (0, 130):
            controller, due = started(make, space), deque[Proposal]()
            search(controller, trials, pending=due, ahead=AHEAD)
            state = json.dumps(controller.state_dict())
            restored = started(make, space, seed=2)
            restored.load_state_dict(json.loads(state))
            expect(restored.pending == controller.pending, "the restored controller lost pending proposals")
            going_on = search(controller, 120, pending=deque(due), ahead=AHEAD)
            resumed = search(restored, 120, pending=deque(due), ahead=AHEAD)
            expect_same(
                going_on, resumed, f"resumed after {trials} trials in {type(space).__name__}, it goes another way"
            )


@controller_check
def state_is_plain_data(make: MakeController) -> None:
    """The state is JSON data, survives JSON and pickle, is a snapshot, and is left alone by who loads it."""
    controller = started(make)
    search(controller, 120, ahead=AHEAD)
    state = controller.state_dict()
    _expect_json(state, "state_dict()")
    text = json.dumps(state)
    expect(json.dumps(pickle.loads(pickle.dumps(state))) == text, "state_dict() does not survive pickling")
    restored = started(make, seed=2)
    loaded = json.loads(text)
    restored.load_state_dict(loaded)
    expect(json.dumps(restored.state_dict()) == text, "state_dict() after load_state_dict(state) differs from state")
    search(controller, 120)
    search(restored, 120)
    expect(json.dumps(state) == text, "the dictionary that state_dict() gave changes as the search goes on; copy")
    expect(json.dumps(loaded) == text, "the dictionary given to load_state_dict() changes as the search goes on; copy")


def _expect_json(value: object, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            expect(isinstance(key, str), f"{where}: the key {key!r} is no string, and JSON would make it one")
            _expect_json(item, f"{where}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for item in value:
            _expect_json(item, f"{where}[...]")
    else:
        plain = value is None or type(value) in (bool, int, float, str)
        expect(plain, f"{where}: a {type(value).__name__} is no JSON data")


@controller_check
def results_in_any_order(make: MakeController) -> None:
    """Results may come in any order, in parts, or not at all, as on a cluster: asking goes on."""
    space = VariableLengthSpace()
    silent = started(make, space)
    expect_in_space(search(silent, 300, ahead=300), space, "no result told")
    controller, rng = started(make, space), random.Random(3)
    due: list[Proposal] = []
    for _ in range(30):
        due += controller.ask(9)
        rng.shuffle(due)
        controller.tell([completed(proposal) for proposal in due[:5]])
        del due[:5]
    expect({p.id: p.architecture for p in due} == controller.pending, "pending is not what was asked but not told")
    expect_in_space(due, space, "results told in another order")


@controller_check
def failures_never_stop_it(make: MakeController) -> None:
    """The search goes on when trials fail, even when all do, and a failed trial is nobody's parent."""
    space = FixedSpace()
    for failing, share in ((1, "all"), (3, "every third")):
        controller = started(make, space)
        proposals = search(controller, TRIALS, answer=failing_every(failing))
        expect_in_space(proposals, space, f"{share} failed")
        for proposal in proposals:
            fine = proposal.parent is None or proposal.parent % failing != 0
            expect(fine, f"proposal {proposal.id} was derived from trial {proposal.parent}, which failed")


@controller_check
def invalid_scores_count_as_failures(make: MakeController) -> None:
    """NaN and infinite scores change nothing that a failure would not: they are never a parent, never the best."""
    invalid = itertools.cycle((math.nan, math.inf, -math.inf))
    first = search(started(make), TRIALS, answer=failing_every(3, lambda p: scored(p, next(invalid))))
    second = search(started(make), TRIALS, answer=failing_every(3))
    expect_same(second, first, "scores of NaN and infinity do not act like failures")


@controller_check
def unknown_results_raise(make: MakeController) -> None:
    """A result that was never asked for, or was told before, raises ``UnknownProposal``; the search can go on."""
    controller = started(make)
    proposal, *_ = controller.ask(3)
    expect_raises(UnknownProposal, lambda: controller.tell([completed(proposal._replace(id=999))]), "never asked")
    controller.tell([completed(proposal)])
    expect_raises(UnknownProposal, lambda: controller.tell([completed(proposal)]), "told twice")
    expect_in_space(search(controller, 5), FixedSpace(), "after the errors")


@controller_check
def arguments_unchanged(make: MakeController) -> None:
    """``tell`` and ``start`` leave what they are given as it was, and the lists that come back are the caller's."""
    space = FixedSpace()
    controller = started(make, space)
    for _ in range(15):
        proposals = controller.ask(10)
        trials = [completed(p)._replace(evaluation=Evaluation(score(p.architecture), {"loss": 1.0})) for p in proposals]
        kept, metrics = list(trials), [dict(trial.metrics) for trial in trials]
        controller.tell(trials)
        expect(trials == kept, "tell() changed or reordered the list it was given")
        expect([trial.metrics for trial in trials] == metrics, "tell() changed the metrics of a trial")
        proposals.clear()
    proposals = controller.ask(2)
    controller.pending.clear()
    controller.tell([completed(proposal) for proposal in proposals])
    expect(space == FixedSpace(), "the controller changed the space")


@controller_check
def one_point_and_constant(make: MakeController) -> None:
    """A space with a single architecture, and scores that are all equal, are searched like any other."""
    space, point = FixedSpace(), OnePointSpace()
    expect_in_space(search(started(make, point), 120), point, "one-point space")
    flat = search(started(make, space), 120, answer=lambda p: scored(p, 0.5))
    expect_in_space(flat, space, "constant scores")


@controller_check
def beats_random_search(make: MakeController) -> None:
    """A controller that learns beats random search with late, lost and shuffled results; others ignore results.

    Mean best score of 10 seeds with 400 trials each in ``SeparableSpace``, where scores run from 0 to 1: at least 0.1
    above random search. With ``learns = False``, what is newly proposed must not depend on the results; which trainings
    go on may.
    """
    if not make().learns:
        one = _begun(search(started(make), TRIALS))
        other = _begun(search(started(make), TRIALS, answer=lambda p: scored(p, -score(p.architecture))))
        both = min(len(one), len(other))
        expect_same(one[:both], other[:both], "learns is False, yet the proposals depend on the results")
        return
    space = SeparableSpace()
    ours, random_search = [], []
    for seed in range(LEARNING_SEEDS):
        rng = np.random.default_rng(seed)
        random_search.append(max(score(space.sample(rng)) for _ in range(LEARNING_TRIALS)))
        ours.append(_best_asynchronous(started(make, space, seed), random.Random(seed)))
    ahead = sum(ours) / LEARNING_SEEDS - sum(random_search) / LEARNING_SEEDS
    expect(
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
            trial = completed(due.pop(rng.randrange(len(due))))
            best = max(best, trial.score or 0.0)
            controller.tell([trial])
    return best


@controller_check
def cost_stays_flat(make: MakeController) -> None:
    """Neither the function calls per trial nor, but for what it states, the size of the state grow with the history."""
    controller = started(make)
    asked = 0
    calls, sizes = [], []
    for trials in (SHORT_HISTORY, LONG_HISTORY):
        while asked < trials:
            controller.tell([completed(proposal) for proposal in controller.ask(20)])
            asked += 20
        calls.append(_count_calls(lambda: search(controller, 100)))
        asked += 100
        sizes.append(len(json.dumps(controller.state_dict())))
    stated = controller.state_per_trial * (LONG_HISTORY - SHORT_HISTORY)
    for what, (short, long), more in (
        ("function calls in 100 trials", calls, 0),
        ("bytes of state", sizes, stated),
    ):
        expect(
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


@controller_check
def settings_round_trip(make: MakeController) -> None:
    """Settings are readable as attributes, and a controller rebuilt from them proposes the same."""
    controller = make()
    twin = expect_round_trip(controller)
    same = search(started(lambda: controller), 120), search(started(lambda: twin), 120)
    expect_same(*same, "rebuilt from its description, it proposes something else")
