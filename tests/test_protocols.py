"""The script of the papers' protocols: who is labelled, who is judged, and that a run that was stopped goes on."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import protocols

from archsearch.models import RandomForest


@pytest.mark.parametrize("part", ["graf", "printed"])
def test_labels_are_of_one_half_and_the_other_is_judged(part):
    known, asked = protocols.split(part, 467, 1)
    whole, again = protocols.split(part, 10_000, 1)
    sound = set(protocols.data()["sound"].tolist())
    assert len(sound) == 9_445
    assert len(known) == 467
    assert set(known.tolist()) < set(whole.tolist())
    assert (asked == again).all()
    assert set(whole.tolist()) | set(asked.tolist()) == sound
    assert not set(whole.tolist()) & set(asked.tolist())


def test_pinat_judges_all_cells():
    known, asked = protocols.split("pinat", 78, 1)
    assert (len(set(known.tolist())), len(asked)) == (78, 15_625)


def test_the_printed_column_is_no_validation_accuracy():
    found = protocols.data()
    assert np.abs(found["clean"] - found["valid"]).max() > 1
    assert not np.isnan(found["features"]).any()


def test_what_the_file_has_is_not_done_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(protocols, "MODELS", {"trees": (lambda: RandomForest(trees=3), True)})
    out = tmp_path / "rows.jsonl"
    arguments = ["protocols.py", "--out", str(out), "--parts", "graf", "--labels", "46", "128", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--models", "trees"])
    protocols.main()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["labels"], row["seed"]) for row in rows] == [(46, 1_000), (128, 1_000)]
    assert all(0.3 < row["tau"] < 0.9 and 0.3 < row["valid"] < 0.9 for row in rows)
    before = out.read_text()
    monkeypatch.setattr(protocols, "fit", lambda *key: pytest.fail("it is known"))
    protocols.main()
    assert out.read_text() == before
    printed = capsys.readouterr().out
    assert "| trees |" in printed
    assert "| graf, valid |" in printed
