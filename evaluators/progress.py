"""A training in a user's own function: where it reports, what it keeps, and where it goes on.

The state of a training is one file in the evaluator's folder, named by the trial that began it: the reports so far,
what ``Progress.keep`` was given, and the global generators. Files that the function writes lie in a folder beside it.
A file is replaced whole, so a process that is killed leaves the last one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from archsearch.errors import ArchsearchError, UsageError
from archsearch.evaluators.answers import as_evaluation
from archsearch.evaluators.global_generators import global_states, restore_globals, seeded
from archsearch.evaluators.kept_state import pack, put_back, state_of, unpack
from archsearch.files.checksums import Damaged
from archsearch.files.notes import tell_damage
from archsearch.training.checkpoints import ANEW, forget_oldest, read_checkpoint, write_checkpoint
from archsearch.trial import COST_FIELDS, NO_COST, NO_METRICS, Budget, Cost, Evaluation, Query

RESTORED = "progress.restored"


class Enough(BaseException):
    """Leaves a function whose budget is spent; none of its ``except Exception`` stops that."""


@dataclasses.dataclass
class _Reports:
    """What was reported.

    Attributes:
        curve: The scores, higher is better.
        metrics: Of the last report.
        spent: What the reports of this trial say that they cost.
        ended: Whether the function came to its end.
    """

    curve: list[float] = dataclasses.field(default_factory=list)
    metrics: Mapping[str, float] = dataclasses.field(default_factory=lambda: NO_METRICS)
    spent: Cost = NO_COST
    ended: bool = False


class Progress:
    """What a function that trains is given as its parameter ``progress``.

    Attributes:
        done: Reports that were made before, by the training that goes on here; 0: it begins.
        stop: Report after which the function will be left; None: it runs to its end.
        seed: The evaluation's.
    """

    def __init__(self, query: Query, home: Path | None, higher_is_better: bool, save_every: float) -> None:
        budget = query.budget or Budget(0)
        self.stop, self.seed = budget.stop or None, query.seed
        self._query, self._start = query, budget.start
        self._higher_is_better, self._save_every = higher_is_better, save_every
        name = f"{query.id if budget.origin is None else budget.origin:d}"
        self._file = None if home is None or query.id == -1 else home / f"{name}.safetensors"
        self._own = None if self._file is None else self._file.with_suffix("")
        self._temporary = contextlib.ExitStack()
        self._keeps: dict[str, Any] = {}
        self._written: str | None = None  # by the function, in its folder
        self._reports = _Reports()
        self._before: dict[str, Any] = {}  # of a training that goes on: its state
        self._untaken: set[str] = set()  # names of what the function has to take of that before it reports
        self._go_on()
        self.done = len(self._reports.curve)
        self._saved_at = time.monotonic()

    # -- what the function uses ----------------------------------------------------------------------

    def keep(self, **things: Any) -> None:
        """Says what a checkpoint holds; if the training goes on, brings all of it to where it was.

        Call it last before the loop: the global generators are brought there, too.

        Args:
            things: By name: anything with ``state_dict`` and ``load_state_dict``, generators of PyTorch, NumPy and
                Python, dicts and lists.

        Raises:
            TypeError: If something cannot be kept.
            ArchsearchError: If the checkpoint was of other things.
        """
        for name, thing in things.items():
            state_of(thing, name)
        self._keeps |= things
        if not self.done:
            return
        kept = self._before["kept"]
        if strange := sorted(things.keys() - kept.keys()):
            raise ArchsearchError(
                f"progress.keep: expected what the checkpoint has, {', '.join(sorted(kept)) or 'nothing'}, got "
                f"{', '.join(strange)}; if the function has changed, start a new run"
            )
        for name, thing in things.items():
            put_back(thing, kept[name])
        restore_globals(self._before["globals"])
        self._untaken -= things.keys()

    @property
    def restored(self) -> Path | None:
        """The file or folder that was written for the last report, if the training goes on; else None.

        Read it last before the loop: the global generators are brought to where they were, too.
        """
        if self._written is None or not self.done:
            return None
        restore_globals(self._before["globals"])
        self._untaken.discard(RESTORED)
        return self.folder / self._written

    @property
    def folder(self) -> Path:
        """A folder for files of this training; for a search in its run folder, else a temporary one."""
        if self._own is None:
            self._own = Path(self._temporary.enter_context(tempfile.TemporaryDirectory(prefix="archsearch-")))
        self._own.mkdir(exist_ok=True)
        return self._own

    def report(
        self, step: int, score: Any, save: Callable[[Path], object] | None = None, saved: str | Path | None = None
    ) -> None:
        """Reports a score; where the budget is spent, it does not return: the function is left.

        Args:
            step: Number of the report, from 1.
            score: As a function may yield it.
            save: Writes a checkpoint of the function's own to a path that does not exist, as a file or a folder; it is
                called where a checkpoint is due.
            saved: A checkpoint that the function has written already, in ``folder``.

        Raises:
            ArchsearchError: If it is not the next report.
        """
        expected = len(self._reports.curve) + 1
        if step != expected:
            raise ArchsearchError(
                f"progress.report: step: expected {expected}, since {expected - 1} were reported before, got {step!r}; "
                "begin the loop at progress.done, and count reports from 1"
            )
        self._take(score, "the reported score", save, saved)

    # -- what the evaluator uses ---------------------------------------------------------------------

    def follow(self, call: Callable[[], Any]) -> Evaluation:
        """Calls a function that reports or yields, up to its end or that of the budget."""
        with self._temporary, seeded(self.seed):
            if not self._is_enough():
                with contextlib.suppress(Enough):
                    self._drive(call())
                    self._end()
        reports = self._reports
        if not reports.curve:
            raise ArchsearchError("the function ended without a score; yield one, or call progress.report")
        return Evaluation(reports.curve[-1], reports.metrics, reports.spent, tuple(reports.curve))

    def _drive(self, answer: Any) -> None:
        if not isinstance(answer, Iterator):
            return
        try:
            for value in answer:
                self._take(value, "the yielded value")
        finally:
            if isinstance(answer, Generator):  # its own clean-up is done now, not when it is collected
                answer.close()

    def _take(
        self, value: Any, what: str, save: Callable[[Path], object] | None = None, saved: str | Path | None = None
    ) -> None:
        if self._untaken:
            raise ArchsearchError(
                f"the training goes on after report {self.done}, but the function did not take what was kept, "
                f"{', '.join(sorted(self._untaken))}; call progress.keep, or read {RESTORED}, before the first report"
            )
        found, reports = as_evaluation(value, what, self._higher_is_better), self._reports
        reports.curve.append(found.score)
        reports.metrics = found.metrics
        if found.cost is not NO_COST:
            reports.spent += found.cost
        if not math.isfinite(found.score):  # the search makes a failure of it
            raise Enough
        enough = self._is_enough()
        if enough or saved is not None or time.monotonic() - self._saved_at >= self._save_every:
            self._save(save, saved)
        if enough:
            raise Enough

    def _is_enough(self) -> bool:
        return self._reports.ended or (self.stop is not None and len(self._reports.curve) >= self.stop)

    def _end(self) -> None:
        """The function came to its end by itself: nothing goes on but, where that was early, its last score."""
        self._reports.ended = True
        if self._file is None:
            return
        if self.stop is None:
            forget(self._file)
        elif self._file.exists() or self._keeps:
            write_checkpoint(self._file, {}, self._facts())

    # -- files ---------------------------------------------------------------------------------------

    def _save(self, save: Callable[[Path], object] | None, saved: str | Path | None) -> None:
        """Writes a checkpoint, if there is where, and the function keeps anything."""
        if self._file is None or not (self._keeps or save or saved):
            return
        tensors: dict[str, torch.Tensor] = {}
        before, facts = self._written, self._facts()
        if save is not None:
            self._written = f"report-{len(self._reports.curve)}"
            _remove(self.folder / self._written)
            save(self.folder / self._written)
        elif saved is not None:
            self._written = self._below(saved)
        facts["written"] = self._written
        states = {name: state_of(thing, name) for name, thing in self._keeps.items()}
        facts["kept"] = {name: pack(state, name, tensors) for name, state in states.items()}
        facts["globals"] = pack(global_states(), "globals", tensors)
        write_checkpoint(self._file, tensors, facts)
        if save is not None and before is not None and before != self._written:
            _remove(self.folder / before)
        self._saved_at = time.monotonic()

    def _below(self, saved: str | Path) -> str:
        path = Path(saved).resolve()
        if not path.is_relative_to(self.folder.resolve()) or not path.exists():
            raise UsageError(f"progress.report: saved: expected something in progress.folder, got {saved}")
        return str(path.relative_to(self.folder.resolve()))

    def _facts(self) -> dict[str, Any]:
        reports, query = self._reports, self._query
        return {
            "architecture": list(query.architecture),
            "seed": query.seed,
            "trial": query.id,
            "start": self._start,
            "curve": reports.curve,
            "metrics": dict(reports.metrics),
            "spent": dataclasses.asdict(reports.spent),
            "ended": reports.ended,
        }

    def _go_on(self) -> None:
        """Takes up what is there of this training, or clears it away where it is of another one."""
        if self._file is None:
            return
        found = read_checkpoint(self._file, ANEW)
        try:
            if found is None or not self._fits(found.facts):
                forget(self._file)
                return
            facts = found.facts
            spent = Cost(**{name: float(facts["spent"][name]) for name in COST_FIELDS})
            curve = [float(score) for score in facts["curve"]]
            self._reports = _Reports(curve, facts["metrics"], spent, facts["ended"])
            if facts["trial"] != self._query.id:
                self._reports.spent = NO_COST
            else:  # the seconds of a try that failed are billed with it
                self._reports.spent = dataclasses.replace(spent, device_seconds=0.0)
            if not self._is_enough():
                kept = {name: unpack(packed, found.tensors) for name, packed in facts["kept"].items()}
                self._before = {"globals": unpack(facts["globals"], found.tensors), "kept": kept}
                self._written = facts.get("written")
                self._untaken = {*kept, *([RESTORED] if self._written is not None else ())}
        except (Damaged, LookupError, TypeError, ValueError, AttributeError) as error:
            tell_damage(self._file, error, ANEW)
            self._reports, self._before = _Reports(), {}
            forget(self._file)

    def _fits(self, facts: Mapping[str, Any]) -> bool:
        """Whether a training goes on from these facts: at the start of this trial, or where it was broken off."""
        query, done = self._query, len(facts["curve"])
        if facts["architecture"] != list(query.architecture) or facts["seed"] != query.seed:
            return False
        if facts["trial"] == query.id and facts["start"] == self._start:
            return self.stop is None or done <= self.stop
        return done == self._start or (facts["ended"] is True and done <= self._start)


def forget(file: Path) -> None:
    """Deletes what there is of a training: its file, and the folder beside it."""
    file.unlink(missing_ok=True)
    _remove(file.with_suffix(""))


def forget_all_but(folder: Path, keep: int) -> None:
    """Deletes all trainings but the ``keep`` that were written or read last."""
    for file in forget_oldest(folder, keep):
        _remove(file.with_suffix(""))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
