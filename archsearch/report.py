"""What people look at: the report of a run, an architecture as text and drawing, the list of components."""

from __future__ import annotations

import csv
import difflib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.components import KINDS, build, entry_points, load, one_line, summary
from archsearch.controller import Controller
from archsearch.damage import Notices, reads_folder
from archsearch.errors import (
    ArchsearchError,
    InvalidArchitecture,
    NotTrusted,
    RunFolderError,
    UnknownName,
    UsageError,
)
from archsearch.evaluator import Evaluator
from archsearch.history import RESERVED_COLUMNS, RunFolder
from archsearch.ledger import billed_seconds, ends, total_cost
from archsearch.lock import left_running
from archsearch.model import Model
from archsearch.page import aligned, heading, page, paragraph, picture, table, terms
from archsearch.space import Space
from archsearch.trial import Architecture
from archsearch.trust import refuse_links
from archsearch.words import plain, say

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from archsearch.pareto import Direction, Front
    from archsearch.verification import Verification

RECENT_TRIALS = 200
"""Trials from which the rate of a running search is taken."""

# -- the report of a run -----------------------------------------------------------------------


@reads_folder
def report(
    directory: str | Path,
    top: int = 10,
    objectives: Mapping[str, Direction] | None = None,
    *,
    trust: bool = False,
) -> Path:
    """Prints the best architectures of a run; writes the learning curve and one HTML page to ``DIRECTORY/report``.

    Args:
        directory: The run folder; the search may still be running. It can be anyone's: without ``trust`` no class is
            made that is not installed, and of a space that is none the best architecture is not drawn.
        top: How many architectures to list, >= 1.
        objectives: Names of the score or metrics of which to show the best compromises, each ``max`` or ``min``; None:
            those of the controller, if it has several.
        trust: See ``archsearch.resume``.

    Returns:
        The page.

    Raises:
        RunFolderError: If there is no run, no trial has completed, or links lead out of the folder.
        UsageError: If ``top`` is below 1, or an objective is no column of the trials.
    """
    from archsearch.pareto import front_of
    from archsearch.verification import newest_verification  # which needs best_rows

    if top < 1:
        raise UsageError(f"top: expected at least 1, got {top}")
    folder = RunFolder(directory)
    config = folder.config()
    refuse_links(folder.path, trust=trust)
    space = _space_or_none(folder, config, trust)
    table = folder.table(space)
    rows = best_rows(table, top)
    if not rows:
        raise RunFolderError(f"{directory}: {_why_nothing(folder)}, so there is nothing to report")
    facts = _facts(folder, config, table)
    objectives = objectives or _objectives(config, table)
    verification, front = newest_verification(folder, table), front_of(table, objectives) if objectives else None
    target = Path(directory) / "report"
    try:
        target.mkdir(exist_ok=True)
        _draw_curves(table, target, Path(directory).name)
        pictures = _draw_best(space, tuple(rows[0]["architecture"]), target)
        pictures |= _draw_front(front, target) | _draw_set_up(Path(directory), target, folder.notices)
        if folder.notices.lines:
            facts["damage"] = "; ".join(folder.notices.lines)
        page = target / "index.html"
        page.write_text(_page(Path(directory).name, facts, rows, target, pictures, verification, front, top))
    except OSError as error:
        raise RunFolderError(f"{target}: cannot write the report ({error.strerror})") from None
    _print_rows(rows, facts)
    if front is not None:
        say(f"front     {front}\n\n{aligned(_front_cells(front, top), left=-1)}\n")
    if verification is not None:
        say(f"{verification}\n")
    say(f"report    {page}")
    return page


def _why_nothing(folder: RunFolder) -> str:
    return folder.notices.lines[0] if folder.notices.lines else "no trial has completed yet"


def best_rows(table: pa.Table, top: int) -> list[dict[str, Any]]:
    """The completed trials with the highest scores (of those trained longest), one row per architecture, best first."""
    import pyarrow.compute as pc

    completed = table.filter(pc.equal(table["status"], "completed"))
    keys = [("score", "descending"), ("id", "ascending")]
    if "budget" in table.column_names:  # scores of unequally long trainings cannot be compared
        keys.insert(0, ("budget", "descending"))
    order = pc.sort_indices(completed, sort_keys=keys)
    rows: dict[str, dict[str, Any]] = {}
    for chunk in range(0, len(order), 1_000):
        for row in completed.take(order[chunk : chunk + 1_000]).to_pylist():
            rows.setdefault(row["name"], row)
            if len(rows) == top:
                return list(rows.values())
    return list(rows.values())


