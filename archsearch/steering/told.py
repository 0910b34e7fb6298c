"""What a search is told before it begins: results of older runs in the same space, from which its controller learns.

They are no trials of this search. A run folder keeps them (``told.parquet``), so that a resume tells the same, whatever
has become of where they came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.components import describe, one_line
from archsearch.controller import Controller
from archsearch.errors import ArchsearchError, RunFolderError, UsageError
from archsearch.files.checksums import Damaged
from archsearch.files.parquet import read_parquet, write_parquet
from archsearch.files.tables import numbers, read_table
from archsearch.keeping.columns import BUDGET_COLUMNS, REPEAT, RESERVED_COLUMNS, table_to_trials, trials_to_table
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.history import History
from archsearch.keeping.trust import with_new_settings
from archsearch.space import Space
from archsearch.trial import Architecture, Budget, Evaluation, Trial

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "told.parquet"
"""In the folder of a run that was told something."""

Told = "str | Path | History | pa.Table | Sequence[Trial]"
"""One source of results; see ``told_trials``."""


def told_trials(sources: Any, space: Space, controller: Controller) -> list[Trial]:
    """Results of older runs, as a controller can be told them: failures, then the worst, the best last.

    Left out are repeats, which no controller hears of, and, for a controller that knows no budgets, trainings that are
    shorter than the longest of their source: their scores cannot be compared.

    Args:
        sources: One or a list of: the path of a run folder; the path of a Parquet or CSV file with a column
            ``architecture`` (options) or ``name`` (the space's notation), and ``score``, empty where it failed;
            an Arrow table of the same; a ``History``; trials. None: nothing.
        space: In which the architectures have to be.
        controller: Who is to be told.

    Raises:
        UsageError: If a source is none of these, or of another space.
    """
    found: list[Trial] = []
    for where, trials in ((name_of_source(each), _read(each, space)) for each in listed(sources)):
        kept = [trial for trial in trials if trial.repeat_of is None]
        if not controller.budgets:
            longest = max((trial.budget.stop for trial in kept if trial.budget), default=None)
            kept = [trial for trial in kept if trial.budget is None or trial.budget.stop == longest]
        for place, trial in enumerate(kept):
            if trial.architecture not in space:
                raise UsageError(
                    f"told: {where}: the architecture of row {place}, {trial.architecture!r:.80}, is not in "
                    f"{type(space).__name__}; expected results of the space that is searched"
                )
        found += kept
    # The worst first: where a controller keeps the newest only, such as a population that ages, these are the best.
    return [trial._replace(id=place, parent=None) for place, trial in enumerate(sorted(found, key=_worst_first))]


def _worst_first(trial: Trial) -> tuple[bool, tuple[int, float]]:
    return trial.evaluation is not None, trial.rank


def listed(sources: Any) -> list[Any]:
    """Sources one by one."""
    if sources is None:
        return []
    if isinstance(sources, (list, tuple)) and not all(isinstance(each, Trial) for each in sources):
        return list(sources)
    return [sources]


def name_of_source(source: Any) -> str:
    """How a source is called in messages and in ``config.yaml``."""
    return str(source) if isinstance(source, (str, Path)) else f"a {type(source).__name__}"


def _read(source: Any, space: Space) -> Sequence[Trial]:
    if isinstance(source, (str, Path)):
        return _folder(Path(source), space) if Path(source).is_dir() else _table(_file(str(source)), str(source), space)
    if isinstance(source, History):
        _check_space(describe(source.space), "the history", space)
        return list(source)
    if isinstance(source, (list, tuple)):  # of trials, by ``listed``
        return source
    import pyarrow as pa

    if isinstance(source, pa.Table):
        return _table(source, "the table", space)
    raise UsageError(
        f"told: expected a run folder, a Parquet or CSV file, a table, a History or trials, got {type(source).__name__}"
    )


def _folder(path: Path, space: Space) -> Sequence[Trial]:
    folder = RunFolder(path)
    config = folder.config()
    _check_space(config["space"], str(path), space)
    return list(folder.trials(config["seed"]))


def _check_space(stored: Mapping[str, Any], where: str, space: Space) -> None:
    here, there = describe(space), with_new_settings(stored, space)
    if here != there:
        raise RunFolderError(
            f"told: {where} is of another space: expected {one_line(here)}, got {one_line(there)}; tell a search what "
            "was found in the space that it searches"
        )


def _file(path: str) -> pa.Table:
    return read_table(path, ["score"], text=["name", "architecture"])


def _table(table: pa.Table, where: str, space: Space) -> Sequence[Trial]:
    """The trials of a table: of a history with all it has, of any other what its columns say."""
    by = next((column for column in ("architecture", "name") if column in table.column_names), None)
    if by is None or "score" not in table.column_names:
        had = ", ".join(table.column_names)
        raise UsageError(f"told: {where}: expected columns score, and architecture or name; it has {had}")
    scores = numbers(table, "score", where)
    metrics = {
        name: numbers(table, name, where)
        for name in table.column_names
        if name not in RESERVED_COLUMNS and _holds_numbers(table, name)
    }
    budgets, repeats = (
        table[name].to_pylist() if name in table.column_names else [] for name in (BUDGET_COLUMNS["stop"], REPEAT)
    )
    trials = []
    for row, given in enumerate(table[by].to_pylist()):
        figures = {name: column[row] for name, column in metrics.items() if column[row] is not None}
        evaluation = None if scores[row] is None else Evaluation(scores[row], figures)
        trial = Trial(row, _architecture(given, f"told: {where}: row {row}", space), None, evaluation)
        trials.append(
            trial._replace(
                failure="" if evaluation else "exception",
                budget=Budget(int(budgets[row])) if budgets and budgets[row] is not None else None,
                repeat_of=repeats[row] if repeats else None,
            )
        )
    return trials


def _holds_numbers(table: pa.Table, name: str) -> bool:
    import pyarrow as pa

    kind = table.schema.field(name).type
    some = pa.types.is_floating(kind) or pa.types.is_integer(kind)
    return bool(some and table[name].null_count < table.num_rows)


def _architecture(given: Any, where: str, space: Space) -> Architecture:
    try:
        if isinstance(given, str):
            return space.parse(given)
        return space.validate(tuple(given))
    except (ArchsearchError, TypeError) as error:
        raise UsageError(f"{where}: {error}") from None


def facts_of(sources: Any, trials: Sequence[Trial]) -> dict[str, Any]:
    """What ``config.yaml`` says of what a run was told; nothing, if it was told nothing."""
    if sources is None:
        return {}
    return {"told": {"from": [name_of_source(each) for each in listed(sources)], "trials": len(trials)}}


# -- in a run folder ---------------------------------------------------------------------------


def keep(folder: Path, trials: Sequence[Trial], space: Space) -> None:
    """Writes what a run was told into its folder."""
    write_parquet(folder / FILE, trials_to_table(trials, space))


def kept(folder: Path, count: int) -> Iterator[Trial]:
    """What ``keep`` wrote.

    Args:
        folder: The run folder.
        count: How many trials the run's ``config.yaml`` says that it was told.

    Raises:
        RunFolderError: If it is not there, or damaged: the path of the search is not known without it.
    """
    path = folder / FILE
    try:
        table = read_parquet(path)
        if table.num_rows != count:
            raise Damaged(f"expected {count:,} rows, got {table.num_rows:,}")
    except (OSError, Damaged) as error:
        raise RunFolderError(
            f"{path}: what this run was told before it began cannot be read ({error}), and without it its path is not "
            "known; 'archsearch report' shows its trials, start a new search"
        ) from None
    return table_to_trials(table, 0)
