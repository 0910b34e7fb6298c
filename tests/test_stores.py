"""Runs on a store: as those of a folder, looked at and gone on with from anywhere, by one writer at a time."""

import contextlib
import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import forked
import pytest
import stores_lab
from common import run_command
from hypothesis import given, settings
from hypothesis import strategies as st
from stores_lab import drive, machine, objects, path

from archsearch import cli, frames, resume, search, verify
from archsearch.controllers import RegularizedEvolution
from archsearch.errors import RunFolderError, StorageError, UsageError
from archsearch.evaluators import Tabular
from archsearch.files.damage import DamageWarning
from archsearch.keeping import history
from archsearch.keeping.folder import RunFolder
from archsearch.spaces import NASBench201
from archsearch.stores import claims, shipping, snapshots
from archsearch.stores.claims import take
from archsearch.stores.manifests import newest_manifest
from archsearch.stores.mirrors import Mirror, written
from archsearch.stores.objects import Objects
from archsearch.stores.places import is_store, place_of

pytestmark = pytest.mark.usefixtures("one_machine")


@pytest.fixture
def moved(tmp_path, monkeypatch):
    """From here on this is another machine."""

    def move(name="other"):
        monkeypatch.setenv("ARCHSEARCH_STORES", str(tmp_path / name))

    return move


def small(out, trials=60, **options):
    return search(NASBench201(), RegularizedEvolution(), Tabular(), trials=trials, seed=0, out=out, **options)


# -- a run on a store is the run ------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["s3", "file", "memory"])
def test_a_run_on_a_store_is_that_of_a_folder(scheme, store, tmp_path, moved, monkeypatch):
    monkeypatch.setattr(history, "PART_ROWS", 25)
    out = {"s3": store.uri("same", ship_seconds=0.02), "file": f"file://{tmp_path}/store", "memory": "memory://same"}[
        scheme
    ]
    small(out)
    small("folder")
    moved()
    folder, there = RunFolder("folder"), RunFolder(out)
    assert path(there.trials(0)) == path(folder.trials(0))
    names = [str(each.relative_to("folder")) for each in sorted(Path("folder").rglob("*")) if each.is_file()]
    assert [str(each.relative_to(there.path)) for each in sorted(there.path.rglob("*")) if each.is_file()] == names
    assert there.config() | {"versions": 0} == folder.config() | {"versions": 0}
    resume(out, trials=90)
    resume("folder", trials=90)
    moved("third")
    assert path(RunFolder(out).trials(0)) == path(RunFolder("folder").trials(0))


def test_parts_can_be_read_where_they_lie(store):
    """By whoever reads Parquet from a bucket."""
    import pyarrow.dataset

    out = store.uri("parts")
    small(out)
    there = Objects(place_of(out))
    table = pyarrow.dataset.dataset("runs/parts/trials", filesystem=there._files, format="parquet").to_table()
    assert table["id"].to_pylist() == list(range(60))


def test_commands_read_a_store_from_another_machine(store, moved, capsys):
    out = store.uri("read")
    assert cli.main(["run", "--trials", "40", "--seed", "0", "--quiet", "--out", out]) == 0
    assert f"saved     {out}" in capsys.readouterr().out
    moved()
    status, printed, _ = run_command(capsys, "status", out, "--json")
    document = json.loads(printed)
    assert status == 0
    assert (document["directory"], document["state"]) == (out, "not running")
    assert document["trials"] == {"completed": 40, "failed": 0, "pending": 0}
    status, printed, _ = run_command(capsys, "report", out)
    assert status == 0
    page = Path(printed.rstrip().rpartition("report    ")[2])
    assert page.is_relative_to(place_of(out).folder)
    assert "40" in page.read_text()
    assert "trial" in run_command(capsys, "show", out)[1]
    assert "40" in run_command(capsys, "watch", "--once", out)[1]
    assert frames([out]).runs["run"].to_pylist() == [out]
    status, printed, said = run_command(capsys, "run", "--trials", "40", "--seed", "0", "--quiet", "--out", out)
    assert status == 0, said
    assert "40" in printed
    status, _, said = run_command(capsys, "run", "--trials", "40", "--seed", "1", "--quiet", "--out", out)
    assert status == 2
    assert "there is a run here already, of seed 0; got seed 1" in said


def test_what_verifies_and_exports_writes_to_the_store(store, moved):
    out = store.uri("verified")
    small(out)
    moved()
    verify(out, Tabular(), top=2, seed=1)
    moved("third")
    found = RunFolder(out)
    assert found.verifications().num_rows == 2
    assert not found.in_use()


