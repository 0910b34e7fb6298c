"""Evaluators compared: costs, agreement, searches, advice, files; where the answers are known by construction."""

import itertools
import math
import re
import shutil
import signal
import subprocess
import zlib

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import kendalltau, spearmanr

from archsearch import Cost, Evaluation, Evaluator, Space
from archsearch.cli import main
from archsearch.comparison import BUDGETS, Compared, break_even, compare, recommend
from archsearch.comparison_report import figures, picks, sentences
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import MissingAbility, RunFolderError, UsageError
from archsearch.evaluators import Tabular, ZeroCost
from archsearch.ranking import best_of
from archsearch.seeding import stream
from archsearch.spaces import NASBench201

SPACE = Space(arities=[10, 10, 10])
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def quality(architecture):
    """Standard normal over the space, in no order that a controller could use."""
    return float(ndtri((zlib.crc32(repr(architecture).encode()) + 0.5) / 2**32))


class Known(Evaluator):
    """The truth with normal noise, at a known cost.

    Args:
        noise: Standard deviation.
        each: Device seconds for an architecture.
        set_up: Device seconds of the set-up.
        seed: Of the noise.
    """

    calls = 0

    def __init__(self, noise: float = 0.0, each: float = 10.0, set_up: float = 0.0, seed: int = 0) -> None:
        self.noise, self.each, self.set_up, self.seed = noise, each, set_up, seed

    def prepare(self):
        return Cost(device_seconds=self.set_up)

    def measure(self, architecture):
        return {"flops": 1.0 + architecture[0]}

    def evaluate(self, architecture, seed):
        Known.calls += 1
        rng = stream(self.seed, repr(architecture)) if self.set_up else stream(seed, "noise")
        score = quality(architecture) + self.noise * rng.standard_normal()
        return Evaluation(score, {"size": 1.0 + architecture[0]}, Cost(device_seconds=self.each, updates=3))


class Fails(Known):
    """Cannot score what begins with 0."""

    def evaluate(self, architecture, seed):
        if architecture[0] == 0:
            raise RuntimeError("no such architecture")
        return super().evaluate(architecture, seed)


class Learns(Known):
    """Changes during a search."""

    interval = 5


class Stops(Known):
    """Is interrupted at its 60th call."""

    def evaluate(self, architecture, seed):
        if Known.calls == 60:
            Known.calls += 1
            signal.raise_signal(signal.SIGINT)
        return super().evaluate(architecture, seed)


CHEAP, DEAR, SHARED = (
    Known(noise=2.0, each=1.0),
    Known(noise=0.0, each=50.0),
    Known(noise=0.7, each=0.1, set_up=1_000.0),
)


@pytest.fixture(scope="module")
def crossing():
    """Cheap and bad, dear and good, and one that pays a set-up: the best one changes with the budget."""
    return compare(
        SPACE,
        {"cheap": CHEAP, "dear": DEAR, "shared": SHARED},
        Known(noise=0.01, each=50.0),
        controller=RandomSearch(),
        samples=200,
        seeds=10,
        trials=400,
        budgets=[30, 200, 1_500, 20_000],
        seed=1,
    )


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


def test_advice_is_right_where_the_answer_is_known(crossing):
    """Expected truth of each pick by the formula of the best of n; the margins are many standard errors."""
    whole = list(SPACE.enumerate())
    truth = np.array([quality(each) for each in whole])
    expected = {}
    for name, each in (("cheap", CHEAP), ("dear", DEAR), ("shared", SHARED)):
        noise = each.noise * np.random.Generator(np.random.PCG64(0)).standard_normal((200, len(truth)))
        counts = [min(400, int((budget - each.set_up) / each.each)) for budget in crossing.budgets]
        expected[name] = [
            np.mean([best_of(truth, truth + row, n) for row in noise]) if n > 0 else -math.inf for n in counts
        ]
    best = [max(expected, key=lambda name: expected[name][i]) for i in range(4)]
    assert best == ["cheap", "cheap", "shared", "dear"]
    found = crossing.recommendations()
    assert [each.name for each in found] == best
    for i, each in enumerate(found):
        assert each.truth == pytest.approx(expected[each.name][i], abs=0.6)
    assert "cheap" in crossing.recommend(100)
    assert "shared" in crossing.recommend(2_000)
    assert "With 5.6 h of billed cost: dear." in crossing.recommend(20_000)
    assert "least budget" in crossing.recommend(1)


