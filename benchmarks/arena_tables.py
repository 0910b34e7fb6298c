"""What ``benchmarks/arena.py`` writes into its page: who is best where, ranks with critical differences, all regrets.

References: Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 2006: Friedman's test on the
ranks of each problem, Nemenyi's critical difference, and bars over those that no difference tells apart.
"""

from __future__ import annotations

import datetime
import importlib.metadata
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from arena_kinds import FURTHER
from arena_peers import OURS, PEERS
from arena_problems import KINDS, PROBLEMS

AT = (20, 50, 100, 200, 300)
PICTURED = (20, 50, 100, 300)
"""Evaluations of which there are pictures."""

ALL_KINDS = {**KINDS, "further kinds": tuple(FURTHER)}
SEVERAL_OBJECTIVES = "two objectives"

ERROR = 0.05
"""Of Nemenyi's test."""

PACKAGES = (
    "numpy",
    "scipy",
    "optuna",
    "deap",
    "nevergrad",
    "botorch",
    "gpytorch",
    "torch",
    "scikit-optimize",
    "syne-tune",
)
"""Whose versions the page names, if they are installed."""

SHARED = 5
"""Seeds that a rival shares with ``Auto`` at least: of several with fewer one is ahead by chance."""

FloatArray = npt.NDArray[np.float64]


class Cell(NamedTuple):
    """What one searcher did on one problem with so many workers.

    Attributes:
        regrets: Shape (seeds, budgets).
        seeds: Which.
        ms: Processor's milliseconds a trial.
    """

    regrets: FloatArray
    seeds: list[int]
    ms: float


Found = dict[tuple[str, int], dict[str, Cell]]
"""By problem and workers, by searcher."""


