"""Damaged run folders: what is damaged is told and costs only itself."""

import argparse
import importlib.util
import json
import re
import shutil
import warnings
from pathlib import Path

import folder_lab
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from common import run_command
from folder_lab import SEED, begin, go_on, rows

from archsearch import search
from archsearch.errors import RunFolderError
from archsearch.files.checksums import Damaged, open_json, open_line, seal_json, seal_line
from archsearch.files.damage import DamageWarning
from archsearch.files.parquet import read_parquet, to_parquet
from archsearch.keeping import history
from archsearch.keeping.folder import RunFolder
from archsearch.showing import report as showing_report
from archsearch.showing import status as showing_status

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def whole():
    """The trials of an uninterrupted search, by kind."""
    return {kind: rows(search(**folder_lab.KINDS[kind](), seed=SEED).history) for kind in ("plain", "failures")}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Folders of searches that were killed: with a journal alone, and with two parts and a journal."""
    place = tmp_path_factory.mktemp("killed")
    begin("plain", place / "journal", killed_at=70)
    begin("failures", place / "parts", part_rows=30, killed_at=80)
    begin("plain", place / "finished")
    return place


@pytest.fixture
def folder(killed, tmp_path):
    """Gives a copy of such a folder."""

    def copy(name):
        shutil.copytree(killed / name, tmp_path / name)
        return tmp_path / name

    return copy


def change_line(path, number, change):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = change(lines[number])
    path.write_bytes(b"".join(lines))


# -- checksums ---------------------------------------------------------------------------------------


def test_each_flipped_bit_of_a_line_a_state_and_a_part_is_noticed():
    line = seal_line('["t",7,[1,2],null]', 12)
    assert open_line(line) == (["t", 7, [1, 2], None], 12)
    state = seal_json({"clock": 1.5})
    assert open_json(state) == {"clock": 1.5}
    readers = (
        (line[:-1], open_line),
        (state, open_json),
        (state, lambda d: open_json(d, sealed=False)),
    )
    for whole_bytes, read in readers:
        for bit in range(8 * len(whole_bytes)):
            changed = bytearray(whole_bytes)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(Damaged):
                read(bytes(changed))


def test_any_flipped_bit_of_a_parquet_file_is_noticed(tmp_path):
    table = pa.table({"id": range(50), "score": [float(i) for i in range(50)], "name": ["a", "b"] * 25})
    data, path = to_parquet(table, compression="zstd"), tmp_path / "t.parquet"
    path.write_bytes(data)
    assert read_parquet(path).equals(table)
    assert pq.read_table(path, page_checksum_verification=True).equals(table)
    for at in range(0, len(data), 3):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        with pytest.raises(Damaged):
            read_parquet(path)


def test_files_of_the_first_version_have_no_checksums_and_are_read():
    folder = folder_lab.folder_of("two-parts-finished")
    assert sum(read_parquet(path).num_rows for path in (folder / "trials").glob("*.parquet")) == 105


# -- what it costs -----------------------------------------------------------------------------------


def test_one_bad_line_in_the_middle_of_a_journal_costs_only_itself(folder, whole, capsys):
    run = folder("journal")
    change_line(run / "journal" / "journal-000001.jsonl", 31, lambda line: line.replace(b",0.", b",1.", 1))
    with pytest.warns(DamageWarning, match=r"journal-000001\.jsonl is damaged \(line 32 is changed or missing\)"):
        read = rows(RunFolder(run).trials(SEED))
    assert read == {id_: row for id_, row in whole["plain"].items() if id_ < 70 and id_ != 30}
    evaluated = []
    arguments = {name: folder_lab.KINDS["plain"]()[name] for name in ("space", "controller", "evaluator")}
    evaluate = arguments["evaluator"].evaluate_query
    arguments["evaluator"].evaluate_query = lambda query: evaluated.append(query.id) or evaluate(query)
    with pytest.warns(DamageWarning, match="evaluated again, all others are kept"):
        result = folder_lab.resume(run, **arguments)
    assert rows(result.history) == whole["plain"]
    assert evaluated == [30, *range(70, 100)]
    assert (run / "damaged" / "journal-000001.jsonl").exists()


def test_a_journal_that_lost_its_end_at_the_end_of_a_line_is_noticed(folder, whole):
    run = folder("journal")
    path = run / "journal" / "journal-000001.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-5]))
    with pytest.warns(DamageWarning, match="its end is missing"):
        assert len(list(RunFolder(run).trials(SEED))) == 65
    with pytest.warns(DamageWarning, match="its end is missing"):
        assert rows(go_on("plain", run).history) == whole["plain"]


@pytest.mark.parametrize("change", ["deleted", "emptied", "doubled"])
def test_a_state_that_is_gone_is_made_up_from_the_trials(change, folder, whole):
    run = folder("finished")
    path = run / "journal" / "state-000001.json"
    data = path.read_bytes()
    path.unlink() if change == "deleted" else path.write_bytes(b"" if change == "emptied" else 2 * data)
    with pytest.warns(DamageWarning, match="state"):
        assert rows(RunFolder(run).trials(SEED)) == whole["plain"]
    with pytest.warns(DamageWarning, match="state|all that is left"):
        assert rows(go_on("plain", run).history) == whole["plain"]
    assert rows(RunFolder(run).trials(SEED)) == whole["plain"]


def test_status_and_report_speak_of_a_damaged_part(folder, capsys):
    run = folder("finished")
    part = run / "trials" / "part-000001.parquet"
    data = part.read_bytes()
    part.write_bytes(data[:1000] + bytes(64) + data[1064:])
    with pytest.warns(DamageWarning, match=r"part-000001\.parquet is damaged") as told:
        status, out, _ = run_command(capsys, "status", str(run))
    assert status == 0
    assert "0 completed, 100 finished ones lost to damage" in out
    assert re.search(r"^damage .*part-000001\.parquet is damaged", out, re.M)
    line = warnings.formatwarning(told[0].message, DamageWarning, "cli.py", 1)
    assert line.startswith("archsearch: ")
    assert len(line.splitlines()) == 1
    with pytest.warns(DamageWarning):
        status, _, error = run_command(capsys, "report", str(run))
    assert status == 2
    assert "part-000001.parquet is damaged" in error
    with pytest.warns(DamageWarning, match="its trials are lost"):
        assert go_on("plain", run).completed == 100


def test_a_report_shows_the_rest_and_says_what_is_lost(folder):
    run = folder("parts")
    (run / "trials" / "part-000001.parquet").unlink()
    with pytest.warns(DamageWarning, match=r"part-000001\.parquet is missing: its 30 trials are lost"):
        page = showing_report.report(run).read_text()
    assert "part-000001.parquet is missing" in page


def test_a_damaged_newest_part_is_rebuilt(folder, whole):
    run = folder("parts")
    path = run / "trials" / "part-000002.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(DamageWarning, match="taken from the journal again"):
        assert rows(go_on("failures", run).history) == whole["failures"]


@pytest.mark.parametrize("content", ["[]", "{}", "space: 3", "a: [", "\udcff", "space: {class_path: a, init_args: {}}"])
def test_what_is_no_configuration_is_one_clear_line(content, folder, capsys):
    run = folder("finished")
    (run / "config.yaml").write_bytes(content.encode(errors="surrogateescape"))
    for command in ("status", "report", "resume", "show", "export"):
        status, _, error = run_command(capsys, command, str(run))
        assert status == 2, error
        assert len(error.splitlines()) == 1
        assert "config.yaml" in error


def test_a_configuration_that_is_cut_at_the_end_of_any_line_is_one_clear_line(folder, capsys):
    run = folder("finished")
    lines = (run / "config.yaml").read_text().splitlines(keepends=True)
    for kept in range(len(lines)):
        (run / "config.yaml").write_text("".join(lines[:kept]))
        if kept > lines.index("versions:\n") + 1:  # what is missing is only told
            with pytest.warns(DamageWarning, match=r"config\.yaml is not as it was written"):
                assert run_command(capsys, "status", str(run))[0] == 0
            continue
        status, _, error = run_command(capsys, "status", str(run))
        assert status == 2, kept
        assert len(error.splitlines()) == 1
        assert "config.yaml" in error


def test_a_configuration_that_is_cut_within_its_last_entry_is_one_clear_line(folder, capsys):
    run = folder("finished")
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text[: text.index("fingerprints:")] + "fingerprints: evalu")
    for command in ("status", "resume"):
        status, _, error = run_command(capsys, command, str(run))
        assert status == 2
        assert "config.yaml: fingerprints: expected a mapping, got str" in error
        assert len(error.splitlines()) == 1


def test_a_changed_configuration_is_told(folder):
    run = folder("finished")
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("population_size: 10", "population_size: 11"))
    with pytest.warns(DamageWarning, match=r"config\.yaml is not as it was written"):
        RunFolder(run).config()


@pytest.mark.parametrize("event", ["[]", '["t"]', '["t",1,2,3,4,5,6,7,8,9,10]', '["x"]', '["a",1,2,[3]]', '["s",null]'])
def test_events_that_nobody_wrote_end_no_reading_command(event, folder):
    run = folder("journal")
    path = run / "journal" / "journal-000001.jsonl"
    change_line(path, 70, lambda _: seal_line(event if event != "[]" else "[0]", 70))
    with pytest.warns(DamageWarning, match="there is no such event"):
        assert len(list(RunFolder(run).trials(SEED))) == 69
    with pytest.warns(DamageWarning):
        showing_status.status(run)


@pytest.mark.parametrize("entry", ["controller", "pending", "waiting", "best"])
def test_a_state_that_nobody_wrote_is_an_error_that_names_the_folder(entry, folder):
    run = folder("finished")
    path = run / "journal" / "state-000001.json"
    path.write_bytes(seal_json(open_json(path.read_bytes()) | {entry: "?"}))
    with pytest.raises(RunFolderError, match="the state of this search cannot be read"):
        go_on("plain", run)
    assert not RunFolder(run).in_use()


@pytest.mark.parametrize("entry", ["costs", "clock", "setup_cost", "parts", "completed"])
def test_a_state_without_sound_figures_is_made_up_from_the_trials(entry, folder, whole):
    run = folder("finished")
    path = run / "journal" / "state-000001.json"
    path.write_bytes(seal_json(open_json(path.read_bytes()) | {entry: "?"}))
    with pytest.warns(DamageWarning, match=r"state-000001\.json is damaged \(no state of a search"):
        assert rows(go_on("plain", run).history) == whole["plain"]


# -- at random ---------------------------------------------------------------------------------------


def test_random_changes_are_never_silently_wrong(tmp_path, capsys):
    """A smaller, seeded ``make faults``."""
    spec = importlib.util.spec_from_file_location("damage_script", ROOT / "scripts" / "damage.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    arguments = argparse.Namespace(changes=12, seed=11, processes=2)
    counts, faults = script.run(tmp_path, ["finished", "journal", "two parts"], arguments)
    assert not faults, "\n".join(faults)
    assert sum(each.total() for each in counts.values()) == 36


def test_the_journal_is_plain_json(folder):
    lines = (folder("journal") / "journal" / "journal-000001.jsonl").read_text().splitlines()
    assert [json.loads(line)[0] for line in lines] == ["j", *"t" * 70]
    assert history.PART_ROWS == 20_000