def test_sentences_name_ranges_and_rivals(crossing):
    said = sentences(crossing)
    assert re.match(r"With 30 s to 3.3 min of billed cost: cheap\. Its picks have a true score of ", said[0])
    assert len(said) == 3
    assert "over 10 seeds" in said[-1]
    assert f"the best: {crossing.best:.4g}" in said[-1]


def test_random_search_stands_beside(crossing):
    truth = np.array([quality(each) for each in SPACE.enumerate()])
    expected = best_of(truth, truth, 30)  # what 1,500 s pay for
    assert crossing.random_search[2] == pytest.approx(expected, abs=0.25)
    assert math.isnan(crossing.random_search[0])
    assert "random search, reference" in str(crossing)


def test_advice_cheap_and_bad_dear_and_good():
    rng = np.random.Generator(np.random.PCG64(0))
    bad, good = rng.normal(1, 0.1, (8, 1)), rng.normal(2, 0.1, (8, 1))
    nothing = np.full((8, 1), math.nan)
    both = {"bad": np.hstack([bad, bad]), "good": np.hstack([nothing, good])}
    assert [each.name for each in recommend(both, [1, 2])] == ["bad", "good"]
    assert recommend(both, [1, 2])[1].level == ()
    assert recommend({"none": nothing}, [1])[0].name is None
    # What chance alone tells apart is level, and does not change the advice.
    common = rng.normal(0, 1, (8, 1))
    alike = common + 0.01 * rng.normal(0, 1, (8, 2, 6)).transpose(1, 0, 2)
    advice = recommend({"a": alike[0], "b": alike[1]}, range(1, 7))
    free = ["ab"[int(np.argmax(alike[:, :, i].mean(axis=1)))] for i in range(6)]
    kept = [each.name for each in advice]
    assert sum(a != b for a, b in itertools.pairwise(kept)) < sum(a != b for a, b in itertools.pairwise(free))
    assert all(each.level == ({"a": ("b",), "b": ("a",)}[each.name]) for each in advice)


def test_a_clearly_better_one_takes_over_though_few_seeds_cannot_prove_it():
    values = {"first": np.array([[2.0, 2.0], [2.1, 2.6]]), "later": np.array([[1.0, 3.0], [1.1, 3.1]])}
    advice = recommend(values, [1, 2])
    assert [each.name for each in advice] == ["first", "later"]
    assert advice[1].level == ("first",)  # 0.75 with a standard error of 0.25, and t is 12.7


def test_one_seed_tells_nothing_apart_by_luck_but_says_so():
    found = recommend({"a": np.array([[1.0]]), "b": np.array([[2.0]])}, [5])
    assert found[0].name == "b"
    assert math.isnan(found[0].spread)


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


# -- what a review found ---------------------------------------------------------------------------


class OwnNoise(Known):
    """Noise from its own seed alone, as that of a super-network."""

    def evaluate(self, architecture, seed):
        return Evaluation(float(stream(self.seed, repr(architecture)).standard_normal()))


class Plain(Evaluator):
    """No arguments, no cost."""

    def evaluate(self, architecture, seed):
        return Evaluation(quality(architecture), {"maybe": math.nan if architecture[0] == 3 else 1.0 * architecture[0]})


class Flaky(Known):
    """Cannot score a third of the architectures, whatever the seed; says of all which they are."""

    def evaluate(self, architecture, seed):
        if sum(architecture) % 3 == 0:
            raise RuntimeError("cannot train that")
        return super().evaluate(architecture, seed)


class Broken(Known):
    """Scores the sample, and nothing else."""

    def evaluate(self, architecture, seed):
        if Broken.enough:
            raise RuntimeError("broken")
        return super().evaluate(architecture, seed)


class Half(Known):
    """A table of a part of the space."""

    @property
    def architectures(self):
        return [each for each in SPACE.enumerate() if each[0] < 2]

    def evaluate(self, architecture, seed):
        if architecture[0] >= 2:
            raise RuntimeError("not in the table")
        return super().evaluate(architecture, seed)


