"""Repeats of a training that are done: kept, so that a trial that is tried again trains only what was not.

In the evaluator's folder if there is one, since the next try may come to another worker, else in this process. They
are forgotten once the trial's evaluation is returned.
"""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict
from pathlib import Path

from archsearch.basics.seeding import stream
from archsearch.files.notes import read_note, write_note
from archsearch.trial import Query

MOST = 256
"""Trials whose repeats are kept, those that failed last."""

_SUFFIX = "-repeats.json"


@dataclasses.dataclass(frozen=True)
class Finished:
    """What one training of an architecture came to.

    Attributes:
        score: Validation accuracy, in percent.
        curve: The same after each epoch.
        valid_loss: Cross-entropy on the validation part.
        train_loss: Mean loss over the last epoch; NaN if there was no update.
        valid_metric: The task's metric on the validation part.
        test_metric: That on the test part; NaN if it was not asked for.
        examples: Training examples that were seen.
        updates: Parameter updates.
        macs: Multiply-adds.
    """

    score: float
    curve: tuple[float, ...]
    valid_loss: float
    train_loss: float = math.nan
    valid_metric: float = math.nan
    test_metric: float = math.nan
    examples: int = 0
    updates: int = 0
    macs: int = 0


class Repeats:
    """The repeats of trials that are under way, or failed.

    Attributes:
        folder: Where to keep them; None: in memory.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._known: OrderedDict[Query, list[Finished]] = OrderedDict()

    def of(self, query: Query) -> list[Finished]:
        """Those of a trial that are done, the first ones."""
        path = self._path(query)
        if path is None:
            return list(self._known.get(query, ()))
        note = read_note(path, ("trial", "repeats"), f"the repeats of trial {query.id} are trained anew")
        if note is None or note["trial"] != _identity(query):
            return []
        return [Finished(**{**each, "curve": tuple(each["curve"])}) for each in note["repeats"]]

    def keep(self, query: Query, done: list[Finished]) -> None:
        """Keeps those of a trial that are done so far."""
        path = self._path(query)
        if path is not None:
            write_note(path, {"trial": _identity(query), "repeats": [dataclasses.asdict(each) for each in done]})
            self._prune(path.parent)
            return
        self._known[query] = list(done)
        self._known.move_to_end(query)
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def forget(self, query: Query) -> None:
        """Forgets those of a trial, which is done."""
        path = self._path(query)
        if path is not None:
            path.unlink(missing_ok=True)
        self._known.pop(query, None)

    def _prune(self, folder: Path) -> None:
        """Deletes what is left of trials that failed for good, but for the newest; others may do so meanwhile."""
        paths = list(folder.glob(f"[0-9]*{_SUFFIX}"))
        if len(paths) > MOST:
            for path in sorted(paths, key=lambda path: int(path.name.partition("-")[0]))[:-MOST]:
                path.unlink(missing_ok=True)

    def _path(self, query: Query) -> Path | None:
        """The file of a trial; a query outside a search (its id is -1) is no trial."""
        return None if self.folder is None or query.id == -1 else self.folder / f"{query.id}{_SUFFIX}"


def _identity(query: Query) -> list[object]:
    """A query as JSON reads it."""
    return [list(query.architecture), query.seed, None if query.budget is None else list(query.budget)]


def repeat_seed(seed: int, repeat: int) -> int:
    """The seed of a repeat, from 0; the first has the query's own, so that more repeats do not change it."""
    return seed if repeat == 0 else int(stream(seed, f"repeat {repeat}").integers(2**63))