def _facts(folder: RunFolder, config: dict[str, Any], table: pa.Table) -> dict[str, str]:
    """What was run and what it cost, as text."""
    import pyarrow.compute as pc

    from archsearch.loop import NOTE, format_cost, format_faults

    failures = table.filter(pc.equal(table["status"], "failed"))["failure"].value_counts().to_pylist()
    facts = {what: component_text(config[what]) for what in ("space", "controller", "evaluator")}
    facts["trials"] = f"{len(table) - sum(f['counts'] for f in failures):,} completed"
    if folder.lost:
        facts["trials"] += f", {folder.lost:,} finished ones lost to damage"
    if failures:
        facts["failed"] = format_faults({f["values"]: f["counts"] for f in failures})
    setup_cost = folder.setup_cost()
    if faults := folder.faults():
        facts["faults"] = f"{format_faults(faults)} (in faults.jsonl)"
    facts["cost"] = format_cost(total_cost(table) + folder.pending_cost())
    facts["set-up"] = format_cost(setup_cost)
    note = folder.path / "evaluator" / NOTE
    if note.is_file():
        facts["note"] = note.read_text(encoding="utf-8", errors="replace")
    facts["seed"] = str(config["seed"])
    facts["executor"] = f"{config['executor']}, {config['workers']} worker{'s' if config['workers'] != 1 else ''}"
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in config["versions"].items())
    if folder.notices.lines:
        facts["damage"] = "; ".join(folder.notices.lines)
    return facts


def component_text(description: dict[str, Any]) -> str:
    """A component on one line, without arguments that are None; cut short where it is long."""
    text = one_line(without_none(description))
    return text if len(text) <= 300 else text[:297] + "..."


def without_none(value: Any) -> Any:
    """A description without the arguments that are None."""
    if not isinstance(value, dict) or "init_args" not in value:
        return value
    arguments = {name: without_none(each) for name, each in value["init_args"].items() if each is not None}
    return {**value, "init_args": arguments}


def _print_rows(rows: list[dict[str, Any]], facts: dict[str, str]) -> None:
    """Prints facts and the best rows as a table."""
    width = max(len(name) for name in facts) + 2
    for name in (
        "space",
        "controller",
        "evaluator",
        "trials",
        "failed",
        "faults",
        "damage",
        "cost",
        "set-up",
        "note",
        "seed",
    ):
        if name in facts:
            say(f"{name:<{width}}{plain(facts[name])}")
    columns = shown_columns(rows)
    cells = [["rank", *columns, "architecture"]]
    cells += [
        [str(rank), *(number_text(row[name]) for name in columns), row["name"]]
        for rank, row in enumerate(rows, start=1)
    ]
    say()
    say(aligned(cells, left=-1))
    say()


def shown_columns(rows: list[dict[str, Any]]) -> list[str]:
    """Columns of the history that a table of trials shows."""
    budget = ["budget"] if "budget" in rows[0] else []
    return ["id", "score", *budget, *(name for name in rows[0] if name not in RESERVED_COLUMNS)]


def number_text(value: Any) -> str:
    """A figure for people; a dash where there is none."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _draw_curves(table: pa.Table, target: Path, title: str) -> None:
    """The learning curve over trials, and over billed cost where there is some."""
    import numpy as np
    import pyarrow.compute as pc

    from archsearch.drawing import draw_learning_curve

    is_completed = pc.equal(table["status"], "completed")
    completed = table.filter(is_completed)
    scores = completed["score"].to_numpy()
    seconds = np.cumsum(billed_seconds(table))[np.asarray(is_completed)]
    best = _best_so_far(completed, scores)
    draw_learning_curve(target / "learning_curve.png", scores, best, xlabel="completed trials", title=title)
    draw_learning_curve(target / "learning_curve_cost.png", scores, best, title=title, seconds=seconds)


def _best_so_far(completed: pa.Table, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The best score after each trial: with budgets, of those trained longest, so that it may fall."""
    import numpy as np

    if "budget" not in completed.column_names:
        return np.asarray(np.maximum.accumulate(scores))
    best = np.empty(len(scores))
    longest, highest = 0, -np.inf
    for i, (budget, score) in enumerate(zip(completed["budget"].to_pylist(), scores, strict=True)):
        if (budget or 0) > longest:
            longest, highest = budget, -np.inf
        if (budget or 0) == longest:
            highest = max(highest, score)
        best[i] = highest
    return best


