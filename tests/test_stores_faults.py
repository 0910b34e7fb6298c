"""What goes wrong with a store: it goes away, says no, never answers, holds damaged objects; each is one line."""

import contextlib
import http.server
import re
import socket
import threading
import warnings

import forked
import pytest
import stores_lab
from common import run_command
from stores_lab import SEED, calls, drive, objects, path, uri, whole

from archsearch import resume, search
from archsearch.controllers import RegularizedEvolution
from archsearch.errors import RunFolderError, StorageError, UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.files.checksums import open_json, seal_json
from archsearch.files.damage import DamageWarning
from archsearch.keeping.folder import RunFolder
from archsearch.spaces import NASBench201
from archsearch.stores import shipping
from archsearch.stores.manifests import newest_manifest
from archsearch.stores.objects import Objects, OutOfReach, Refused
from archsearch.stores.places import place_of
from archsearch.stores.shipping import StoreWarning

pytestmark = pytest.mark.usefixtures("one_machine")


def other_machine(monkeypatch, tmp_path, name="other"):
    monkeypatch.setenv("ARCHSEARCH_STORES", str(tmp_path / name))


# -- it goes away --------------------------------------------------------------------------------------


def run(out, at):
    """A search, with what happens after some trials, by their ids."""
    controller, evaluator = RegularizedEvolution(population_size=20), Function(stores_lab.logged)
    happens = lambda trial: at.get(trial.id, lambda: None)()  # noqa: E731
    search(NASBench201(), controller, evaluator, out=out, seed=SEED, trials=stores_lab.TRIALS, on_trial=happens)


def test_a_store_that_is_away_for_a_while_costs_nothing(store, tmp_path, monkeypatch):
    monkeypatch.setenv(stores_lab.PAUSE, "0.004")
    out = store.uri("away", ship_seconds=0.05)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run(out, {40: store.go, 260: store.come})
    lines = [str(each.message) for each in told if issubclass(each.category, StoreWarning)]
    assert len(lines) == 1
    assert "cannot be reached" in lines[0]
    assert str(tmp_path / "machine") in lines[0]
    other_machine(monkeypatch, tmp_path)
    assert path(RunFolder(out).trials(SEED)) == whole(tmp_path)


def test_a_store_that_stays_away_ends_the_search_and_loses_nothing(store, tmp_path, monkeypatch):
    monkeypatch.setenv(stores_lab.PAUSE, "0.01")
    monkeypatch.setattr(shipping, "LOOK_SECONDS", 0.05)
    out = store.uri("gone", ship_seconds=0.05, patience=0.3)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StoreWarning)
            with pytest.raises(StorageError, match="nothing is lost: what the store lacks lies in") as error:
                run(out, {30: store.go})
    finally:
        store.come()
    assert "\n" not in str(error.value)
    done = len(calls(tmp_path))
    assert 30 < done < stores_lab.TRIALS
    monkeypatch.setenv(stores_lab.PAUSE, "0")
    resume(out, evaluator=Function(stores_lab.logged))
    seeds = calls(tmp_path)
    assert len(seeds) == len(set(seeds)) == stores_lab.TRIALS, "nothing is evaluated twice"
    other_machine(monkeypatch, tmp_path)
    assert path(RunFolder(out).trials(SEED)) == whole(tmp_path)


