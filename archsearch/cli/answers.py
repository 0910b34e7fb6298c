"""What a command answers: lines for people, or, with ``--json``, one document for programs.

``docs/answers.schema.json`` says what is in the document of each command; ``docs/scripts.md`` explains it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from archsearch.basics.descriptions import json_value
from archsearch.trial import Trial

if TYPE_CHECKING:
    from archsearch.running.result import Result
    from archsearch.showing.verified import Verification

OPTION = "--json"


class Answer(NamedTuple):
    """How a command ended.

    Attributes:
        text: What it says to people; empty: it has said so already.
        document: The same for programs; ``json_value`` makes plain data of it.
        status: Its exit status.
        then: What it goes on with once that was said, until it is interrupted.
    """

    text: str
    document: Mapping[str, Any]
    status: int = 0
    then: Callable[[], None] | None = None


def trial_document(trial: Trial, name: str) -> dict[str, Any]:
    """One trial, with its architecture's name in the space's own notation."""
    return {
        "trial": trial.id,
        "architecture": trial.architecture,
        "name": name,
        "score": trial.score,
        "budget": trial.budget.stop if trial.budget else None,
        "metrics": trial.metrics,
    }


def result_document(result: Result, out: str) -> dict[str, Any]:
    """What a search found."""
    counts = {name: getattr(result, name) for name in ("completed", "failed", "reused", "rejected", "thinned")}
    return {
        "out": out,
        "best": None if result.best is None else trial_document(result.best, result.best_name or ""),
        "trials": counts,
        "stopped": result.stopped,
        "seed": result.seed,
        "seconds": result.seconds,
        "cost": result.cost.amounts(),
        "setup_cost": result.setup_cost.amounts(),
        "faults": result.faults,
        "note": result.note,
        "certainty": None if result.certainty is None else result.certainty.document(),
    }


def verification_document(verification: Verification) -> dict[str, Any]:
    """What a verification found, in the new order."""
    names = ("rank", "trial", "architecture", "name", "search_score", "search_budget", "score", "metrics", "failure")
    return {
        "number": verification.number,
        "evaluator": verification.evaluator,
        "seed": verification.seed,
        "sentence": verification.sentence,
        "kendall_tau": verification.kendall_tau,
        "outdated": verification.outdated,
        "certainty": None if verification.standing is None else verification.standing.document(),
        "cost": verification.cost.amounts(),
        "setup_cost": verification.set_up.amounts(),
        "architectures": [{name: getattr(each, name) for name in names} for each in verification.ranked],
    }


def write_document(command: str, answer: Answer) -> None:
    """Prints the document: the command and its exit status first."""
    whole = {"command": command, "status": answer.status, **answer.document}
    print(json.dumps(json_value(whole), allow_nan=False), flush=True)


def without_option(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments without ``--json``, and whether it was among them."""
    return [each for each in arguments if each != OPTION], OPTION in arguments


@contextlib.contextmanager
def nothing_else() -> Iterator[None]:
    """Meanwhile, what is printed, also by child processes, goes to standard error instead of standard output."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a process may have none of the two
            stack.enter_context(_stream_1_to_2())
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


@contextlib.contextmanager
def _stream_1_to_2() -> Iterator[None]:
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
