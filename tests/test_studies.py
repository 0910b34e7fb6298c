"""Studies: read with errors that name the line, run in sessions that lose nothing, judged by what was written."""

import dataclasses
import datetime
import hashlib
import json
import math
import multiprocessing
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import study_lab
from study_lab import FILE, study, written

from archsearch.components import build, describe, entry_points, load
from archsearch.errors import NotTrusted, UnknownName, UsageError
from archsearch.executors.ray.executor import RayExecutor
from archsearch.studies import measures
from archsearch.studies.finding import _mean
from archsearch.studies.measure import Measure, as_billed, seconds_of
from archsearch.studies.records import read_finding, table
from archsearch.studies.sessions import collected, run_study
from archsearch.studies.study import read_study, shipped
from archsearch.studies.study_report import report_studies
from archsearch.trial import Cost

# -- reading -------------------------------------------------------------------------------------------


def test_a_study_is_read_as_it_stands(tmp_path):
    found = study(tmp_path)
    assert (found.name, found.seeds, found.figure) == ("ten", 6, "value")
    assert list(found.measures) == ["10", "0"]
    assert [each.mean for each in found.measures.values()] == [10, 0]
    assert found.fixed_on == datetime.date(2026, 11, 30)
    assert str(found.question) == "10 minus 0 is above 5 (permutation, error 0.05)"


def test_what_is_varied_is_combined_and_dots_lead_inside(tmp_path):
    text = FILE.replace("study_lab.Noisy", "Agreement").replace(
        "init_args: {mean: 0, noise: 1}",
        "init_args: {space: {class_path: NASBench201}, evaluator: {class_path: Predictor, init_args: {folds: 0}}, "
        "reference: {class_path: Tabular}}",
    )
    vary = "{evaluator.labels: [20, 30], model: {trees: {evaluator.model: {class_path: RandomForest}}, as given: {}}}"
    path = written(tmp_path, text, vary=vary, figure="tau", compare="[20 / trees, 30 / as given]")
    found = read_study(path)
    assert list(found.measures) == ["20 / trees", "20 / as given", "30 / trees", "30 / as given"]
    assert [each.evaluator.labels for each in found.measures.values()] == [20, 20, 30, 30]
    assert type(found.measures["20 / trees"].evaluator.model).__name__ == "RandomForest"
    assert found.measures["30 / as given"].evaluator.model is None


