"""Evaluators compared: costs, break-even, agreement, searches and files, where the answers are known."""

import math
import re
import shutil
import signal
import subprocess

import numpy as np
import pyarrow.parquet as pq
import pytest
from comparison_lab import SHARED, SPACE, Known, quality
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from archsearch.basics.seeding import stream
from archsearch.errors import RunFolderError, UsageError
from archsearch.evaluators import Tabular
from archsearch.judging.compared import break_even
from archsearch.judging.comparison import compare
from archsearch.judging.comparison_figures import figures, picks
from archsearch.judging.laboratory import BUDGETS
from archsearch.ranking import best_of
from archsearch.spaces import NASBench201

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Fails(Known):
    """Cannot score what begins with 0."""

    def evaluate(self, architecture, seed):
        if architecture[0] == 0:
            raise RuntimeError("no such architecture")
        return super().evaluate(architecture, seed)


class Stops(Known):
    """Is interrupted at its 60th call."""

    def evaluate(self, architecture, seed):
        if Known.calls == 60:
            Known.calls += 1
            signal.raise_signal(signal.SIGINT)
        return super().evaluate(architecture, seed)


def test_costs_are_those_of_the_evaluators(crossing):
    assert crossing.reference_cost.device_seconds == pytest.approx(50)
    assert crossing["cheap"].set_up.device_seconds == 0
    assert crossing["shared"].set_up.device_seconds == pytest.approx(1_000)
    assert crossing["shared"].each.device_seconds == pytest.approx(0.1)
    assert crossing["dear"].each.updates == pytest.approx(3)
    assert crossing["shared"].total(100) == pytest.approx(1_010)


def test_break_even_by_hand(crossing):
    assert crossing.break_even("cheap") == 1
    assert crossing.break_even("dear", "cheap") == math.inf
    assert crossing.break_even("shared") == 21  # 1,000 + 0.1 n < 50 n
    assert crossing.break_even("shared", "cheap") == 1_112  # 1,000 + 0.1 n < n
    with pytest.raises(UsageError, match="no evaluator is called 'nobody'; expected one of cheap, dear"):
        crossing.break_even("nobody")


amounts = st.integers(0, 20)


@given(amounts, amounts, amounts, amounts)
def test_break_even_is_where_totals_cross(set_up, each, other_set_up, other_each):
    cheaper = [set_up + n * each < other_set_up + n * other_each for n in range(1, 100)]
    from_there = next((n for n in range(1, 100) if all(cheaper[n - 1 :])), math.inf)
    assert break_even(set_up, each, other_set_up, other_each) == from_there


def test_agreement_is_that_of_scipy_and_of_the_construction(crossing):
    # Known by construction: tau = 2 / pi arcsin(rho), rho = 1 / sqrt(1 + noise^2); 0.05 is 3 standard errors of 300.
    for name, noise in (("cheap", 2.0), ("shared", 0.7)):
        expected = 2 / math.pi * math.asin(1 / math.sqrt(1 + noise**2))
        assert crossing[name].agreement.tau.value == pytest.approx(expected, abs=0.06)
    dear = crossing["dear"].agreement
    assert dear.tau.value > 0.98
    assert dear.recall[10].value >= 0.9
    assert crossing["random"].agreement.tau.value == pytest.approx(0, abs=0.06)
    assert crossing["flops"].agreement.tau.value == pytest.approx(0, abs=0.1)
    assert {row.kind for row in crossing.rows} == {"evaluator", "reference", "trivial"}


def test_agreement_equals_scipy():
    found = compare(SPACE, {"noisy": SHARED}, Known(each=1.0), samples=80, seeds=1, trials=0, seed=3)
    drawn = SPACE  # the sample is drawn by the reference under the root seed
    sample = Known().draw.__get__(_started(Known(), drawn))(80, stream(3, "sample"))
    # Under another seed of its own than it would have as the reference.
    shared = _started(Known(noise=0.7, each=0.1, set_up=1_000.0, seed=1), drawn)
    scores = [shared.evaluate(each, 0).score for each in sample]
    truth = [quality(each) for each in sample]
    agreement = found["noisy"].agreement
    assert agreement.tau.value == pytest.approx(kendalltau(truth, scores).statistic, abs=1e-12)
    assert agreement.spearman.value == pytest.approx(spearmanr(truth, scores).statistic, abs=1e-12)
    assert agreement.tau.low < agreement.tau.value < agreement.tau.high
    assert found.budgets == ()
    assert found.recommendations() == []


def _started(evaluator, space):
    evaluator.start(space)
    return evaluator


def test_random_search_stands_beside(crossing):
    truth = np.array([quality(each) for each in SPACE.enumerate()])
    expected = best_of(truth, truth, 30)  # what 1,500 s pay for
    mean, spread = crossing.random_search[2]
    assert mean == pytest.approx(expected, abs=0.25)
    ranks = np.sort([truth[np.random.default_rng(i).permutation(len(truth))[:30]].max() for i in range(2_000)])
    assert spread == pytest.approx(ranks.std(), abs=0.1)
    assert math.isnan(crossing.random_search[0][0])
    assert "random search, reference" in str(crossing)


