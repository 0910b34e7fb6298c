"""A study is run: by a search over its cells, in as many sessions as it takes.

    studies/NAME/
      sessions/001/      a run folder: which cells it was to fill, and those that it has filled
      sessions/001.json  of which file that was, and when
      finding.json       what came out, without the cells
      cells.parquet      the cells

A cell that any session has filled counts as long as its measure is the same, with all settings and files that it reads:
so a study goes on where it was stopped, and a setting or more seeds that are added later cost only their own cells.
Those that failed are tried again by the next session.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from archsearch.components import describe
from archsearch.executors.executor import Executor
from archsearch.files.fingerprints import fingerprints_of
from archsearch.files.notes import read_note, write_note
from archsearch.keeping.stored_run import StoredRun
from archsearch.keeping.trust import with_new_settings
from archsearch.running.scoring import Listed
from archsearch.running.search import resume, search
from archsearch.running.settings import ExecutorName
from archsearch.studies.finding import Cell, Finding, Session
from archsearch.studies.records import save
from archsearch.studies.study import Study

SESSIONS = "sessions"


class _Stored(NamedTuple):
    """A session on disk."""

    run: StoredRun
    config: Mapping[str, Any]
    facts: Session

    @property
    def listed(self) -> int:
        """Cells that it was to fill."""
        return len(self.config["controller"]["init_args"]["architectures"])


def run_study(
    study: Study,
    out: str | Path = "studies",
    *,
    executor: ExecutorName | Executor = "local",
    workers: int = 1,
    progress: bool = False,
) -> Finding:
    """Fills the cells of a study that are not filled yet, and says what comes of all of them.

    Args:
        study: What ``read_study`` gave.
        out: Folder of all studies; this one's has its name.
        executor: See ``search``.
        workers: See ``search``.
        progress: Whether to show a progress bar on standard error.

    Raises:
        KeyboardInterrupt: If it was interrupted; what was measured is kept, and the next call goes on.
        RunFolderError: If the folder cannot be used, or another process is running this study.
    """
    folder = Path(out) / study.name
    try:
        stopped = _go_on(study, folder, executor, workers, progress)
    finally:
        finding = collected(study, out)
        if any(_sessions(folder)):  # else it could not even begin
            save(finding, folder)
    if stopped:
        raise KeyboardInterrupt
    return finding


def _go_on(study: Study, folder: Path, executor: ExecutorName | Executor, workers: int, progress: bool) -> bool:
    """Fills what is missing; returns whether it was interrupted."""
    every: dict[str, Any] = {"executor": executor, "workers": workers, "progress": progress}
    stored = list(_sessions(folder))
    if stored and _unfinished(stored[-1], study):
        path = stored[-1].run.path
        result = resume(path, space=study.space, evaluator=study.evaluator, **every)
        if result.stopped == "interrupted":
            return True
    missing = _missing(study, folder)
    if not missing:
        return False
    # What the claim compares comes first: a verdict needs no more. Of the rest all settings under one seed before the
    # next, so that a study that is stopped has the same seeds of all.
    compared = () if study.question is None else study.question.compare
    aside = [name not in compared for name in study.measures]
    order = sorted(missing, key=lambda cell: (aside[cell[0]], cell[1], cell[0]))
    path = folder / SESSIONS / f"{len(stored) + 1:03d}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_note(path.with_suffix(".json"), {"digest": study.digest, "date": datetime.date.today().isoformat()})
    result = search(
        study.space,
        Listed([list(each) for each in order]),
        study.evaluator,
        trials=len(order),
        max_failures=len(order) + 1,  # one setting that fails must not keep the others from being measured
        seed=0,
        out=path,
        **every,
    )
    return result.stopped == "interrupted"


def _unfinished(session: _Stored, study: Study) -> bool:
    """Whether a session can go on: what it asks is what the study still asks."""
    config = session.config
    same = config["space"] == describe(study.space) and config["evaluator"] == describe(study.evaluator)
    unchanged = (config.get("fingerprints") or {}) == fingerprints_of(evaluator=study.evaluator)
    return same and unchanged and session.listed > sum(1 for _ in session.run.trials(0))


def _missing(study: Study, folder: Path) -> list[tuple[int, int]]:
    filled = {(cell.setting, cell.seed) for cell in _cells(study, folder)}
    settings = enumerate(study.measures)
    every = itertools.product(settings, range(study.seeds))
    return [(number, seed) for (number, name), seed in every if (name, seed) not in filled]


def collected(study: Study, out: str | Path = "studies") -> Finding:
    """What is known of a study by now, whoever is running it."""
    folder = Path(out) / study.name
    found: dict[tuple[str, int], Cell] = {(cell.setting, cell.seed): cell for cell in _cells(study, folder)}
    sessions = {session.facts for session in _sessions(folder)}
    order = [found[each] for each in itertools.product(study.measures, range(study.seeds)) if each in found]
    used = {cell.session for cell in order}
    return Finding.of(study, order, sorted(each for each in sessions if each.number in used))


def _sessions(folder: Path) -> Iterator[_Stored]:
    for path in sorted((folder / SESSIONS).glob("[0-9]*")):
        if not (path / "config.yaml").exists():
            continue
        run = StoredRun(path)
        config = run.config()
        note = read_note(path.with_suffix(".json"), ("digest", "date"), "of which file it was is not known") or {}
        versions = ", ".join(f"{name} {version}" for name, version in config.get("versions", {}).items())
        facts = Session(int(path.name), note.get("digest", ""), note.get("date", ""), versions)
        yield _Stored(run, config, facts)


def _cells(study: Study, folder: Path) -> Iterator[Cell]:
    """The cells of this study that sessions have filled."""
    asked = fingerprints_of(evaluator=study.evaluator)
    places = {name: _read_by(asked, number) for number, name in enumerate(study.measures)}
    for session in _sessions(folder):
        config = session.config
        stored = config["evaluator"]["init_args"]["measures"]
        names = list(stored)
        same = {
            name
            for number, name in enumerate(names)
            if name in study.measures
            and _read_by(config.get("fingerprints") or {}, number) == places[name]
            and with_new_settings(stored[name], study.measures[name]) == describe(study.measures[name])
        }
        for trial in session.run.trials(0):
            setting, seed = names[trial.architecture[0]], trial.architecture[1]
            if trial.evaluation is not None and setting in same and seed < study.seeds:
                yield Cell(setting, seed, dict(trial.metrics), trial.cost, session.facts.number)


def _read_by(fingerprints: Mapping[str, str], number: int) -> dict[str, str]:
    """What one of the measures reads from outside."""
    begin = f"evaluator.each.{number}."
    return {name.removeprefix(begin): each for name, each in fingerprints.items() if name.startswith(begin)}
