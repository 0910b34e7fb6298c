"""The settings of a search, written once: names, types, defaults, meaning, and what may be given.

A function that has them takes ``settings: Settings | None = None`` and, for those who would rather write keywords,
``**options: Unpack[SettingOptions]``; ``settled`` makes settings of either. Editors and type checkers read
``SettingOptions``: names and types once more, since they cannot derive them; a test keeps the two equal. ``documented``
has ``help`` and ``inspect.signature`` show the same.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

from archsearch.basics.checks import at_least_one, number, whole_number
from archsearch.errors import UsageError
from archsearch.executors.executor import FAILURES
from archsearch.limits import Limit, checked_limits
from archsearch.limits.limits import LATENCY
from archsearch.racing.certainty import FEWEST, Certainty, certainty_of
from archsearch.trial import Trial

ExecutorName = Literal["local", "ray", "simulated"] | str
"""The executors by name, or the import path of a class of one's own."""
Duplicates = Literal["evaluate", "reuse"]
Listener = Callable[[Trial], object]
Kind = TypeVar("Kind")
Function = TypeVar("Function", bound=Callable[..., Any])

DEFAULT_RETRIES: Mapping[str, int] = {"worker_died": 3, "out_of_memory": 1}
ENDS = ("trials", "max_seconds", "max_cost", "target")
"""Settings of which one must be given, else a search would never stop."""


class EndOptions(TypedDict, total=False):
    """Those of the fields of ``Settings`` as keywords that say how long a search goes on, whatever it is made of."""

    trials: int | None
    max_cost: float | None
    max_failures: int


class SettingOptions(EndOptions, total=False):
    """The fields of ``Settings`` as keywords."""

    max_seconds: float | None
    target: float | None
    duplicates: Duplicates
    limits: Mapping[str, Limit] | None
    latency_table: str | Path | None
    thin: float | None
    batch: int
    lag: int | None
    timeout: float | None
    retries: Mapping[str, int] | None
    certainty: Certainty | Mapping[str, float] | float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """When a search stops and how it treats failures and repeats.

    Args:
        trials: Stop after this many completed trials.
        max_seconds: Stop when the run's clock (virtual for ``simulated``) reaches this many seconds; what fails then is
            not tried again.
        max_cost: Stop when all tries, failed ones included, have billed this many seconds; the trial that crosses the
            limit counts, and what fails then is not tried again. With several workers, what is under way at that moment
            is dropped, and not billed.
        target: Stop when the best trial (of those trained longest) scores at least this.
        duplicates: ``evaluate`` scores an architecture again whenever it is proposed; ``reuse`` answers an architecture
            whose canonical form was scored before from memory: free of charge, no trial. Nor is asked for again what
            was refused, or failed twice in the same way.
        limits: The most that figures of ``Evaluator.measure`` may be, by name, such as ``{"flops": 330e6}``, or the
            least and the most: ``{"params": (1e6, 2e6)}``, ``"between 1e6 and 2e6"``, ``"at least 1e6"``. A proposal
            beyond a limit is never evaluated: the controller hears of a failure, free of charge, and there is no trial.
        latency_table: Parquet or CSV file that gives ``latency_seconds``, as the sum over an architecture's decisions:
            columns decision (``space.label``; empty: the fixed part), option and seconds.
        thin: Share, above 0 and below 1, of the proposals that are likely to fail, by what failed so far, that is
            refused: the controller hears of a failure, free of charge, and there is no trial. Nor is more than that
            share of all proposals refused. None: nothing is.
        batch: Proposals that are asked for and evaluated together, >= 1, for evaluators to which that is cheaper. Ray:
            in each call of a worker. A controller hears of none of them before it has proposed all.
        lag: Ask for trial k only when all results up to k - lag have been told, in id order. The path of the search
            then depends on the seed alone, not on the number of workers. None: as results come.
        timeout: Seconds after which one evaluation is given up.
        retries: How often a failed evaluation is tried again, by kind: exception, invalid_score, timeout, worker_died,
            out_of_memory. Kinds that are not named keep the default: 3 for worker_died, 1 for out_of_memory, else 0.
        max_failures: Give up after this many failed trials in a row, with the error of the first.
        certainty: How sure to be of the winner: an error rate, such as 0.05, or ``{error: 0.05, share: 0.2}``. The
            share of the budget is kept for scoring the best again under other seeds, which counts as evaluations, and
            the result says which cannot be told from the best. None: the best is the highest single score.

    Raises:
        UsageError: If a value is out of range, or nothing would ever stop the search.
    """

    trials: int | None = None
    max_seconds: float | None = None
    max_cost: float | None = None
    target: float | None = None
    duplicates: Duplicates = "evaluate"
    limits: Mapping[str, Limit] | None = None
    latency_table: str | Path | None = None
    thin: float | None = None
    batch: int = 1
    lag: int | None = None
    timeout: float | None = None
    retries: Mapping[str, int] | None = None
    max_failures: int = 10
    certainty: Certainty | Mapping[str, float] | float | None = None

    def __post_init__(self) -> None:
        if all(getattr(self, name) is None for name in ENDS):
            raise UsageError("nothing would stop this search: give trials, max_seconds, max_cost or target")
        # What is infinite or NaN never stops a search; what is no limit is left out.
        for name in ("trials", "batch", "lag", "max_failures"):
            self._take(name, at_least_one)
        for name in ("max_seconds", "max_cost", "timeout"):
            self._take(name, functools.partial(number, above=0))
        self._take("thin", functools.partial(number, above=0, below=1))
        self._take("target", number)
        if self.duplicates not in ("evaluate", "reuse"):
            raise UsageError(f"duplicates: expected 'evaluate' or 'reuse', got {self.duplicates!r}")
        object.__setattr__(self, "limits", checked_limits(self.limits))
        if self.latency_table is not None:
            if LATENCY not in (self.limits or ()):
                raise UsageError(f"latency_table: it gives {LATENCY}, so set a limit on that, such as 0.02")
            # A run may be resumed from another directory.
            object.__setattr__(self, "latency_table", str(Path(self.latency_table).absolute()))
        if self.retries is not None:
            object.__setattr__(self, "retries", _checked_retries(self.retries))
        object.__setattr__(self, "certainty", self._checked_certainty(certainty_of(self.certainty)))

    def _checked_certainty(self, certainty: Certainty | None) -> Certainty | None:
        if certainty is None or certainty.share == 0.0:
            return certainty
        if self.trials is None and self.max_cost is None and self.max_seconds is None:
            raise UsageError(
                "certainty: a share of what? give trials, max_cost or max_seconds, or share=0, which repeats nothing"
            )
        if self.trials is not None and certainty.kept(self.trials) < FEWEST:
            raise UsageError(
                f"certainty: a share of {certainty.share:g} of {self.trials:,} trials is {certainty.kept(self.trials)} "
                f"repeats; expected at least {FEWEST}: a larger share, more trials, or share=0, which repeats nothing"
            )
        return certainty

    def _take(self, name: str, check: Callable[[str, str, Any], Any]) -> None:
        """Checks a number, where it is given, and keeps Python's own of it."""
        if (value := getattr(self, name)) is not None:
            object.__setattr__(self, name, check("search", name, value))


