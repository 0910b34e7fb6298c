"""Runs on a store, killed: what the store has, what is evaluated again, with the machine kept and with it lost."""

import random
import shutil
import time

import forked
from stores_lab import SEED, calls, drive, machine, objects, path, whole

from archsearch.keeping.folder import RunFolder
from archsearch.stores.manifests import newest_manifest
from archsearch.stores.objects import Objects
from archsearch.stores.places import place_of


def killed_while_it_searches(uri, folder, machines, delays, kills):
    """Kills a search a few times, then has it end; ``machines`` says whose copies each session has."""
    for number in range(100):
        environment = machine(machines(number), 0.004 if number < kills else 0.0)
        process = forked.Process(drive, uri, cwd=folder, environment=environment)
        if number < kills:
            begun = len(calls(folder))
            end = time.monotonic() + 20
            while len(calls(folder)) < begun + 5 and time.monotonic() < end and process.poll() is None:
                time.sleep(0.01)
            if process.wait(timeout=delays.uniform(0.0, 0.5)) is None:
                process.kill()
                process.wait()
                continue
        assert process.wait() == 0, process.stderr
        return number
    raise AssertionError("it did not end")


def test_where_the_machine_survives_nothing_is_lost(store, tmp_path, monkeypatch):
    uri = store.uri("survives", ship_seconds=0.1, lease=600)  # its own machine waits for no lease
    monkeypatch.setenv("ARCHSEARCH_STORES", str(tmp_path / "other"))
    kills = killed_while_it_searches(uri, tmp_path, lambda _: tmp_path / "one", random.Random(1), 4)
    seeds = calls(tmp_path)
    found = list(RunFolder(uri).trials(SEED))
    assert path(found) == whole(tmp_path)
    assert len(seeds) - len(set(seeds)) <= kills, "only what was pending when it was killed is evaluated again"
    assert kills >= 3


def test_where_the_machine_is_lost_the_run_goes_on_from_the_last_shipment(store, tmp_path, monkeypatch):
    uri = store.uri("lost", ship_seconds=0.1, lease=1)

    shipped = []

    def machines(number):
        """A new one each time; what was shipped before is noted."""
        if number:
            shutil.rmtree(tmp_path / f"machine-{number - 1}", ignore_errors=True)
            monkeypatch.setenv("ARCHSEARCH_STORES", str(tmp_path / f"looks-{number}"))
            shipped.append(({trial.seed for trial in RunFolder(uri).trials(SEED)}, len(calls(tmp_path))))
        return tmp_path / f"machine-{number}"

    kills = killed_while_it_searches(uri, tmp_path, machines, random.Random(2), 3)
    monkeypatch.setenv("ARCHSEARCH_STORES", str(tmp_path / "other"))
    assert path(RunFolder(uri).trials(SEED)) == whole(tmp_path)
    for seeds, before in shipped:
        assert seeds.isdisjoint(calls(tmp_path)[before:]), "what was shipped is not evaluated again"
    assert any(seeds for seeds, _ in shipped)
    assert kills >= 2


def test_a_finished_run_leaves_what_its_manifests_name_and_nothing_else(store, tmp_path):
    uri = store.uri("tidy", ship_seconds=0.05)
    process = forked.run(drive, uri, cwd=tmp_path, environment=machine(tmp_path / "one", 0.002))
    assert process.poll() == 0, process.stderr
    newest = newest_manifest(Objects(place_of(uri)), [])
    there = objects(uri)
    assert newest.keys() <= set(there)
    assert sorted(newest.files) == [
        "config.yaml",
        "journal/state-000006.json",
        "lock",
        *(f"trials/part-{number:06d}.parquet" for number in range(1, 6)),
    ]
    left = set(there) - newest.keys()
    assert sum(key.startswith("_manifests/") for key in left) <= 1, "the one before it"
    assert not any(key.startswith("_writer/") for key in there)