BAD = [
    ({"seed": 3}, "line 16: seed: no key of a study is called 'seed'; did you mean seeds?"),
    ({"seeds": 0}, "line 10: seeds: expected a whole number >= 1, got 0"),
    ({"seeds": "six"}, "line 10: seeds: expected a whole number >= 1"),
    ({"section": 1.2}, "line 2: section: expected a text (in quotes, if it is a number), got 1.2"),
    ({"fixed_on": "soon"}, "line 4: fixed_on: expected a date such as 2026-11-30, got 'soon'"),
    ({"fixed_on": "2999-01-01"}, "line 4: fixed_on: expected the day on which this was written"),
    ({"figure": "valu"}, "line 11: figure: no figure of the measure is called 'valu'; did you mean value?"),
    ({"compare": "[10, 1]"}, "line 12: compare: no setting is called '1'"),
    ({"compare": "[10, 10]"}, "line 12: compare: expected one setting, or two different ones"),
    ({"test": "permutations"}, "line 13: test: no test is called 'permutations'; did you mean permutation?"),
    ({"test": "binomial"}, "line 12: compare: the test binomial is of a share: expected one setting, got two"),
    ({"direction": "up"}, "line 14: direction: no direction is called 'up'. Known: above, below"),
    ({"threshold": ".nan"}, "line 15: threshold: expected a finite number, got nan"),
    ({"threshold": None}, "line 12: compare: expected threshold beside it"),
    ({"error": 1}, "line 16: error: expected a number between 0 and 1, got 1"),
    ({"claim": None}, "line 1: expected claim, got no such key"),
    ({"vary": "{mean: 3}"}, "line 8: vary.mean: expected a list of values, or names with the settings that change"),
    ({"vary": "{means: [10, 0]}"}, "line 8: vary.means.0: study_lab.Noisy: "),
    ({"vary": "{mean: [0, 0]}"}, "line 8: vary: two settings are called '0'"),
    ({"vary": "{deep.mean: [10, 0]}"}, "line 8: vary.deep.mean.0: deep.mean: the measure has no deep given"),
    ({"measure": "{class_path: Agreemnt}"}, "no measure is called 'Agreemnt'; did you mean Agreement?"),
    ({"measure": "{class_path: Tabular}"}, "no measure is called 'Tabular'"),
    ({"measure": "3"}, "expected a component there, got 3"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_mistakes_in_a_file_are_named_with_their_line(tmp_path, changes, message):
    path = written(tmp_path, **changes)
    with pytest.raises(UsageError) as caught:
        read_study(path, trust=True)
    text = str(caught.value)
    assert text.startswith(f"{path}, line ")
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize("text", ["", "- a", "a: [", "claim: x\nclaim: y"])
def test_what_is_no_mapping_is_no_study(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"bad\.yaml"):
        read_study(path)


def test_what_a_file_names_is_not_run_unasked(tmp_path):
    with pytest.raises(NotTrusted, match=r"line 5: .*study_lab\.Noisy is not installed"):
        read_study(written(tmp_path, vary=None, compare="as it is"))


def test_an_unknown_study_is_guessed():
    with pytest.raises(UnknownName, match="did you mean battle"):
        read_study("batle")
    with pytest.raises(UsageError, match="cannot be read"):
        read_study("nowhere.yaml")


# -- running -------------------------------------------------------------------------------------------


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def logged(tmp_path, **changes):
    measure = f"{{class_path: study_lab.Noisy, init_args: {{mean: 0, noise: 1, log: {tmp_path / 'log'}}}}}"
    return study(tmp_path, **{"measure": measure, **changes})


def test_a_study_is_run_once(tmp_path):
    finding = run_study(logged(tmp_path), tmp_path / "out")
    assert len(lines(tmp_path / "log")) == 12
    assert lines(tmp_path / "log")[:4] == ["10 0", "0 0", "10 1", "0 1"], "one seed of all settings after the other"
    assert finding.verdict == "holds"
    assert finding.effect.value == pytest.approx(10, abs=1e-9), "the same noise under the same seed"
    assert finding.cost.recorded_seconds == 120
    assert not finding.warnings
    again = run_study(logged(tmp_path), tmp_path / "out")
    assert len(lines(tmp_path / "log")) == 12
    assert str(again) == str(finding)
    assert str(read_finding(tmp_path / "out" / "ten")) == str(finding)
    assert table([finding]).num_rows == 12 * (3 + 2)


def test_what_the_claim_compares_is_measured_first_and_judged_without_the_rest(tmp_path):
    changes = {"vary": "{mean: [3, 10, 0]}", "seeds": 6}
    run_study(logged(tmp_path, **changes), tmp_path / "out")
    measured = lines(tmp_path / "log")
    assert measured[:4] == ["10 0", "0 0", "10 1", "0 1"]
    assert measured[12:] == [f"3 {seed}" for seed in range(6)]
    finding = collected(logged(tmp_path, **changes), tmp_path / "out")
    judged = dataclasses.replace(finding, cells=tuple(cell for cell in finding.cells if cell.setting != "3"))
    assert (judged.verdict, judged.missing) == ("holds", 6)
    assert "Of other settings 6 cells are missing." in " ".join(judged.sentences)


def test_a_table_of_several_things_has_a_grid_of_its_figure(tmp_path):
    vary = "{mean: [10, 0], noise: [1, 2, 3]}"
    finding = run_study(study(tmp_path, vary=vary, compare="[10 / 1, 0 / 1]"), tmp_path / "out")
    head, *rows = finding.grid()
    assert (head, [row[0] for row in rows]) == (["value", "10", "0"], ["1", "2", "3"])
    means = {row[0]: row[2] for row in finding.rows()[1:]}
    assert rows[1][1:] == [means["10 / 2"], means["0 / 2"]]
    assert run_study(study(tmp_path), tmp_path / "plain").grid() == []
    page = report_studies(tmp_path / "out")
    assert '<a href="#ten">' in page.read_text()
    assert '<h2 id="ten">' in page.read_text()
    assert "| value | 10 | 0 |" in (page.parent / "results.md").read_text()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([91.2, 99.6], "95.4 ± 5.9"),
        ([300, 500], "400 ± 141"),
        ([1e-9, 3e-9], "2e-09 ± 1.4e-09"),
        ([0.5, 0.5], "0.5 ± 0"),
        ([0.0121, 0.0125], "0.0123 ± 0.0003"),
        ([3], "3"),
        ([math.nan], "-"),
    ],
)
def test_means_have_as_many_places_as_their_deviation(values, text):
    assert _mean(np.array(values, float)) == text