class Unprepared(Known):
    """A table that is read when it is prepared."""

    table = None

    @property
    def architectures(self):
        return list(SPACE.enumerate())

    def prepare(self):
        self.table = {each: quality(each) for each in SPACE.enumerate()}
        return Cost(device_seconds=5.0)

    def evaluate(self, architecture, seed):
        return Evaluation(self.table[architecture], cost=Cost(recorded_seconds=1.0))


def quick(evaluators, reference, **settings):
    return compare(SPACE, evaluators, reference, **{"samples": 60, "seeds": 2, "trials": 0, "seed": 0, **settings})


def test_a_reference_with_a_seed_of_its_own_is_not_compared_with_itself():
    found = quick([Known()], OwnNoise())
    assert found["OwnNoise"].kind == "reference"
    assert abs(found["OwnNoise"].agreement.tau.value) < 0.3  # it was 0.5 while one of its 2 seeds was the reference's
    assert found.ceiling_known


def test_a_reference_that_is_the_same_again_has_no_ceiling():
    found = quick([Known()], Plain())
    assert not found.ceiling_known
    assert "ceiling     unknown: the reference does not depend on the seed" in str(found)
    assert "Plain (reference)" in str(found)


def test_the_set_up_of_the_reference_counts():
    found = quick({"p": Known(each=1.0)}, Unprepared(), trials=20, budgets=[3.0, 10.0])
    assert found.reference_set_up.device_seconds == 5
    assert found.break_even("p") == 1  # as dear for each, but without a set-up
    assert math.isnan(found.random_search[0])
    assert found.random_search[1] > -math.inf
    assert found.best == pytest.approx(max(quality(each) for each in SPACE.enumerate()))


def test_goes_on_with_a_reference_that_needs_its_set_up(tmp_path):
    first, second = (quick([Known(0.5)], Unprepared(), trials=5, out=tmp_path, seed=None) for _ in range(2))
    assert first.seed == second.seed  # that of the folder
    assert first.best == second.best
    assert first["Known(noise=0.5)"].agreement == second["Known(noise=0.5)"].agreement


def test_failed_evaluations_are_part_of_the_cost():
    class Burns(Known):
        def evaluate(self, architecture, seed):
            if architecture[0] == 0:
                begun = np.float64(sum(range(300_000)))  # some milliseconds
                raise RuntimeError(f"wasted {begun}")
            return Evaluation(quality(architecture), cost=Cost(device_seconds=1e-9))

    row = quick({"burns": Burns()}, Known(), seeds=1)["burns"]
    assert row.failed > 0
    assert row.each.wall_seconds > 1e-4
    assert row.each.device_seconds == pytest.approx(1e-9 * (60 - row.failed) / 60)


def test_random_search_of_more_than_the_sample_is_not_told():
    found = quick([Known(each=1.0)], Known(0.1, each=1.0), trials=100, budgets=[30, 90])
    assert np.isfinite(found.random_search[0])
    assert math.isnan(found.random_search[1])


def test_where_the_reference_cannot_score_a_pick_the_one_before_counts():
    found = quick({"p": Known(each=1.0)}, Flaky(each=1.0), trials=60, seeds=4, budgets=[10, 60])
    assert np.isfinite(found["p"].picks).all()
    assert found.recommendations()[0].name is not None
    assert found["p"].evaluations[-1] == pytest.approx(60)


def test_one_evaluator_that_breaks_does_not_end_the_comparison(tmp_path):
    Broken.enough = True
    found = quick({"fine": Known(0.1), "broken": Broken()}, Known(), trials=15, budgets=[100], out=tmp_path)
    assert found["broken"].failed == 60
    assert found["broken"].agreement is None
    assert found["broken"].note.startswith("no search with it succeeds")
    assert found.recommendations()[0].name is not None
    assert "broken" in found.save(tmp_path).read_text()
    again = quick({"fine": Known(0.1)}, Known(), trials=15, budgets=[100], out=tmp_path)  # without it
    assert again["fine"].agreement == found["fine"].agreement
    with pytest.raises(RunFolderError, match="differs in evaluators: fine"):
        quick({"fine": Known(0.2)}, Known(), trials=15, budgets=[100], out=tmp_path)