def _checked_retries(retries: Mapping[str, int]) -> dict[str, int]:
    if not isinstance(retries, Mapping):
        raise UsageError(f"retries: expected kinds and numbers, such as {{'timeout': 1}}, got {retries!r}")
    if unknown := [kind for kind in retries if kind not in FAILURES]:
        raise UsageError(f"retries: expected whole numbers >= 0 for any of {', '.join(FAILURES)}, got {unknown[0]!r}")
    return {kind: whole_number("retries", kind, times) for kind, times in retries.items()}


# -- settings, or the same as keywords -----------------------------------------------------------


def settled(
    function: Callable[..., object], cls: type[Kind], settings: Kind | None, options: Mapping[str, Any]
) -> Kind:
    """The settings that were given to a function: as such, or as keywords.

    Args:
        function: Which; its signature has the options that there are, and their defaults.
        cls: The class of the settings.
        settings: As such; None: as the options say.
        options: By keyword.

    Raises:
        TypeError: If it has no such option.
        UsageError: If both were given, or settings of another kind.
    """
    parameters = inspect.signature(function).parameters
    if unknown := [name for name in options if name not in parameters]:
        close = difflib.get_close_matches(unknown[0], parameters, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise TypeError(f"{function.__name__}() got an unexpected keyword argument {unknown[0]!r}{hint}")
    if settings is not None:
        return given_once(function.__name__, cls, settings, options)
    defaults = {name: parameters[name].default for name in field_names(cls) if name in parameters}
    return cls(**{**defaults, **options})


def given_once(owner: str, cls: type[Kind], settings: Kind, options: Mapping[str, Any]) -> Kind:
    """``settings``, if they are some and no options are beside them; arguments as those of ``settled``.

    Raises:
        UsageError: If it is not so.
    """
    if not isinstance(settings, cls):
        raise UsageError(f"{owner}: settings: expected {cls.__name__}(...), got {settings!r:.80}")
    if options:
        raise UsageError(
            f"{owner}: {', '.join(options)}: given twice, by settings and by keyword; give one of the two, such as "
            f"settings=dataclasses.replace(settings, {next(iter(options))}=...)"
        )
    return settings


def documented(cls: type, options: type, **defaults: object) -> Callable[[Function], Function]:
    """Has ``help`` and ``inspect.signature`` of a function show each of its ``**options``, as the class has them.

    Args:
        cls: A dataclass of settings, with a docstring that has all.
        options: The ``TypedDict`` of those that the function takes.
        **defaults: Of the function, where they are others than those of the class.
    """
    texts = field_texts(cls)
    fields = [field for field in dataclasses.fields(cls) if field.name in options.__annotations__]

    def document(function: Function) -> Function:
        shown: Any = function
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        for field in fields:
            default = defaults.get(field.name, field.default)
            own.append(
                inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=field.type)
            )
        shown.__signature__ = signature.replace(parameters=own)
        lines = "\n".join(f"    {field.name}: {texts.get(field.name, '')}" for field in fields)
        doc = inspect.cleandoc(function.__doc__ or "")
        shown.__doc__ = re.sub(r"^    \*\*options: .*(\n {5,}.*)*", lambda _: lines, doc, flags=re.MULTILINE)
        return function

    return document


def field_names(cls: type) -> list[str]:
    """Of a dataclass, in their order."""
    return [field.name for field in dataclasses.fields(cls)]


def field_texts(cls: type) -> dict[str, str]:
    """What the docstring of a dataclass says of each field, with the line breaks that it has there."""
    arguments = inspect.cleandoc(cls.__doc__ or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
    entries = re.split(r"^    (\w+): ", arguments, flags=re.MULTILINE)[1:]
    return dict(zip(entries[::2], map(str.rstrip, entries[1::2]), strict=True))