def test_settings_and_seeds_that_are_added_cost_only_their_own_cells_and_the_change_is_told(tmp_path):
    run_study(logged(tmp_path), tmp_path / "out")
    (tmp_path / "log").unlink()
    more = logged(tmp_path, vary="{mean: [3, 10, 0]}", seeds=7)
    assert collected(more, tmp_path / "out").missing == 9
    finding = run_study(more, tmp_path / "out")
    assert sorted(lines(tmp_path / "log")) == sorted([f"3 {seed}" for seed in range(7)] + ["10 6", "0 6"])
    assert finding.missing == 0
    assert finding.warnings == ["The file has changed since a part of this was measured."]
    assert len(finding.sessions) == 2


def test_a_measure_that_has_changed_is_measured_again(tmp_path):
    run_study(study(tmp_path), tmp_path / "out")
    other = study(tmp_path, measure="{class_path: study_lab.Noisy, init_args: {mean: 0, noise: 2}}")
    assert collected(other, tmp_path / "out").missing == 12


def test_a_finding_whose_file_has_changed_since_says_so(tmp_path):
    run_study(study(tmp_path), tmp_path / "out")
    assert not read_finding(tmp_path / "out" / "ten").warnings
    written(tmp_path, threshold=4)
    expected = "The file has changed since this was measured: run the study again."
    assert read_finding(tmp_path / "out" / "ten").warnings == [expected]
    page = report_studies(tmp_path / "out")
    for name in ("index.html", "results.md", "results.json"):
        assert expected in (page.parent / name).read_text()


def test_a_threshold_that_is_younger_than_the_measurement_is_told(tmp_path, monkeypatch):
    run_study(study(tmp_path, fixed_on=datetime.date.today()), tmp_path / "out")

    class Tomorrow(datetime.date):
        @classmethod
        def today(cls):
            return datetime.date.fromordinal(datetime.datetime.now().toordinal() + 2)

    monkeypatch.setattr(datetime, "date", Tomorrow)
    later = study(tmp_path, fixed_on=datetime.date.fromordinal(datetime.datetime.now().toordinal() + 1))
    assert "measured before the day" in collected(later, tmp_path / "out").warnings[-1]


def test_cells_that_fail_do_not_keep_others_from_being_measured_and_are_tried_again(tmp_path):
    measure = f"{{class_path: study_lab.Noisy, init_args: {{log: {tmp_path / 'log'}, fails: 2}}}}"
    failing = study(tmp_path, measure=measure)
    finding = run_study(failing, tmp_path / "out")
    assert finding.verdict == "not finished, 10 of 12 cells measured"
    assert finding.effect is None
    (tmp_path / "log").unlink()
    run_study(failing, tmp_path / "out")
    assert set(lines(tmp_path / "log")) == {"10 2", "0 2"}


def test_figures_that_were_not_announced_fail(tmp_path):
    forgetful = study(tmp_path, measure="{class_path: study_lab.Forgetful}", vary=None, compare="as it is", seeds=2)
    assert run_study(forgetful, tmp_path / "out").missing == 2
    faults = (tmp_path / "out" / "ten" / "sessions" / "001" / "faults.jsonl").read_text()
    assert "expected the figures value, as Forgetful.figures lists them, got number" in faults


def _run_slowly(folder):
    os.setpgid(0, 0)
    run_study(
        study(folder, measure=f"{{class_path: study_lab.Noisy, init_args: {{log: {folder / 'log'}, seconds: 0.2}}}}"),
        folder / "out",
    )


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_study_that_was_ended_between_cells_goes_on(tmp_path, ending):
    process = multiprocessing.get_context("fork").Process(target=_run_slowly, args=(tmp_path,))
    process.start()
    while len(lines(tmp_path / "log")) < 5:
        time.sleep(0.01)
    os.kill(process.pid, ending)
    process.join()
    measured = lines(tmp_path / "log")
    assert len(measured) < 12
    measure = f"{{class_path: study_lab.Noisy, init_args: {{log: {tmp_path / 'log'}, seconds: 0.2}}}}"
    finding = run_study(study(tmp_path, measure=measure), tmp_path / "out")
    assert finding.verdict == "holds"
    twice = len(lines(tmp_path / "log")) - 12
    assert twice <= 1, "what was being measured, at most"
    assert len(finding.sessions) == 1