def found_in(lines: Sequence[dict[str, Any]]) -> Found:
    """The lines of a file, put together."""
    sorted_: dict[tuple[str, int], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    longest = {(line["problem"], line["workers"], line["searcher"], line["seed"]): line for line in lines}
    for line in lines:  # one of more evaluations takes the place of one of fewer
        key = line["problem"], line["workers"], line["searcher"], line["seed"]
        longest[key] = max(longest[key], line, key=lambda each: len(each["regret"]))
    for line in longest.values():
        sorted_[line["problem"], line["workers"]][line["searcher"]].append(line)
    found: Found = {}
    for key, searchers in sorted_.items():
        found[key] = {}
        for name in (name for name in (*OURS, *PEERS) if name in searchers):
            some = sorted(searchers[name], key=lambda line: int(line["seed"]))
            shared = min(len(line["regret"]) for line in some)
            regrets = np.maximum(np.array([line["regret"][:shared] for line in some], float), 0.0)
            seeds = [int(line["seed"]) for line in some]
            found[key][name] = Cell(regrets, seeds, float(np.mean([line["ms"] for line in some])))
    return found


def shown(name: str) -> str:
    """A searcher as the page writes it."""
    return f"`{name}`" if name in OURS else name


# -- ranks -------------------------------------------------------------------------------------


class Ranks(NamedTuple):
    """Mean ranks over problems, the best first.

    Attributes:
        names: Who.
        means: Of the ranks in each problem, of the mean regrets over seeds.
        difference: Nemenyi's critical one.
        p: Of Friedman's test.
        problems: How many.
    """

    names: list[str]
    means: FloatArray
    difference: float
    p: float
    problems: int

    def cliques(self) -> list[tuple[int, int]]:
        """The longest runs, first and last place, of those that the critical difference does not tell apart."""
        runs: list[tuple[int, int]] = []
        for first in range(len(self.names)):
            last = int(np.searchsorted(self.means, self.means[first] + self.difference, "right")) - 1
            if last > first and (not runs or last > runs[-1][1]):
                runs.append((first, last))
        return runs


def ranks(found: Found, problems: Sequence[str], workers: int, at: int) -> Ranks | None:
    """Of all who have so many evaluations on all of these problems; None: there are too few of them."""
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    place, there = AT.index(at), [problem for problem in problems if (problem, workers) in found]
    cells = [found[problem, workers] for problem in there]
    names = [
        name
        for name in (*OURS, *PEERS)
        if cells and all(name in each and each[name].regrets.shape[1] > place for each in cells)
    ]
    if len(there) < 2 or len(names) < 3:
        return None
    means = np.array([[each[name].regrets[:, place].mean() for name in names] for each in cells])
    table = np.array([rankdata(np.round(row, 9)) for row in means])
    order = np.argsort(table.mean(0), kind="stable")
    q = studentized_range.ppf(1 - ERROR, len(names), np.inf) / np.sqrt(2)
    difference = float(q * np.sqrt(len(names) * (len(names) + 1) / (6 * len(there))))
    p = float(friedmanchisquare(*means.T).pvalue)
    return Ranks([names[i] for i in order], table.mean(0)[order], difference, p, len(there))


def draw(every: Sequence[tuple[str, Ranks]], path: Path) -> None:
    """Critical-difference diagrams, one below the other: better to the left, bars over who is not told apart."""
    from matplotlib.figure import Figure

    rows = [max(len(each.names) / 2, 3) for _, each in every]
    figure = Figure(figsize=(9, 0.22 * sum(rows) + 0.95 * len(rows)), layout="constrained")
    for axes, (title, each) in zip(
        figure.subplots(len(every), 1, squeeze=False, height_ratios=rows)[:, 0], every, strict=True
    ):
        k, half = len(each.names), (len(each.names) + 1) // 2
        cliques = each.cliques()
        level = 0.45 + 0.3 * len(cliques)
        axes.set_xlim(-0.32 * k, 1.32 * k + 1)
        axes.set_ylim(level + half + 0.4, -1.2)
        axes.axis("off")
        axes.plot([1, k], [0, 0], color="#222222", linewidth=1)
        for rank in range(1, k + 1):
            axes.plot([rank, rank], [0, -0.15], color="#222222", linewidth=1)
            axes.text(rank, -0.25, str(rank), ha="center", va="bottom", fontsize=7)
        axes.plot([1, 1 + each.difference], [-1.05, -1.05], color="#D55E00", linewidth=2)
        axes.text(1.2 + each.difference, -1.05, f"critical difference {each.difference:.1f}", va="center", fontsize=7)
        axes.set_title(f"{title}; {each.problems} problems, Friedman p = {each.p:.2g}", fontsize=9, loc="left")
        for i, (first, last) in enumerate(cliques):
            ends = each.means[first] - 0.05, each.means[last] + 0.05
            axes.plot(ends, [0.3 + 0.3 * i] * 2, color="#222222", linewidth=2.5, solid_capstyle="round")
        for i, (name, mean) in enumerate(zip(each.names, each.means, strict=True)):
            left, height = i < half, level + (i if i < half else k - 1 - i) + 0.3
            colour = "#0072B2" if name in OURS else "#8C8C8C"
            side = 0.6 if left else k + 0.4
            axes.plot([mean, mean, side], [0, height, height], color=colour, linewidth=0.8)
            axes.text(
                *(side + (-0.1 if left else 0.1), height, f"{name} ({mean:.1f})"),
                ha="right" if left else "left",
                va="center",
                fontsize=8,
                color=colour,
            )
    figure.savefig(path, dpi=110)


# -- tables ------------------------------------------------------------------------------------


class Rival(NamedTuple):
    """Who is best of some at so many evaluations, on the seeds that it shares with ``Auto``.

    Attributes:
        name: Who.
        regrets: Its own, shape (shared seeds,).
        apart: Those of ``Auto`` minus these.
    """

    name: str
    regrets: FloatArray
    apart: FloatArray

    @property
    def error(self) -> float:
        """The standard error of the mean difference."""
        return float(self.apart.std(ddof=1) / np.sqrt(len(self.apart)))


def rival(cells: dict[str, Cell], place: int, names: Sequence[str]) -> Rival | None:
    """The one of ``names``, on seeds shared with ``Auto``, that leaves it furthest behind or least ahead."""
    mine, rivals = cells["Auto"], []
    for name in names:
        if name == "Auto" or name not in cells or cells[name].regrets.shape[1] <= place:
            continue
        shared = [seed for seed in mine.seeds if seed in cells[name].seeds]
        if len(shared) >= SHARED:
            ours, theirs = (
                np.array([cell.regrets[cell.seeds.index(seed), place] for seed in shared])
                for cell in (mine, cells[name])
            )
            rivals.append(Rival(name, theirs, ours - theirs))
    return max(rivals, key=lambda each: each.apart.mean(), default=None)


def behind(found: Found, workers: int, names: Sequence[str], cell: Callable[[Rival], str]) -> list[str]:
    """By how much ``Auto`` is behind the best of ``names``, for each problem."""
    text = [f"| problem | {' | '.join(map(str, AT))} |", "|---" * (len(AT) + 1) + "|"]
    for problem in (*PROBLEMS, *FURTHER):
        cells = found.get((problem, workers), {})
        if "Auto" in cells:
            rivals = [rival(cells, place, names) for place in range(cells["Auto"].regrets.shape[1])]
            row = ["–" if each is None else cell(each) for each in rivals]
            text.append(f"| {problem} | {' | '.join(row + ['–'] * (len(AT) - len(row)))} |")
    return text


def percent(best: Rival) -> str:
    """Of the rival's regret; who that is, and a tilde where seeds do not tell the two apart."""
    apart, theirs = best.apart.mean(), best.regrets.mean()
    if apart <= 0.1 * theirs + 1e-9:
        return "0" if abs(apart) <= 1e-9 else f"{100 * apart / max(theirs, 1e-9):+.0f} %"
    said = f"{100 * apart / theirs:+.0f} %" if theirs > 1e-9 else f"+{apart:.3f}"
    sure = apart >= 2 * best.error
    return f"{'**' if sure else '~'}{said}{'**' if sure else ''} ({best.name})"


def difference(best: Rival) -> str:
    """In units of the regret, with its standard error; bold where ``Auto`` is behind by more than that."""
    apart = best.apart.mean()
    if abs(apart) <= 1e-9:
        return "0"
    said = f"{apart:+.3f} ± {best.error:.3f}"
    return f"**{said}** ({best.name})" if apart > best.error else f"{said} ({best.name})"


def mean_ranks(found: Found, workers: int) -> list[str]:
    """Mean ranks by kind of problem and evaluations, among those who took part in all of them."""
    budgets = (20, 50, 100, 300)
    kinds = [kind for kind, each in ALL_KINDS.items() if any((problem, workers) in found for problem in each)]
    columns = [(kind, at) for kind in kinds for at in budgets]
    every = {(kind, at): ranks(found, ALL_KINDS[kind], workers, at) for kind, at in columns}
    text = [f"| searcher | {' | '.join(f'{kind} {at}' for kind, at in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name in (*OURS, *PEERS):
        row = []
        for column in columns:
            each = every[column]
            if each is None or name not in each.names:
                row.append("–")
            else:
                mean = each.means[each.names.index(name)]
                row.append(f"**{mean:.1f}**" if mean <= each.means[0] + 1e-9 else f"{mean:.1f}")
        if any(cell != "–" for cell in row):
            text.append(f"| {shown(name)} | {' | '.join(row)} |")
    return text


def regrets(cells: dict[str, Cell]) -> list[str]:
    """A row for each searcher: mean regret with its standard error; the best, and those within its error, in bold."""
    text = [f"| searcher | {' | '.join(map(str, AT))} | ms a trial | seeds |", "|---" * (len(AT) + 3) + "|"]
    means = {name: cell.regrets.mean(0) for name, cell in cells.items()}
    for name, cell in cells.items():
        n, row = len(cell.seeds), []
        error = cell.regrets.std(0, ddof=1) / np.sqrt(n) if n > 1 else np.zeros(len(AT))
        for place in range(len(AT)):
            if place >= len(means[name]):
                row.append("–")
                continue
            mean = means[name][place]
            least = min(each[place] for each in means.values() if len(each) > place)
            bold = "**" if mean <= least + error[place] + 1e-9 else ""
            row.append(f"{bold}{mean:.3f} ± {error[place]:.3f}{bold}" if n > 1 else f"{bold}{mean:.3f}{bold}")
        text.append(f"| {shown(name)} | {' | '.join(row)} | {cell.ms:.2g} | {n} |")
    return text


def page_of(page: str, root: int, lines: Sequence[dict[str, Any]], pictures: Path) -> str:
    """The page with what stands behind '## Tables' written anew, and its pictures."""
    found = found_in(lines)
    pictures_named = "arena_kinds_ranks" if {problem for problem, _ in found} <= set(FURTHER) else "arena_ranks"
    single = [problem for kind, each in ALL_KINDS.items() if kind != SEVERAL_OBJECTIVES for problem in each]
    there = {each.name.lower() for each in importlib.metadata.distributions()}
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES if name in there]
    least = min(
        (len(cell.seeds) for each in found.values() for name, cell in each.items() if name == "Auto"), default=0
    )
    text = [
        "## Tables",
        "",
        f"{datetime.date.today()}: {len(lines):,} searches, {least} seeds or more where not said otherwise; synthetic "
        f"problems are drawn from {root}; {', '.join(versions)}.",
        "",
    ]
    for workers in sorted({workers for _, workers in found}):
        some = f"{workers} worker" + ("s" if workers > 1 else "")
        text += [
            f"### {some}: how far Auto is behind others of ours",
            "",
            *behind(found, workers, tuple(OURS), percent),
            "",
        ]
        text += [f"### {some}: how far Auto is behind peers", "", *behind(found, workers, tuple(PEERS), difference), ""]
        text += [f"### {some}: mean ranks", "", *mean_ranks(found, workers), ""]
        every = [(f"{some}, {at} evaluations", ranks(found, single, workers, at)) for at in PICTURED]
        if drawn := [(title, each) for title, each in every if each is not None]:
            path = pictures / f"{pictures_named}_{workers}.png"
            draw(drawn, path)
            text += [f"![Mean ranks with {some}](pictures/{path.name})", ""]
    for problem, workers in ((problem, workers) for problem in (*PROBLEMS, *FURTHER) for workers in (1, 8)):
        if (problem, workers) in found:
            some = f"{workers} worker" + ("s" if workers > 1 else "")
            text += [f"### {problem}, {some}", "", *regrets(found[problem, workers]), ""]
    return page[: page.index("## Tables")] + "\n".join(text).rstrip() + "\n"