# -- it says no ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def answering(status, code):
    """A store that answers everything alike."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = f"<Error><Code>{code}</Code><Message>No</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def small(out):
    return search(NASBench201(), RegularizedEvolution(), Tabular(), trials=5, seed=0, out=out)


def test_no_such_bucket_is_one_line_and_leaves_nothing(store, tmp_path):
    out = uri(store.port, "nowhere/one")
    for use in (small, resume, RunFolder):
        with pytest.raises(RunFolderError, match=r"^s3://nowhere/one: there is no bucket nowhere") as error:
            use(out)
        assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("config.yaml"))


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (403, "InvalidAccessKeyId"), (400, "ExpiredToken")]
)
def test_no_permission_is_one_line(status, code):
    with answering(status, code) as port:
        for use in (small, RunFolder):
            with pytest.raises(Refused, match=r"^s3://runs/one: the store refuses this \(.*environment") as error:
                use(uri(port, "runs/one"))
            assert "\n" not in str(error.value)


def test_no_network_is_one_line(capsys):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        out = uri(unused.getsockname()[1], "runs/one")
    status, printed, said = run_command(capsys, "run", "--trials", "5", "--quiet", "--out", out)
    assert (status, printed) == (1, "")
    assert re.fullmatch(r"archsearch: s3://runs/one: the store cannot be reached \(.*\)\n", said)
    assert run_command(capsys, "status", out)[::2] == (1, said)


def test_a_store_that_never_answers_is_given_up(monkeypatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        out = uri(silent.getsockname()[1], "runs/one", request_timeout="1")
        with pytest.raises(OutOfReach, match="cannot be reached"):
            RunFolder(out)
        monkeypatch.setattr("archsearch.stores.objects.SECONDS", 0.2)  # where the client has no time-out of its own
        with pytest.raises(OutOfReach, match="no answer within 0 s"):
            RunFolder(out)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("s3://key:secret@bucket/one", r"^s3://\.\.\.@bucket/one: expected no credentials in the name"),
        ("s3://", "expected a folder in a store, such as s3://bucket/runs/one"),
        ("s3://bucket/one?regoin=x", "regoin: expected any of ship_seconds, .*, region"),
        ("s3://bucket/one?ship_seconds=often", "ship_seconds: expected a number >= 0.01, got 'often'"),
        ("s3://bucket/one?lease=0", "lease: expected a number >= 1, got '0'"),
        ("s3://bucket/one?anonymous=maybe", "anonymous: expected true or false, got 'maybe'"),
        ("nostore://bucket/one", "nostore"),
    ],
)
def test_names_of_stores_that_are_none(text, line):
    with pytest.raises(UsageError, match=line) as error:
        RunFolder(text)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


# -- it holds damaged objects --------------------------------------------------------------------------


def stopped(store, name, monkeypatch, tmp_path):
    """A run that was killed on a machine that is lost, and the objects that its journal lies in."""
    out = store.uri(name, ship_seconds=0.05, lease=1)
    monkeypatch.setenv(stores_lab.PAUSE, "0.004")
    process = forked.Process(drive, out, stores_lab.TRIALS, 10_000, cwd=tmp_path)
    stores_lab.wait_for(lambda: sum("journal-" in key for key in objects(out)) >= 4)
    process.kill()
    process.wait()
    monkeypatch.setenv(stores_lab.PAUSE, "0")
    other_machine(monkeypatch, tmp_path)
    newest = newest_manifest(Objects(place_of(out)), [])
    return out, [piece.key for piece in newest.files["journal/journal-000001.jsonl"].pieces]


def told_by(call, *arguments):
    """What it warns of."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call(*arguments)
    assert all(issubclass(each.category, DamageWarning) for each in found)
    return [str(each.message) for each in found]


def test_a_damaged_segment_is_named_and_costs_only_itself(store, tmp_path, monkeypatch):
    out, segments = stopped(store, "damaged", monkeypatch, tmp_path)
    there = Objects(place_of(out))
    data = bytearray(there.get(segments[1]))
    data[len(data) // 2] ^= 4
    there.put(segments[1], bytes(data))
    lines = told_by(drive, out)
    assert re.match(rf"s3://runs/damaged/{segments[1]} is damaged \(its checksum does not fit\)", lines[0])
    assert any(
        re.search(r"at least \d+ of its lines lost, what they held is evaluated again", line) for line in lines
    ), lines
    assert path(RunFolder(out).trials(SEED)) == whole(tmp_path)


def test_a_lost_segment_is_named_and_costs_only_itself(store, tmp_path, monkeypatch):
    out, segments = stopped(store, "lacking", monkeypatch, tmp_path)
    Objects(place_of(out)).delete(segments[1])
    lines = told_by(drive, out)
    assert lines[0].startswith(f"s3://runs/lacking/{segments[1]} is missing")
    assert path(RunFolder(out).trials(SEED)) == whole(tmp_path)


def test_a_damaged_manifest_has_an_older_one_stand_for_it(store, tmp_path, monkeypatch):
    out, _ = stopped(store, "manifest", monkeypatch, tmp_path)
    newest = max(key for key in objects(out) if key.startswith("_manifests/"))
    there = Objects(place_of(out))
    there.put(newest, there.get(newest)[:-30])
    lines = told_by(drive, out)
    assert re.fullmatch(rf"s3://runs/manifest/{newest} is damaged \(.*\): an older shipment stands for it", lines[0])
    assert path(RunFolder(out).trials(SEED)) == whole(tmp_path)


def test_manifests_that_are_all_damaged_are_an_error(store, tmp_path, monkeypatch):
    out, _ = stopped(store, "manifests", monkeypatch, tmp_path)
    there = Objects(place_of(out))
    for key in objects(out):
        if key.startswith("_manifests/"):
            there.put(key, b"{}")
    with pytest.raises(RunFolderError, match=r"_manifests/.*json is damaged .*, and there is no other manifest"):
        resume(out)


@pytest.mark.parametrize("name", ["../../outside", "/outside", "a/../../outside"])
def test_names_that_lead_out_of_the_folder_are_damage(name, tmp_path):
    out = f"file://{tmp_path}/store"
    small(out)
    there = Objects(place_of(out))
    for key in objects(out):
        if key.startswith("_manifests/"):
            value = open_json(there.get(key))
            value["files"][name] = value["files"].pop("config.yaml")
            there.put(key, seal_json(value))
    with pytest.raises(RunFolderError, match="no name of a file"):
        RunFolder(out + "/")
    assert not list(tmp_path.parent.rglob("outside"))