def _draw_best(space: Space | None, architecture: Architecture, target: Path) -> dict[str, str]:
    """The best architecture as a graph; names of pictures to their titles."""
    from archsearch.drawing import draw_graph

    if space is None:
        return {}
    draw_graph(space.graph(architecture), target / "best.png", title="best architecture")
    return {"Best architecture": "best.png"}


def _front_parts(front: Front, top: int) -> list[str]:
    head, *rows = _front_cells(front, top)
    return [heading("Best compromises"), paragraph(f"{front}."), table(head, rows, last_is_code=True)]


def _draw_front(front: Front | None, target: Path) -> dict[str, str]:
    """Draws the first two objectives, and how the hypervolume grew: title and file of each picture."""
    from archsearch.drawing import draw_columns, draw_front

    if front is None:
        return {}
    (first, second), points = list(front.objectives)[:2], front.points[:, :2]
    draw_front(target / "front.png", points[:, ::-1], front.on_front, (second, first))
    columns = dict(zip(("completed trials", "hypervolume"), front.growth.T.tolist(), strict=True))
    draw_columns(target / "hypervolume.png", columns, "share of the box that was seen")
    return {"Best compromises": "front.png", "Hypervolume by trials": "hypervolume.png"}


def _draw_set_up(directory: Path, target: Path, notices: Notices) -> dict[str, str]:
    """Draws what the evaluator noted of its preparation: title and file of each picture."""
    from archsearch.drawing import draw_columns

    pictures = {}
    for path in sorted((directory / "evaluator").glob("*.csv")):
        try:
            rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
            columns = list(zip(*([float(cell) for cell in row] for row in rows[1:]), strict=True))
            if len(rows) > 1 and len(columns) != len(rows[0]):
                raise ValueError("expected a figure for each column")
        except (OSError, ValueError, csv.Error) as error:
            notices.tell(path, f"is damaged ({error}): what was noted of the preparation is not shown")
            continue
        if len(rows) > 1:
            picture = f"set_up_{path.stem}.png"
            draw_columns(target / picture, dict(zip(rows[0], columns, strict=True)), path.stem)
            pictures[f"Set-up: {path.stem}"] = picture
    return pictures


def _page(
    name: str,
    facts: dict[str, str],
    rows: list[dict[str, Any]],
    target: Path,
    further: dict[str, str],
    verification: Verification | None,
    front: Front | None,
    top: int,
) -> str:
    """One self-contained HTML page."""
    columns = shown_columns(rows)
    cells = [[str(i), *(number_text(row[column]) for column in columns), row["name"]] for i, row in enumerate(rows, 1)]
    pictures = {
        "Learning curve by trials": "learning_curve.png",
        "Learning curve by billed cost": "learning_curve_cost.png",
        **further,
    }
    return page(
        name,
        terms(facts),
        heading("Best architectures"),
        table(["rank", *columns, "architecture"], cells, last_is_code=True),
        *([] if front is None else _front_parts(front, top)),
        *([] if verification is None else [verification.html()]),
        *(heading(title) + picture(target / file, title) for title, file in pictures.items()),
    )


# -- several objectives ------------------------------------------------------------------------


def _objectives(config: Mapping[str, Any], table: pa.Table) -> Mapping[str, Direction] | None:
    """The objectives of a run's controller, such as ``NSGA2``; None if it has one, or the trials lack them."""
    objectives = config["controller"]["init_args"].get("objectives")
    known = isinstance(objectives, Mapping) and set(objectives) <= set(table.column_names)
    return objectives if known and len(objectives) > 1 else None


def _front_cells(front: Front, top: int) -> list[list[str]]:
    """The best compromises as a table, its head first."""
    head = ["trial", *front.objectives, "architecture"]
    rows = [
        [str(row["id"]), *(number_text(row[name]) for name in front.objectives), row["name"]]
        for row in front.rows[:top]
    ]
    return [head, *rows]


# -- a search that is running ------------------------------------------------------------------


