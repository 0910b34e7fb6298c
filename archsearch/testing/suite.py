"""What all suites share: checks by name, what they expect, and how a failure is told."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from archsearch.controller import Controller
from archsearch.errors import UsageError
from archsearch.evaluator import Evaluator
from archsearch.model import Model
from archsearch.space import Space

if TYPE_CHECKING:
    from archsearch.task import Task

__all__ = ["CONTROLLER_CHECKS", "EVALUATOR_CHECKS", "MODEL_CHECKS", "SPACE_CHECKS", "TASK_CHECKS", "ContractError"]

MakeController = Callable[[], Controller]
MakeEvaluator = Callable[[], Evaluator]
MakeModel = Callable[[], Model]
MakeSpace = Callable[[], Space]
MakeTask = Callable[[], "Task"]
Result = TypeVar("Result")

CONTROLLER_CHECKS: dict[str, Callable[[MakeController], None]] = {}
EVALUATOR_CHECKS: dict[str, Callable[[MakeEvaluator, Space], None]] = {}
MODEL_CHECKS: dict[str, Callable[[MakeModel], None]] = {}
SPACE_CHECKS: dict[str, Callable[[MakeSpace], None]] = {}
TASK_CHECKS: dict[str, Callable[[MakeTask], None]] = {}


class ContractError(AssertionError):
    """A component breaks its contract.

    Args:
        message: What fails, a line each.
        failures: The error of each failed check, by name.

    Attributes:
        failures: The error of each failed check, by name; empty if a single check raised this.
    """

    def __init__(self, message: str, failures: Mapping[str, Exception] | None = None) -> None:
        super().__init__(message)
        self.failures = dict(failures or {})


def check_all(
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


def expect(condition: bool, message: str) -> None:
    # Not ``assert``: the suite must not become silent under ``python -O``.
    if not condition:
        raise ContractError(message)


def expect_raises(expected: type[Exception], action: Callable[[], object], what: str) -> Exception:
    try:
        answer = action()
    except expected as error:
        return error
    except Exception as error:
        raise ContractError(f"{what}: expected {expected.__name__}, got {_explain(error)}") from error
    raise ContractError(f"{what}: expected {expected.__name__}, but it gave {answer!r}")


def controller_check(check: Callable[[MakeController], None]) -> Callable[[MakeController], None]:
    CONTROLLER_CHECKS[check.__name__] = check
    return check


def evaluator_check(check: Callable[[MakeEvaluator, Space], None]) -> Callable[[MakeEvaluator, Space], None]:
    EVALUATOR_CHECKS[check.__name__] = check
    return check


def model_check(check: Callable[[MakeModel], None]) -> Callable[[MakeModel], None]:
    MODEL_CHECKS[check.__name__] = check
    return check


def space_check(check: Callable[[MakeSpace], None]) -> Callable[[MakeSpace], None]:
    SPACE_CHECKS[check.__name__] = check
    return check


def task_check(check: Callable[[MakeTask], None]) -> Callable[[MakeTask], None]:
    TASK_CHECKS[check.__name__] = check
    return check
