"""Remedies against the optimization gap: what each does to it, and what it costs, from studies that were run.

    archsearch study run all
    python benchmarks/remedies.py studies

A row for each remedy that a study compares with doing without: the difference of a figure under equal seeds, with its
95 % interval by Student's t, and the ratio of the billed floating-point operations. Studies that were not run, or not
under two seeds at least, are named below the table.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np

from archsearch.studies.finding import Finding, ends
from archsearch.studies.study_report import found_in
from archsearch.studies.verdicts import effect


class Remedy(NamedTuple):
    """A setting of a study, held against another one.

    Attributes:
        section: Of the survey, with the cause.
        remedy: In words, with the setting.
        study: Its name.
        setting: With the remedy.
        without: Without it.
        figure: What is to rise, or with ``lower`` to fall.
    """

    section: str
    remedy: str
    study: str
    setting: str
    without: str
    figure: str = "tau"


LATE, LONG = "heavy_operators_win_late", "600 epochs"
REMEDIES = (
    Remedy("3.3.2", "recomputed statistics (`statistics`)", "recomputed_statistics", "recomputed", "inherited"),
    Remedy("3.3.2", "statistics of the scored batch", "recomputed_statistics", "batch", "inherited"),
    Remedy("3.3.2", 'strictly fair paths (`sampler="fair"`)', "strict_fairness_and_ranks", "fair", "uniform"),
    Remedy("3.3.2", "stopping after 300 of 600 epochs", LATE, "300 epochs", LONG),
    Remedy("3.3.2", "dropping operators without weights (`operation_dropout`)", LATE, "600, operator dropout", LONG),
    Remedy("3.3.2", 'grouping operators (`sampler="grouped"`)', LATE, "600, grouped operators", LONG),
    Remedy("3.3.2", "rate by complexity (`rate_by_size`)", LATE, "600, rate by complexity", LONG),
    Remedy("3.3.2", "momenta apart (`momentum_groups`)", LATE, "600, momenta apart", LONG),
    Remedy("3.3.2", "warm-up of weights (`warm_up_epochs`)", LATE, "600, warm-up of weights", LONG),
    Remedy(
        "3.3.3", "3 updates of each cell (`steps`)", "updates_after_inheriting", "3 updates of each cell",
        "neither, for less",
    ),
    Remedy(
        "3.3.3", "the same bill for more epochs", "updates_after_inheriting", "24 more epochs", "neither, for less"
    ),
    Remedy("3.3.3", "30 updates of each cell", "fine_tuning_to_individual", "30 updates", "0 updates"),
    Remedy("3.3.3", "90 updates of each cell: a training", "fine_tuning_to_individual", "90 updates", "0 updates"),
    Remedy(
        "3.3.4", "the final depth in the search", "smaller_skeletons", "as the final one", "a third of the cells"
    ),
    Remedy(
        "3.3.4", "the final width in the search", "smaller_skeletons", "as the final one", "half of the channels"
    ),
)  # fmt: skip


def by_seed(finding: Finding, setting: str, figure: str) -> dict[int, float]:
    """A figure of a setting; ``operations`` are what was billed."""
    cells = [cell for cell in finding.cells if cell.setting == setting]
    return {cell.seed: cell.cost.flops if figure == "operations" else cell.figures[figure] for cell in cells}


def row(remedy: Remedy, finding: Finding) -> list[str] | None:
    """A row of the table; None: it was not run under two seeds at least."""
    with_it, without = (by_seed(finding, each, remedy.figure) for each in (remedy.setting, remedy.without))
    seeds = sorted(with_it.keys() & without.keys())
    if len(seeds) < 2:
        return None
    found = effect(np.array([with_it[seed] - without[seed] for seed in seeds]), "t", 0.05)
    costs = [by_seed(finding, each, "operations") for each in (remedy.setting, remedy.without)]
    ratio = np.mean([costs[0][seed] / costs[1][seed] for seed in seeds])
    means = [np.mean([values[seed] for seed in seeds]) for values in (without, with_it)]
    change = f"{means[0]:.2f} to {means[1]:.2f}: {found.value:+.2f} {ends(found)}"
    return [remedy.section, remedy.remedy, change, str(len(seeds)), f"{ratio:.2f}", f"`{remedy.study}`"]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", help="folder that 'archsearch study run' has written to")
    known = {finding.name: finding for finding in found_in(parser.parse_args().studies)}
    missing = []
    print("| section | remedy | tau without, with, difference | seeds | operations, ratio | study |")
    print("|---|---|---|---|---|---|")
    for remedy in REMEDIES:
        found = row(remedy, known[remedy.study]) if remedy.study in known else None
        if found is None:
            missing.append(f"{remedy.remedy} ({remedy.study})")
        else:
            print(f"| {' | '.join(found)} |")
    if missing:
        print(f"\nNot measured under two seeds: {'; '.join(missing)}.")


if __name__ == "__main__":
    main()