def _space_or_none(folder: RunFolder, config: Mapping[str, Any], trust: bool) -> Space | None:
    """The space of a run; None if it is not installed, and not trusted."""
    try:
        space: Space = build(config["space"], "spaces", trust=trust, where=str(folder.path / "config.yaml"))
    except NotTrusted:
        return None
    return space


@reads_folder
def status(directory: str | Path, *, trust: bool = False) -> str:
    """How far a search is, from its folder: progress, rate, failures, cost so far, expected end.

    Args:
        directory: The run folder; the search may be running, in another process. It can be anyone's: without ``trust``
            no class is made that is not installed, and where the space is none, options stand for new trials' names.
        trust: See ``archsearch.resume``.

    Raises:
        RunFolderError: If there is no run.
    """
    import numpy as np

    from archsearch.loop import format_seconds

    folder = RunFolder(directory)
    config, running = folder.config(), folder.in_use()
    table = folder.table(_space_or_none(folder, config, trust))
    facts = _facts(folder, config, table)
    ended = np.sort(ends(table))
    completed = int((np.asarray(table["status"]) == "completed").sum())
    limits = {name: config["settings"].get(name) for name in ("trials", "max_cost", "max_seconds", "target")}
    asked = ", ".join(f"{name} {value:,}" for name, value in limits.items() if value is not None)
    state = "running" if running else "not running"
    if left_running(folder.path / "lock"):
        state += f"; killed, or ended by its evaluator: 'archsearch resume {directory}' goes on (--isolate: in safety)"
    lines = {"state": state, "trials": f"{facts['trials']}; stops at {asked}"}
    lines |= {name: facts[name] for name in ("failed", "faults", "damage") if name in facts}
    recent = ended[-RECENT_TRIALS:]
    if len(recent) > 1 and recent[-1] > recent[0]:
        rate = (len(recent) - 1) / float(recent[-1] - recent[0])
        lines["rate"] = f"{rate:,.3g} trials a second on the run's clock, of the last {len(recent):,}"
        if limits["trials"] is not None and completed < limits["trials"]:
            left = (limits["trials"] - completed) * len(table) / max(completed, 1) / rate
            lines["left"] = f"{limits['trials'] - completed:,} trials, about {format_seconds(left)}"
    if rows := best_rows(table, 1):
        lines["best"] = f"{number_text(rows[0]['score'])} (trial {rows[0]['id']}), {rows[0]['name']}"
    lines |= {name: facts[name] for name in ("cost", "set-up", "executor")}
    return "\n".join(f"{name:<10}{plain(text)}" for name, text in lines.items())


# -- one architecture --------------------------------------------------------------------------


def show(what: str, space: Space, trial: int | None = None, out: str | None = None, *, trust: bool = False) -> str:
    """An architecture as text; drawn, too, if ``out`` is given.

    Args:
        what: A run folder, or an architecture in the space's notation (or its options, such as ``3-0-1``).
        space: The space, if ``what`` is no run folder.
        trial: Of a run folder: the id of a trial; None for the best.
        out: A ``.png`` or ``.svg`` file.
        trust: Of a run folder, see ``archsearch.resume``.

    Raises:
        NotTrusted: If a run folder's space is not installed, and not trusted.
        UsageError: If there is no such architecture, trial or kind of picture.
    """
    from archsearch.drawing import draw_graph, text_graph

    lines = []
    if (Path(what) / "config.yaml").exists():
        space, row = _trial_of_run(what, trial, trust)
        architecture = tuple(row["architecture"])
        metrics = [f"{plain(name)} {number_text(row[name])}" for name in shown_columns([row]) if row[name] is not None]
        lines.append(f"trial      {', '.join(metrics)}")
    elif trial is not None:
        raise UsageError(f"{what}: --trial goes with a run folder")
    else:
        architecture = _read(what, space)
    lines.insert(0, f"name       {plain(space.format(architecture))}")
    lines.append(f"decisions  {'-'.join(map(str, architecture))}")
    canonical = space.canonical(architecture)
    if canonical != architecture:
        lines.append(f"canonical  {plain(str(canonical))}")
    graph = space.graph(architecture)
    lines += ["", text_graph(graph)]
    if out:
        try:
            draw_graph(graph, out, title=space.format(architecture))
        except OSError as error:
            raise UsageError(f"{out}: cannot be written ({error.strerror})") from None
        lines.append(f"\ndrawn to {out}")
    return "\n".join(lines)