def test_searches_stay_in_what_a_partial_table_holds():
    found = quick({"half": Half(each=1.0), "noisy": Known(0.5, each=1.0)}, Known(each=1.0), trials=30, budgets=[30])
    assert found.controller == "random search among the 200 architectures that all can score"
    assert found["half"].evaluations[-1] == pytest.approx(30)
    assert found["half"].failed == 0
    assert np.isfinite(found["half"].picks).all()


def test_the_executor_changes_nothing_but_the_clock():
    local, simulated = (quick([SHARED], Unprepared(), trials=10, executor=each) for each in ("local", "simulated"))
    assert local.best == simulated.best
    name = local.rows[0].name
    assert local[name].agreement == simulated[name].agreement
    np.testing.assert_array_equal(local[name].picks, simulated[name].picks)


def test_names_of_evaluators_decide_nothing():
    one, other = (quick({name: Known(0.8)}, Known())[name].agreement for name in ("one", "another name"))
    assert one == other


def test_a_truth_that_is_not_a_number_counts_as_a_failure():
    found = quick([Known()], Plain(), truth="maybe", samples=100)
    assert 60 < found.samples < 100
    assert math.isfinite(found.average)
    with pytest.raises(UsageError, match="the reference reports no 'beauty'; expected score or one of maybe"):
        quick([Known()], Plain(), truth="beauty")


@pytest.mark.parametrize("amount", [math.nan, math.inf, -1.0])
def test_costs_that_are_no_amounts_are_failures(amount):
    found = quick({"odd": Known(each=amount)}, Known(), samples=20)
    assert found["odd"].failed == found.samples
    with pytest.raises(UsageError, match=r"Known.prepare: expected finite amounts >= 0 as cost"):
        quick({"odd": Known(set_up=amount)}, Known(), samples=20)


def test_odd_names_are_drawn_and_written(tmp_path):
    names = ["a/b$x^$", "_hidden", "ü <b>", "x" * 120]
    found = quick({name: Known(0.5) for name in names}, Known(0.1), trials=5, samples=20, seeds=1)
    text = found.save(tmp_path).read_text()
    assert "ü &lt;b&gt;" in text
    with pytest.raises(UsageError, match=r"expected evaluators by name .text., got 1:"):
        quick({1: Known()}, Known())


@pytest.mark.parametrize("content", ["[", "", "[1]", "evaluators: 3"])
def test_a_damaged_configuration_is_said(content, tmp_path):
    (tmp_path / "comparison.yaml").write_text(content)
    with pytest.raises(RunFolderError, match=r"cannot be read|no configuration of a comparison"):
        quick([Known()], Known(), out=tmp_path)


def test_ceiling_of_others_is_in_their_own_units():
    again = [Tabular(run=777), Tabular(run=888)]
    settings = {"truth": "test_accuracy", "samples": 50, "seeds": 1, "trials": 0}
    found = compare(NASBench201(), [Tabular(epochs=12)], Tabular(), again=again, **settings)
    units = {(row["evaluator"], row["unit"]) for row in figures(found).to_pylist() if row["figure"] == "regret"}
    assert ("noise ceiling", "score") in units
    assert ("Tabular(epochs=12)", "test_accuracy") in units


# -- the command line ----------------------------------------------------------------------------


def test_command_without_options_is_the_default_comparison(tmp_path, capsys):
    out = tmp_path / "default"
    status = main(["compare", "--samples", "60", "--seeds", "1", "--trials", "5", "--out", str(out), "--quiet"])
    printed = capsys.readouterr().out
    assert status == 0, printed
    for name in (
        "12 epochs",
        "synflow",
        "predictor, 50 labels",
        "noise ceiling",
        "flops (trivial)",
        "random (trivial)",
    ):
        assert name in printed
    assert "With " in printed
    assert f"saved     {out}/index.html" in printed
    config = yaml.safe_load((out / "comparison.yaml").read_text())
    assert config["truth"] == "test_accuracy"
    assert config["samples"] == 60
    again = main(["compare", "--config", str(out / "comparison.yaml"), "--out", str(out), "--quiet"])
    assert again == 0  # the command that the page gives: it goes on, and everything is done


