"""Comparisons of controllers: going on after an interruption, and the files."""

from __future__ import annotations

import html
import shutil

import pyarrow.parquet as pq
import pytest
from controller_comparison_lab import Additive, Options, Oracle, Priced, Script

from archsearch.contests.controller_comparison import compare_controllers
from archsearch.controllers import RegularizedEvolution
from archsearch.errors import RunFolderError
from archsearch.testing import SeparableSpace

# -- going on ------------------------------------------------------------------------------------


def interruptible(tmp_path, seeds=3):
    return compare_controllers(
        SeparableSpace(),
        [RegularizedEvolution(5, 3)],
        {"sum": Additive(str(tmp_path / "asked"))},
        trials=20,
        seeds=seeds,
        out=tmp_path / "out",
    )


def test_an_interrupted_comparison_goes_on_where_it_was(tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir()
    whole = interruptible(tmp_path / "whole")
    for after in (1, 47, 110):
        monkeypatch.setattr(Additive, "interrupted_after", after)
        with pytest.raises(KeyboardInterrupt):
            interruptible(tmp_path)
    resumed = interruptible(tmp_path)
    assert resumed.curves() == whole.curves()
    assert resumed.figures().drop_columns("value") == whole.figures().drop_columns("value")
    assert figures_but_set_up(resumed) == figures_but_set_up(whole)
    assert (tmp_path / "asked").stat().st_size == 2 * 3 * 20 + 3  # no more than the interrupted ones was done again


def figures_but_set_up(comparison):
    return [row for row in comparison.figures().to_pylist() if row["figure"] != "set-up"]  # wall time


def test_lost_searches_are_done_again_and_further_seeds_are_added(tmp_path):
    before = interruptible(tmp_path)
    done = (tmp_path / "asked").stat().st_size
    folder = tmp_path / "out" / "searches" / "sum"
    shutil.rmtree(folder / "RandomSearch-1")
    after = interruptible(tmp_path)
    assert (tmp_path / "asked").stat().st_size == done + 20
    assert after.curves() == before.curves()
    assert figures_but_set_up(after) == figures_but_set_up(before)
    assert interruptible(tmp_path, seeds=4).seeds == 4
    assert (tmp_path / "asked").stat().st_size == done + 20 + 2 * 20


def test_other_conditions_are_refused_before_anything_runs(tmp_path):
    settings = {"trials": 5, "seeds": 2, "out": tmp_path}
    compare_controllers(SeparableSpace(), [Oracle()], [Additive()], **settings)
    for change, message in (
        ({"trials": 6}, "begun with trials=5, got trials=6"),
        ({"max_cost": 9.0}, "begun with max_cost=None, got max_cost=9.0"),
        ({"seed": 1}, "begun with seed="),
        ({"executor": "simulated", "workers": 2}, "begun with executor=local, workers=1, got executor=simulated"),
    ):
        with pytest.raises(RunFolderError, match=message):
            compare_controllers(SeparableSpace(), [Oracle()], [Additive()], **{**settings, **change})
    with pytest.raises(RunFolderError, match="controller differs"):
        compare_controllers(SeparableSpace(), {"Oracle": Script([1])}, [Additive()], **settings)
    with pytest.raises(RunFolderError, match="evaluator differs"):
        compare_controllers(SeparableSpace(), [Oracle()], {"Additive": Additive(fails=0)}, **settings)


def test_names_that_are_no_names_of_folders_stay_apart(tmp_path):
    names = ["a/b", "a_b", "..", "x" * 300]
    controllers = {name: Script([number]) for number, name in enumerate(names)}
    comparison = compare_controllers(Options(), controllers, {"../up": Priced()}, trials=1, seeds=2, out=tmp_path)
    (task,) = (tmp_path / "searches").iterdir()
    folders = [path.parent for path in task.glob("*/config.yaml")]
    assert len(folders) == 2 * (1 + len(names))
    assert comparison.controllers == ("RandomSearch", *names)


# -- files ---------------------------------------------------------------------------------------


def test_saved_files_hold_the_comparison(tmp_path):
    comparison = compare_controllers(
        SeparableSpace(),
        [RegularizedEvolution(5, 3), Oracle()],
        {"a_{b": Additive(), "$c": Additive()},
        trials=8,
        seeds=2,
    )
    path = comparison.save(tmp_path / "new" / "folder", command="archsearch compare <this>")
    assert path == tmp_path / "new" / "folder" / "index.html"
    assert pq.read_table(path.with_name("figures.parquet")) == comparison.figures()
    assert pq.read_table(path.with_name("curves.parquet")) == comparison.curves()
    for picture in ("regret_evaluations.png", "regret_cost.png"):
        assert path.with_name(picture).read_bytes().startswith(b"\x89PNG")
    text = path.read_text()
    assert text.count("data:image/png;base64,") == 2
    for forbidden in ("<script", "http://", "https://", 'src="regret'):
        assert forbidden not in text
    for shown in (*comparison.sentences, "archsearch compare <this>", "a_{b", "RegularizedEvolution"):
        assert html.escape(shown) in text
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot write the comparison"):
        comparison.save(tmp_path / "file")