@pytest.mark.slow
def test_a_comparison_on_a_store(store, moved, capsys):
    out = store.uri("compared")
    given = ["--evaluators.A", "Tabular", "--samples", "20", "--budgets", "[50]", "--best", "0", "--quiet"]
    status, _, said = run_command(capsys, "compare", *given, "--seed", "0", "--out", out)
    assert status == 0, said
    moved()
    with written(out) as folder:
        assert (folder / "index.html").exists()


def test_there_is_no_run_where_nothing_is(store, capsys):
    out = store.uri("nothing")
    for command in ("status", "report", "resume", "verify"):
        extra = ["--evaluator", "Tabular"] if command == "verify" else []
        status, _, said = run_command(capsys, command, out, *extra)
        assert status == 2
        assert "no run here" in said
        assert said.count("\n") == 1
    assert not any(key.startswith("_manifests") for key in objects(out))


def test_a_search_that_is_refused_leaves_nothing(store):
    class Refuses(Tabular):
        def prepare(self):
            raise UsageError("not today")

    out, parts = store.uri("refused"), (NASBench201(), RegularizedEvolution())
    with pytest.raises(UsageError, match="not today"):
        search(*parts, Refuses(), trials=5, out=out)
    assert not objects(out)
    small(out)


def test_a_copy_is_no_folder_to_write_to(store):
    out = store.uri("copied")
    small(out)
    with pytest.raises(RunFolderError, match="this is the copy of s3://runs/copied on this machine; name that instead"):
        resume(place_of(out).folder, trials=80)
    with pytest.raises(UsageError, match="as a text, got a Path, which loses a slash"):
        small(Path(out))
    with pytest.raises(RunFolderError, match="there is a run here already; 'archsearch resume s3://runs/copied"):
        small(out)


# -- one writer at a time ------------------------------------------------------------------------------


def test_a_second_writer_is_refused_on_this_machine_and_on_others(store, moved):
    out = store.uri("two", lease=1)
    mirror = Mirror(out)
    try:
        with pytest.raises(RunFolderError, match="another process of this machine is running this search"):
            Mirror(out)
        moved()
        began = time.monotonic()
        with pytest.raises(
            RunFolderError, match=r"two: process \d+ of \S+ is running this search; wait for it or stop it"
        ):
            Mirror(out)
        assert time.monotonic() - began < 30
        mirror.check()
    finally:
        mirror.close()
    Mirror(out).close()


def test_it_is_said_of_a_run_elsewhere_that_it_is_running(store, tmp_path, moved, capsys):
    out = store.uri("running", ship_seconds=0.05)
    process = forked.Process(drive, out, cwd=tmp_path, environment=machine(tmp_path / "machine", 0.02))
    moved()
    stores_lab.wait_for(lambda: any("journal-" in key for key in objects(out)))
    _, printed, error = run_command(capsys, "status", out)
    process.kill()
    process.wait()
    assert printed.startswith("state     running\n"), error