def test_command_with_evaluators_of_ones_own(tmp_path, capsys):
    arguments = ["--evaluators+", "Tabular", "--evaluators.epochs", "12", "--samples", "30", "--seeds", "1"]
    assert main(["compare", *arguments, "--trials", "0", "--out", str(tmp_path / "own"), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "Tabular(epochs=12)" in printed
    assert "Tabular (reference)" in printed


def test_command_compares_controllers(tmp_path, capsys):
    arguments = ["--controllers+", "RandomSearch", "--controllers+", "LocalSearch", "--evaluators+", "Tabular"]
    arguments += ["--evaluators.epochs", "12", "--truth", "test_accuracy", "--seeds", "4", "--trials", "30"]
    assert main(["compare", *arguments, "--out", str(tmp_path / "controllers"), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "LocalSearch" in printed
    assert "4 seeds x 1 task" in printed
    page = (tmp_path / "controllers" / "index.html").read_text()
    assert "archsearch compare --controllers+ RandomSearch --controllers+ LocalSearch" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--evaluators+", "Nobody"], "no evaluator is called 'Nobody'"),
        (["--space", "NASBench201"], "evaluators: expected one or more"),
        (["--samples", "3"], "samples: expected a whole number >= 10, got 3"),
        (["--budgets", "[-1]"], "budgets: expected numbers of seconds above 0"),
        (
            ["--evaluators+", "Tabular", "--evaluators.epochs", "7"],
            "archsearch: Tabular: epochs: expected one of 12, 200",
        ),
        (
            ["--controllers+", "RegularizedEvolution", "--controllers.population_size", "0"],
            "archsearch: RegularizedEvolution: population_size: expected a whole number >= 1, got 0",
        ),
        (
            ["--evaluators.a", "Tabular", "--evaluators+", "ZeroCost"],
            "--evaluators: give all as --evaluators+ NAME, or",
        ),
        (["--controllers+", "RandomSearch", "--best", "94.4"], "best: it goes with a comparison of evaluators"),
        (["--truth", "beauty", "--samples", "20"], "the reference reports no 'beauty'; expected score or one of test_"),
        (["--controllers+", "RandomSearch", "--samples", "20"], "samples: it goes with a comparison of evaluators"),
        (["--evaluators.random", "ZeroCost"], "'random' is always compared; give yours another name"),
    ],
)
def test_mistakes_are_said(arguments, message, tmp_path, capsys):
    assert main(["compare", *arguments, "--out", str(tmp_path / "none"), "--quiet"]) == 2
    assert message in capsys.readouterr().err


def test_what_cannot_be_compared_is_refused_before_anything_is_spent(tmp_path):
    Known.calls = 0
    with pytest.raises(UsageError, match="Learns learns on during a search"):
        compare(SPACE, [Learns()], Known(), out=tmp_path / "learns")
    with pytest.raises(MissingAbility, match="ZeroCost"):
        compare(SPACE, [ZeroCost()], Known(), out=tmp_path / "ability")
    with pytest.raises(UsageError, match="again: expected 2 or more"):
        compare(SPACE, [Known()], Known(), again=[Known()])
    with pytest.raises(UsageError, match="expected at least one, got none"):
        compare(SPACE, [], Known())
    assert Known.calls == 0
    assert not list(tmp_path.iterdir())


def test_reference_among_the_evaluators_is_the_noise_ceiling():
    reference = Known(noise=0.3)
    found = compare(SPACE, {"itself": Known(noise=0.3)}, reference, samples=50, seeds=1, trials=0, seed=0)
    assert found["itself"].kind == "reference"
    assert [row.name for row in found.rows] == ["itself", "flops", "random"]
    assert found["itself"].agreement.tau.value < 1  # under another seed
    assert isinstance(found["itself"], Compared)


def test_controller_of_the_searches_may_be_any():
    evolution = RegularizedEvolution(population_size=5, tournament_size=2)
    found = compare(SPACE, [Known(each=1.0)], Known(each=1.0), controller=evolution, samples=20, trials=15, seed=0)
    assert found["Known(each=1.0)"].evaluations[-1] == pytest.approx(15)
    assert "population_size=5" in found.controller