def test_a_study_on_ray_finds_the_same(tmp_path, on_ray):
    measure = (
        "{class_path: Agreement, init_args: {space: {class_path: NASBench201}, samples: 30, "
        "evaluator: {class_path: Tabular, init_args: {run: 777}}, reference: {class_path: Tabular}}}"
    )
    changes = {"measure": measure, "vary": "{evaluator.run: [777, 888]}", "seeds": 2, "figure": "tau"}
    asked = study(tmp_path, **changes, compare="[777, 888]")
    here = run_study(asked, tmp_path / "here")
    there = run_study(asked, tmp_path / "there", executor=RayExecutor(2), workers=2)
    taus = [{cell[:2]: cell.figures["tau"] for cell in finding.cells} for finding in (here, there)]
    assert taus[0] == taus[1]
    assert len(taus[0]) == 4


def test_a_table_claims_nothing(tmp_path):
    without = dict.fromkeys(("compare", "test", "direction", "threshold"))
    finding = run_study(study(tmp_path, **without), tmp_path / "out")
    assert finding.verdict == "a table, no claim"
    assert finding.effect is None


def test_bills():
    assert seconds_of(Cost(recorded_seconds=3, device_seconds=2, wall_seconds=9)) == 5
    assert seconds_of(Cost(wall_seconds=9)) == 9
    for cost in (
        Cost(recorded_seconds=3, device_seconds=2, wall_seconds=9),
        Cost(wall_seconds=9),
        Cost(device_seconds=2),
    ):
        assert as_billed(cost).billed_seconds == seconds_of(cost)


# -- what comes along ----------------------------------------------------------------------------------


def test_measures_are_listed_once():
    assert set(measures.ALL) == set(entry_points("measures"))
    for name in measures.ALL:
        cls = load(name, "measures")
        assert issubclass(cls, Measure)
        assert cls.figures
        assert getattr(measures, name) is cls


def briefly(plain):
    """The same, with as little training as there can be."""
    if isinstance(plain, list):
        return [briefly(each) for each in plain]
    if not isinstance(plain, dict):
        return plain
    found = {name: briefly(each) for name, each in plain.items()}
    name = str(found.get("class_path")).rpartition(".")[2]
    if name in ("Training", "OneShot", "Differentiable"):
        found["init_args"]["epochs"] = 1
    if name == "Training":
        found["init_args"] |= {"skeleton": {"channels": 2, "cells": 1}, "train_examples": 60}
    return found


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_study_is_read_and_its_first_setting_can_be_measured(name):
    found = read_study(name)
    assert found.question is None or set(found.question.compare) <= set(found.measures)
    first = next(iter(found.measures.values()))
    plain = briefly(describe(first))
    quick = build(plain | {"init_args": plain["init_args"] | dict(first.quick)}, "measures")
    measured = quick.measure(0)
    assert set(measured.figures) == set(found.kinds)


def test_the_results_that_ship_are_of_the_files_that_ship():
    results = json.loads((Path(__file__).parents[1] / "docs" / "studies" / "results.json").read_text())
    assert results
    for each in results:
        assert each["digest"] == hashlib.sha256(shipped()[each["name"]].read_bytes()).hexdigest(), each["name"]
        assert not each["warnings"]


def test_the_page_lists_all_studies_and_measures():
    text = (Path(__file__).parents[1] / "docs" / "studies.md").read_text()
    for title, names in (("The studies that ship", shipped()), ("Measures", measures.ALL)):
        section = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == sorted(names)


def test_cells_have_names():
    space = study_lab.read_study("filtering_weak_candidates").space
    for architecture in [(0, 0), (5, 19)]:
        assert space.parse(space.format(architecture)) == architecture
    with pytest.raises(UsageError, match="is no cell"):
        space.parse("nothing, seed 3")