@reads_folder
def _trial_of_run(directory: str, trial: int | None, trust: bool) -> tuple[Space, dict[str, Any]]:
    import pyarrow.compute as pc

    folder = RunFolder(directory)
    space = build(folder.config()["space"], "spaces", trust=trust, where=str(folder.path / "config.yaml"))
    table = folder.table(space)
    rows = best_rows(table, 1) if trial is None else table.filter(pc.equal(table["id"], trial)).to_pylist()
    if not rows:
        raise UnknownName(f"{directory}: there is no {'completed trial' if trial is None else f'trial {trial}'}")
    return space, rows[0]


def _read(text: str, space: Space) -> Architecture:
    try:
        return space.parse(text)
    except InvalidArchitecture:
        try:
            return Space.parse(space, text)
        except InvalidArchitecture:
            pass
        raise


# -- what there is -----------------------------------------------------------------------------


def component_lines(names: list[str]) -> list[str]:
    """What there is with one line each; ``names``, such as presets, narrow it down, or are import paths of classes."""
    known = (*KINDS, "presets")
    lines: list[str] = []
    for kind in [name for name in names if name in known] or ([] if names else known):
        lines += [kind, *(_preset_lines() if kind == "presets" else _kind_lines(kind)), ""]
    for path in [name for name in names if name not in known]:
        cls = load(path)
        lines += [_kind(cls), _line(path, cls), ""]
    return lines[:-1]


def _kind_lines(kind: str) -> list[str]:
    return [_line(name, load(name, kind)) for name in entry_points(kind)]


def _preset_lines() -> list[str]:
    return [f"  {name:<22}{path.read_text().splitlines()[0].lstrip('# ')}" for name, path in _presets().items()]


def preset_file(name: str) -> Path:
    """The file of a preset: options of ``archsearch run`` that make up a whole method.

    Raises:
        UnknownName: If there is none of that name; the message lists those there are.
    """
    presets = _presets()
    if name not in presets:
        close = difflib.get_close_matches(name, presets, n=1)
        hint = f"; did you mean {close[0]}?" if close else "."
        raise UnknownName(f"no preset is called {name!r}{hint} Known: {', '.join(presets)}.")
    return presets[name]


def _presets() -> dict[str, Path]:
    return {path.stem: path for path in sorted((Path(__file__).parent / "presets").glob("*.yaml"))}


def _line(name: str, cls: Any) -> str:
    return f"  {name:<22}{summary(cls)}"


def _kind(cls: Any) -> str:
    for base, kind in ((Controller, "controllers"), (Evaluator, "evaluators"), (Model, "models"), (Space, "spaces")):
        if inspect.isclass(cls) and issubclass(cls, base):
            return kind
    raise UsageError(
        f"{cls!r} is no controller, evaluator, model or space: expected a subclass of one of these classes"
    )


def compatibility(name: str) -> list[str]:
    """What fits a component, and for what does not, why."""
    cls = load(name)
    kind = _kind(cls)
    if kind == "models":
        return [f"{name} works with every space, in evaluators and controllers that use a model."]
    if kind == "controllers":
        return [f"{name} works with every space and every evaluator."]
    others = "spaces" if kind == "evaluators" else "evaluators"
    lines = [f"{others} for {name}"]
    for other in entry_points(others):
        pair = (cls, load(other, others)) if kind == "evaluators" else (load(other, others), cls)
        lines.append(f"  {other:<22}{_fit(*pair)}")
    if kind == "spaces":
        lines += ["every controller works with it"]
    return lines


def _fit(evaluator: type[Evaluator], space: type[Space]) -> str:
    """Whether an evaluator with its default settings scores a space with its default settings."""
    for cls, what in ((evaluator, "evaluator"), (space, "space")):
        needed = [
            parameter.name
            for parameter in inspect.signature(cls).parameters.values()
            if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ]
        if needed and what == "evaluator":
            return f"depends on its {', '.join(needed)}"
        if needed:
            return _fit_any(evaluator, space)
    try:
        evaluator().check(space())
    except ArchsearchError as error:
        return f"no: {error}"
    return "yes"


def _fit_any(evaluator: type[Evaluator], space: type[Space]) -> str:
    """For spaces that need arguments: judged by a small instance that has none of the optional abilities."""
    stand_in = type(space.__name__, (Space,), {})(arities=[2])
    try:
        evaluator().check(stand_in)
    except ArchsearchError as error:
        return f"no: {error}"
    return "yes"