def test_ceiling_of_other_evaluators():
    table = Tabular()
    again = [Tabular(run=777), Tabular(run=888)]
    found = compare(
        NASBench201(), [Tabular(epochs=12)], table, again=again, truth="test_accuracy", samples=100, seeds=1, trials=20
    )
    ceiling = found["noise ceiling"]
    assert ceiling.kind == "ceiling"
    assert 0.85 < ceiling.agreement.tau.value < 0.97  # two single runs of 200 epochs
    assert found["Tabular(epochs=12)"].agreement.tau.value < ceiling.agreement.tau.value
    assert found.best == pytest.approx(94.3733, abs=1e-3)  # of the whole table, not only of the sample
    assert found.budgets[0] == pytest.approx(BUDGETS[0] * found.reference_cost.recorded_seconds)


def test_failures_are_counted_and_left_out():
    found = compare(SPACE, {"fails": Fails(each=1.0)}, Known(), samples=60, seeds=2, trials=30, seed=0)
    row = found["fails"]
    assert 0 < row.failed < 20
    assert row.agreement.architectures == 60 - row.failed
    assert row.agreement.tau.value == pytest.approx(1)
    assert "failed" in str(found)


def test_goes_on_where_it_was_stopped(tmp_path):
    def begin(evaluator, out):
        by_name = {"one": evaluator}
        return compare(SPACE, by_name, Known(0.1), samples=30, seeds=2, trials=10, budgets=[50], seed=0, out=out)

    Known.calls = 0
    with pytest.raises(KeyboardInterrupt):
        begin(Stops(1.0), tmp_path / "stopped")
    found = begin(Stops(1.0), tmp_path / "stopped")
    calls = Known.calls - 1  # but for the one that was interrupted
    Known.calls = 0
    whole = begin(Known(1.0), tmp_path / "whole")
    assert Known.calls == calls
    np.testing.assert_array_equal(found["one"].picks, whole["one"].picks)
    assert found["one"].agreement == whole["one"].agreement
    Known.calls = 0
    again = begin(Known(1.0), tmp_path / "whole")
    assert Known.calls == 0
    assert again["one"].agreement == whole["one"].agreement
    with pytest.raises(RunFolderError, match="another comparison is here already, it differs in evaluators: one"):
        begin(Known(2.0), tmp_path / "whole")


def test_files_hold_every_figure(crossing, tmp_path):
    page = crossing.save(tmp_path, "archsearch compare --config x.yaml")
    table = pq.read_table(tmp_path / "figures.parquet").to_pylist()
    known = {(row["evaluator"], row["figure"], row["at"]): row for row in table}
    assert known["shared", "pays_off_from", "reference"]["value"] == 21
    assert known["cheap", "tau", ""]["low"] == crossing["cheap"].agreement.tau.low
    assert known["dear", "recall", "10"]["value"] == crossing["dear"].agreement.recall[10].value
    assert known["shared", "set-up_device_seconds", ""]["value"] == pytest.approx(1_000)
    assert known["dear", "each_parameter_updates", ""]["value"] == pytest.approx(3)
    found = pq.read_table(tmp_path / "picks.parquet").to_pylist()
    assert len(found) == len([row for row in crossing.rows if row.picks is not None]) * 10 * 4
    assert [row["truth"] for row in found if row["evaluator"] == "shared"][:2] == [None, None]
    assert figures(crossing).num_rows == len(table)
    assert picks(crossing).num_rows == len(found)
    text = page.read_text()
    assert len(text) < 1_000_000
    assert "<script" not in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert text.count("data:image/png;base64,") == 3
    assert "archsearch compare --config x.yaml" in text
    assert "shared" in text
    assert "than cheap" in text


def browse(page, folder):
    """What Chromium says of a page, at the width of a phone; it marks errors of scripts by CONSOLE."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    options += ["--disable-quic", "--disable-component-update", "--disable-sync", "--enable-logging=stderr"]
    options += [
        f"--user-data-dir={folder / 'profile'}",
        "--window-size=390,2000",
        f"--screenshot={folder / 'page.png'}",
    ]
    command = [CHROMIUM, *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stderr


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: 'make browser'")
def test_page_opens_in_a_browser_without_an_error(crossing, tmp_path):
    assert "CONSOLE" not in browse(crossing.save(tmp_path / "page"), tmp_path)
    assert (tmp_path / "page.png").stat().st_size > 20_000
    broken = tmp_path / "broken.html"
    broken.write_text("<!doctype html><script>missing()</script>")
    assert "CONSOLE" in browse(broken, tmp_path)
