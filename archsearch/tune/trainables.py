"""An evaluator as a trainable of Ray Tune."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search.repeater import TRIAL_INDEX

from archsearch.basics.seeding import evaluation_seed
from archsearch.errors import ArchsearchError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.evaluating import prepare
from archsearch.executors.ray.worker import evaluate_unattended
from archsearch.space import Space
from archsearch.trial import Budget, Query
from archsearch.tune.searcher import LONGEST

# -- evaluators as trainables ------------------------------------------------------------------------


def trainable(
    evaluator: Evaluator,
    space: Space,
    lengths: Sequence[int] | None = None,
    folder: str | Path | None = None,
) -> Callable[[dict[str, Any]], None]:
    """A function for Tune that evaluates the architecture of a configuration.

    It reports ``score`` (higher is better), the evaluator's metrics, ``billed_seconds`` so far and, where the evaluator
    can stop at given lengths of training, does so after each of them, so that Tune's schedulers can stop the trial;
    ``length`` says after which. ``training_iteration``, by which schedulers count, is the number of the report.

    Of a configuration it uses ``architecture`` (the space's text, needed), ``proposal``, ``parent``, ``seed`` and the
    index that ``Repeater`` sets: each repetition has its own seed. ``ControllerSearch`` makes such configurations.

    A failed evaluation raises an error in the trial. A trial that Tune begins again is trained from the start.

    Args:
        evaluator: Who scores; its one-off work is done now, in this process.
        space: Where its architectures come from.
        lengths: Where to stop and report, rising, in the evaluator's unit (epochs for ``Training``). None: wherever it
            can, if these are a limited number; else, as for evaluators that score in one go, one report.
        folder: Where an evaluator that keeps files has them; all workers must see it. None: a temporary one for each
            trial, so that nothing is handed from one trial to another, as ``Inherit`` needs.

    Raises:
        UsageError: If the evaluator cannot score this space, cannot stop at these lengths, or learns on as the
            search goes.
    """
    evaluator.start(space)
    if evaluator.interval:
        raise UsageError(
            f"trainable: {type(evaluator).__name__} learns on after every {evaluator.interval} trials, which Tune's "
            "trials cannot wait for; set that to 0, or use search() with RayExecutor"
        )
    stops = _lengths(evaluator, lengths)
    kept = Path(folder).absolute() if folder is not None and evaluator.keeps_files else None
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        evaluator.folder = kept
    prepare(evaluator)
    evaluator.folder = None

    def train(config: dict[str, Any]) -> None:
        query, repetition = _query(config, space)
        with _folder(evaluator, kept, repetition):
            _evaluate(evaluator, query, stops)

    return train


def _lengths(evaluator: Evaluator, lengths: Sequence[int] | None) -> tuple[int, ...]:
    """The lengths of training after which to report; empty: it is evaluated in one go."""
    if lengths is not None:
        if not all(isinstance(n, int) and n >= 1 for n in lengths) or sorted(set(lengths)) != list(lengths):
            raise UsageError(f"trainable: lengths: expected whole numbers >= 1, rising, got {lengths!r}")
        evaluator.check_budgets(lengths)
        return tuple(lengths)
    found = tuple(n for n in range(1, LONGEST + 1) if _stops_at(evaluator, n))
    return () if LONGEST in found else found


def _stops_at(evaluator: Evaluator, length: int) -> bool:
    try:
        evaluator.check_budgets([length])
    except UsageError:
        return False
    return True


def _query(config: Mapping[str, Any], space: Space) -> tuple[Query, int]:
    """What a configuration asks for, and which repetition of it this is."""
    if not isinstance(config.get("architecture"), str):
        raise UsageError(
            f"trainable: expected a configuration with the architecture's text under 'architecture', got {config!r}; "
            "use ControllerSearch, or have Tune choose among such texts"
        )
    seed, repetition = int(config.get("seed", 0)), int(config.get(TRIAL_INDEX, 0))
    if repetition:
        seed = evaluation_seed(seed, repetition)
    architecture = space.parse(config["architecture"])
    return Query(int(config.get("proposal", 0)), architecture, seed, config.get("parent")), repetition


@contextlib.contextmanager
def _folder(evaluator: Evaluator, kept: Path | None, repetition: int) -> Iterator[None]:
    """Gives an evaluator that keeps files a folder for one trial; repetitions would overwrite each other's files."""
    with contextlib.ExitStack() as stack:
        if evaluator.keeps_files:
            folder = kept or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="archsearch-")))
            evaluator.folder = Evaluator.folder_in(folder, f"repetition-{repetition}") if repetition else folder
            stack.callback(setattr, evaluator, "folder", None)
        yield


def _evaluate(evaluator: Evaluator, query: Query, stops: Sequence[int]) -> None:
    """Evaluates, length by length, and reports each time; Tune ends it there if a scheduler wants that."""
    begun, billed = 0, 0.0
    for stop in stops or (None,):
        budget = None if stop is None else Budget(stop, begun, query.id if begun else None)
        (outcome,) = evaluate_unattended(evaluator, [query._replace(budget=budget)])
        if outcome.evaluation is None:
            raise ArchsearchError(f"{outcome.failure}: {outcome.error}")
        score, metrics, cost, _ = outcome.evaluation
        billed += cost.billed_seconds or outcome.seconds
        report = {**metrics, "score": score, "billed_seconds": billed}
        tune.report(report if stop is None else {**report, "length": stop})
        begun = stop or 0
