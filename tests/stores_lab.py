"""A store on this machine that speaks S3 (moto), and searches on it that are to be killed."""

import contextlib
import gc
import logging
import threading
import time
from pathlib import Path

import pytest
from faulty_lab import PAUSE, logged, path
from werkzeug.serving import make_server

from archsearch import resume, search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import Function
from archsearch.keeping import history
from archsearch.keeping.folder import RunFolder
from archsearch.spaces import NASBench201
from archsearch.stores.filesystems import open_filesystem
from archsearch.stores.objects import Objects
from archsearch.stores.places import CACHE, place_of
from archsearch.stores.shipping import Shipper

BUCKET = "runs"
SEED = 5
TRIALS = 300
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class Store:
    """A server with a bucket; what it has stays while it is away.

    Attributes:
        port: Where it is.
    """

    def __init__(self):
        from moto.server import DomainDispatcherApplication, create_backend_app

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._application = DomainDispatcherApplication(create_backend_app)
        self.port = 0
        self.come()

    def come(self):
        self._server = make_server("127.0.0.1", self.port, self._application, threaded=True)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def go(self):
        self._server.shutdown()
        self._server.server_close()

    def uri(self, name, **settings):
        """A folder in the bucket, with settings."""
        return uri(self.port, f"{BUCKET}/{name}", **settings)


@contextlib.contextmanager
def started():
    """A store with its bucket, which this process may write to."""
    store = Store()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        files, _ = open_filesystem(place_of(uri(store.port, BUCKET, allow_bucket_creation="true")))
        files.create_dir(BUCKET)
        try:
            yield store
        finally:
            store.go()


def uri(port, path, **settings):
    given = {"endpoint_override": f"127.0.0.1:{port}", "scheme": "http", "region": "us-east-1", **settings}
    return f"s3://{path}?{'&'.join(f'{name}={value}' for name, value in given.items())}"


def objects(text):
    """What a store has, by name."""
    return {each.key: each for each in Objects(place_of(text)).list()}


def shipper(text):
    """What ships the copy of a store that this process writes to."""
    folder = place_of(text).folder
    return next(each for each in gc.get_objects() if isinstance(each, Shipper) and each._folder == folder)


def drive(out, trials=TRIALS, part_rows=60):
    """A search, or the same one from where it stopped."""
    history.PART_ROWS = part_rows
    parts = {"controller": RegularizedEvolution(population_size=20), "evaluator": Function(logged)}
    if (RunFolder(out).path / "config.yaml").exists():
        resume(out, **parts)
    else:
        search(NASBench201(), **parts, out=out, seed=SEED, trials=trials)


def whole(folder, trials=TRIALS):
    """The trials of a search that nothing happened to."""
    (folder / "whole").mkdir()
    with contextlib.chdir(folder / "whole"):
        found = search(
            NASBench201(), RegularizedEvolution(population_size=20), Function(logged), seed=SEED, trials=trials
        )
    return path(found.history)


def calls(folder):
    """Seeds of the evaluations that began."""
    log = Path(folder) / "calls.log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def machine(folder, pause=0.0):
    """The environment of a machine whose copies lie there."""
    return {CACHE: str(folder), PAUSE: str(pause), **CREDENTIALS}


def wait_for(condition, seconds=30):
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)
