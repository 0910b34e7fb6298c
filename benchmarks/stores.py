"""What shipping to a store costs a search: processor time a trial, in a folder and on a store in turns; the requests.

    python benchmarks/stores.py [--trials 4000] [--rounds 5]

Processor time is that of the search's process, the thread that ships included; the store is moto in a process of its
own.
Needs ``archsearch[test]``.
"""

import argparse
import collections
import os
import statistics
import subprocess
import sys
import tempfile
import time

from archsearch import search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import Function, Tabular
from archsearch.spaces import NASBench201
from archsearch.stores.filesystems import open_filesystem
from archsearch.stores.places import CACHE, place_of

SERVER = """
import collections, sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
import logging
logging.getLogger("werkzeug").setLevel(logging.ERROR)
application, counts = DomainDispatcherApplication(create_backend_app), collections.Counter()
def counted(environment, start):
    if environment["PATH_INFO"] == "/counts":
        start("200 OK", [])
        return [repr(dict(counts)).encode()]
    method = environment["REQUEST_METHOD"]
    counts["LIST" if "list-type" in environment.get("QUERY_STRING", "") else method] += 1
    return application(environment, start)
server = make_server("127.0.0.1", 0, counted, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""


def counts(port):
    """Requests so far, by kind."""
    import ast
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/counts") as answer:
        return collections.Counter(ast.literal_eval(answer.read().decode()))


def microseconds(out, trials):
    """Of processor time for one trial, from the first trial to the last: begin and end of the search are left out."""
    times = []
    note = lambda trial: times.append(time.process_time()) if trial.id in (0, trials - 1) else None  # noqa: E731
    search(NASBench201(), RegularizedEvolution(), Tabular(), trials=trials, seed=0, out=out, on_trial=note)
    return 1e6 * (times[-1] - times[0]) / (trials - 1)


def slow(value):
    """Takes 50 ms."""
    time.sleep(0.05)
    return float(len(str(value)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        port = int(server.stdout.readline())
        query = f"endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
        files, _ = open_filesystem(place_of(f"s3://bench/all?{query}&allow_bucket_creation=true"))
        files.create_dir("bench")
        with tempfile.TemporaryDirectory() as folder:
            os.environ[CACHE] = f"{folder}/copies"
            pairs = collections.defaultdict(list)
            for number in range(given.rounds):
                for seconds in ("10", "1", "0.1"):
                    local = microseconds(f"{folder}/{seconds}-{number}", given.trials)
                    out = f"s3://bench/{seconds}-{number}?{query}&ship_seconds={seconds}"
                    pairs[seconds].append((local, microseconds(out, given.trials)))
            for seconds, values in pairs.items():
                local, shipped = (statistics.median(each) for each in zip(*values, strict=True))
                ratio = statistics.median(there / here for here, there in values)
                print(f"every {seconds:>3} s: folder {local:.1f} µs a trial, store {shipped:.1f} µs, ratio {ratio:.2f}")
            before, began = counts(port), time.monotonic()
            settings = {"trials": 200, "seed": 0, "out": f"s3://bench/idle?{query}&ship_seconds=0.5"}
            search(NASBench201(), RegularizedEvolution(), Function(slow), **settings)
            seconds = time.monotonic() - began
            print(f"200 trials of 50 ms in {seconds:.0f} s, shipped every 0.5 s: {dict(counts(port) - before)}")
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