def test_of_writers_that_come_at_once_at_most_one_is_taken(store, monkeypatch):
    monkeypatch.setattr(claims, "TRIES", 2)
    for number in range(3):
        there = Objects(place_of(store.uri(f"race-{number}", lease=3)))
        begin, taken = threading.Barrier(4), []

        def come(there=there, begin=begin, taken=taken):
            begin.wait()
            with contextlib.suppress(RunFolderError):
                claim = take(there)
                taken.append(claim)
                for _ in range(4):
                    time.sleep(0.4)
                    claim.beat()

        threads = [threading.Thread(target=come) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(taken) <= 1


def test_a_writer_that_was_taken_for_dead_stops_and_harms_nothing(store, tmp_path, moved, monkeypatch):
    """Its process is held up for longer than the lease; another machine goes on; then it wakes."""
    monkeypatch.setattr(shipping, "LOOK_SECONDS", 0.05)
    out = store.uri("asleep", ship_seconds=0.05, lease=1)
    asleep = Mirror(out)
    asleep._shipper._end.set()  # it gives no sign of life any more
    asleep._shipper._thread.join()
    (asleep.folder / "config.yaml").write_text("older: 1\n")
    moved()
    with written(out) as folder:
        (folder / "config.yaml").write_text("newer: 1\n")
    with pytest.raises(
        StorageError, match=r"another process has gone on with this run.*nothing is lost: what the store lacks lies in"
    ):
        asleep.close()
    moved("third")
    with pytest.raises(RunFolderError):
        RunFolder(out).config()
    assert (place_of(out).folder / "config.yaml").read_text() == "newer: 1\n"
    moved("machine")
    with pytest.warns(
        DamageWarning, match="another machine has gone on with it; what this one had lies in .*set-aside-1"
    ):
        RunFolder(out)
    assert (place_of(out).folder / "config.yaml").read_text() == "newer: 1\n"
    assert (place_of(out).around / "set-aside-1" / "config.yaml").read_text() == "older: 1\n"


def test_a_shipment_of_an_older_session_counts_for_nothing(store, moved):
    """It was on its way when another writer went on."""
    out = store.uri("late", lease=1)
    with written(out) as folder:
        (folder / "a").write_text("first")
    late = newest_manifest(Objects(place_of(out)), [])._replace(number=99, files={})
    moved()
    with written(out) as folder:
        (folder / "a").write_text("second")
    there = Objects(place_of(out))
    there.put(late.key, late.data())
    moved("third")
    with written(out) as folder:
        assert (folder / "a").read_text() == "second"


# -- what is shipped -----------------------------------------------------------------------------------


def test_of_a_file_that_grew_its_end_is_shipped_and_now_and_then_the_whole(store, monkeypatch):
    monkeypatch.setattr(shipping, "PIECES", 4)
    out = store.uri("grows", ship_seconds=1000, lease=1000)
    line = "x" * 200 + "\n"
    with written(out) as folder:
        ship = stores_lab.shipper(out).ship
        for number in range(1, 9):
            (folder / "a.jsonl").open("a").write(line)
            (folder / "torn.jsonl").write_text(line + "half a line")
            ship()
            files = newest_manifest(Objects(place_of(out)), []).files
            pieces = [piece.size for piece in files["a.jsonl"].pieces]
            assert pieces == {1: [201], 4: [201] * 4, 5: [5 * 201], 8: [5 * 201] + [201] * 3}.get(number, pieces)
            assert files["torn.jsonl"].size == 201, "a line is whole or not there"


@given(st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_a_snapshot_is_the_folder_at_one_moment(seed):
    """Files are renamed into place one after the other; whoever sees a later one sees all the earlier ones."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder, ended = Path(name) / "run", threading.Event()
        (folder / "b").mkdir(parents=True)

        def write():
            rng = random.Random(seed)
            for number in range(200):
                for each in ("b/second", "a-first") if number % 2 else ("a-first", "b/second"):
                    aside = folder / "aside.tmp"
                    aside.write_text(str(number))
                    aside.rename(folder / each)
                if rng.random() < 0.02:
                    time.sleep(0.002)
            ended.set()

        thread = threading.Thread(target=write)
        thread.start()
        seen = 0
        while not ended.is_set():
            with snapshots.snapshot(folder, Path(name) / "links", {}) as (_, links):
                if len(links) == 2:
                    first, second = (int(links[each].read_text()) for each in ("a-first", "b/second"))
                    assert abs(first - second) <= 1
                    assert (first >= second) if max(first, second) % 2 == 0 else (second >= first)
                    seen += 1
        thread.join()
        assert seen


def test_what_names_a_store():
    assert is_store("s3://bucket/one")
    assert not is_store("runs/one")
    assert not is_store("C:/runs")
    assert not is_store(Path("s3://bucket/one"))
    place = place_of("s3://bucket/runs/one/?region=eu-west-1&ship_seconds=2")
    assert (place.uri, place.options, place.ship_seconds) == ("s3://bucket/runs/one", (("region", "eu-west-1"),), 2.0)
    assert place.folder == place_of("s3://bucket/runs/one").folder
    assert place.folder != place_of("s3://bucket/runs/one?endpoint_override=localhost:9000").folder


def test_a_local_run_knows_nothing_of_stores(tmp_path):
    code = (
        "import sys\nfrom archsearch import search\nfrom archsearch.controllers import RandomSearch\n"
        "from archsearch.evaluators import Tabular\nfrom archsearch.spaces import NASBench201\n"
        "search(NASBench201(), RandomSearch(), Tabular(), trials=3, seed=0, out='one')\n"
        "print(sorted(name for name in sys.modules if name.startswith(('archsearch.stores', 'fsspec'))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "['archsearch.stores', 'archsearch.stores.places']\n"
