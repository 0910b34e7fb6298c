"""``archsearch serve``: what the page is told, who is answered, and what a stranger's folder can do: nothing."""

import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

import numpy as np
import pytest
from common import run_command

from archsearch import resume, search
from archsearch.controllers import RandomSearch
from archsearch.evaluators import Function, Tabular
from archsearch.serving import PageServer
from archsearch.serving import runs as serving_runs
from archsearch.spaces import Choices, NASBench201

TEXT = "<script>alert(1)</script>&\x1b[2J"
SPACE = Choices({"<b>kernel</b>": [3, 5, 7], "width": [16, 32, 64, 128]})


def score(values):
    if values["width"] == 64:
        raise ValueError(TEXT)
    return float(values["width"])


def make(folder):
    """A run on a table, and one further down some of whose trials fail."""
    search(NASBench201(), RandomSearch(), Tabular(), trials=60, seed=0, out=folder / "table")
    search(SPACE, RandomSearch(), Function(score), trials=9, seed=1, out=folder / "lab" / "failing")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    make(folder)
    return folder


class Client:
    """Asks a page that runs in a thread of this process."""

    def __init__(self, server):
        self.server = server
        parts = urllib.parse.urlsplit(server.address)
        self.port, self.key = parts.port, parts.path

    def ask(self, target, method="GET", host="127.0.0.1", below=True):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, (self.key if below else "") + target, headers={"Host": f"{host}:{self.port}"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), body

    def json(self, what, **query):
        status, _, body = self.ask(f"{what}.json?{urllib.parse.urlencode(query)}")
        return status, json.loads(body)

    def ids(self):
        return {run["name"]: run["id"] for run in self.json("runs")[1]["runs"]}


@pytest.fixture
def serve():
    """Serves folders until the test is over."""
    servers = []

    def start(*folders, **options):
        servers.append(PageServer(folders, 0, **options))
        threading.Thread(target=servers[-1].serve, daemon=True).start()
        return Client(servers[-1])

    yield start
    for server in servers:
        server.close()


# -- what it says ------------------------------------------------------------------------------------


def test_runs_are_found_below_and_said_as_status_says_them(runs, serve):
    (runs / "not_a_run").mkdir(exist_ok=True)
    (runs / "not_a_run" / "config.yaml").write_text("a: 1\n")
    found = {run["name"]: run for run in serve(runs).json("runs")[1]["runs"]}
    assert list(found) == ["lab/failing", "table"]
    table, failing = found["table"], found["lab/failing"]
    assert (table["state"], table["trials"], table["failed"]) == ("not running", "60", "0")
    assert table["label"] == "validation accuracy, % (cifar10)"
    assert (failing["label"], failing["evaluator"], failing["space"]) == ("score (Function)", "Function", "Choices")
    assert int(failing["failed"]) >= 1
    best = max(trial.score for trial in resume(runs / "table").history)
    assert table["best"] == f"{best:.6g}"


def test_the_curve_is_the_running_maximum_over_trials_and_recorded_cost(runs, serve):
    client = serve(runs)
    course = client.json("run", run=client.ids()["table"])[1]["course"]
    trials = list(resume(runs / "table").history)
    scores = [trial.score for trial in trials]
    seconds = np.cumsum([trial.evaluation.cost.recorded_seconds for trial in trials])
    tops = np.maximum.accumulate(scores)
    assert [point[2] for point in course["scores"]] == scores
    np.testing.assert_allclose([point[1] for point in course["scores"]], seconds)
    rising = [i for i in range(60) if i == 0 or tops[i] > tops[i - 1]]
    assert [point[0] for point in course["best"]] == [i + 1 for i in rising] + ([60] if rising[-1] != 59 else [])
    assert course["best"][-1][2] == max(scores)
    assert course["below"] == sum(each < course["low"] for each in scores)
    assert (course["unit"], course["seconds"]) == ("hours", 3600)


def test_trials_are_sorted_on_the_server_page_by_page(runs, serve):
    client = serve(runs)
    id_ = client.ids()["table"]
    trials = list(resume(runs / "table").history)
    for column, down in (("score", 1), ("score", 0), ("params", 1), ("id", 0), ("id", 1)):
        said = []
        for start in (0, 25, 50):
            _, found = client.json("trials", run=id_, sort=column, down=down, count=25, **{"from": start})
            said += [int(row[found["columns"].index("id")]) for row in found["rows"]]
        value = {"score": lambda t: t.score, "params": lambda t: t.metrics["params"], "id": lambda t: t.id}[column]
        assert said == [t.id for t in sorted(trials, key=lambda t: (-value(t) if down else value(t), t.id))]
    assert client.json("trials", run=id_, sort="no such")[1]["sort"] == "score"
    assert client.json("trials", run=id_, sort="no such")[1]["total"] == 60
    assert client.json("trials", run=id_, **{"from": "-1"})[0] == 404
    assert len(client.json("trials", run=id_, count=10**9)[1]["rows"]) == 60


def test_faults_and_what_failed_are_told_as_text(runs, serve):
    client = serve(runs)
    run = client.json("run", run=client.ids()["lab/failing"])[1]
    faults = run["faults"]
    row = dict(zip(faults["columns"], faults["rows"][0], strict=True))
    assert row["kind"] == "exception"
    assert "<script>alert(1)</script>&\\x1b[2J" in row["error"]
    assert "\x1b" not in row["error"]
    assert dict(run["facts"])["faults"].startswith(f"{faults['count']} exception")
    assert "exception" in {cell for row in client.json("trials", run=run["id"])[1]["rows"] for cell in row}


def test_an_architecture_is_drawn_and_runs_nothing(runs, serve):
    client = serve(runs)
    run = client.json("run", run=client.ids()["lab/failing"])[1]
    status, headers, body = client.ask(f"drawing.svg?run={run['id']}&trial={run['best_trial']}")
    assert (status, headers["Content-Type"]) == (200, "image/svg+xml")
    assert b"<svg" in body
    assert b"<script" not in body
    assert headers["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    assert client.ask(f"drawing.svg?run={run['id']}&trial=99999")[0] == 404
    assert client.ask(f"drawing.svg?run={run['id']}&trial=x")[0] == 404


def test_a_run_that_grows_is_read_again_and_one_that_does_not_is_not(tmp_path, serve, monkeypatch):
    search(NASBench201(), RandomSearch(), Tabular(), trials=5, seed=0, out=tmp_path / "run")
    client, read = serve(tmp_path), []
    real = serving_runs.standing
    monkeypatch.setattr(serving_runs, "standing", lambda *a, **k: read.append(a) or real(*a, **k))
    first = client.json("runs")[1]["runs"][0]
    assert client.json("runs")[1]["runs"][0] == first
    assert len(read) == 1
    resume(tmp_path / "run", trials=9)
    again = client.json("runs")[1]["runs"][0]
    assert (first["trials"], again["trials"]) == ("5", "9")
    assert first["stamp"] != again["stamp"]
    assert client.json("run", run=first["id"])[1]["course"]["trials"] == 9
    shutil.rmtree(tmp_path / "run")
    assert client.json("runs")[1]["runs"] == []
    assert client.json("run", run=first["id"])[0] == 404


def test_where_the_time_does_not_suffice_the_rest_is_read_by_the_next_look(runs, serve, monkeypatch):
    client = serve(runs)
    monkeypatch.setattr(serving_runs, "AT_ONCE", -1.0)
    assert {run["state"] for run in client.json("runs")[1]["runs"]} == {"not read yet"}
    monkeypatch.setattr(serving_runs, "AT_ONCE", 60.0)
    assert {run["state"] for run in client.json("runs")[1]["runs"]} == {"not running"}


# -- who is answered ---------------------------------------------------------------------------------


def test_only_reading_by_the_address_that_was_printed(runs, serve):
    client = serve(runs)
    assert client.server.address.startswith("http://127.0.0.1:")
    assert client.server._server.server_address[0] == "127.0.0.1"
    assert [client.ask("", host=host)[0] for host in ("127.0.0.1", "localhost")] == [200, 200]
    for host in ("evil.example", "127.0.0.1.evil.example", ""):
        assert client.ask("runs.json", host=host)[0] == 403, host
    assert client.ask("/runs.json", below=False)[0] == 404
    assert client.ask("/x/runs.json", below=False)[0] == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        status, headers, _ = client.ask("runs.json", method)
        assert status == 501
        assert "Access-Control-Allow-Origin" not in headers
    status, headers, body = client.ask("runs.json", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 2


def test_every_answer_has_its_policy(runs, serve):
    client = serve(runs)
    for target in ("", "page.js", "page.css", "runs.json", "nothing", "run.json?run=x"):
        _, headers, _ = client.ask(target)
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"


def test_no_path_leads_out(runs, serve):
    client = serve(runs / "table")
    secret = runs / "lab" / "failing" / "config.yaml"
    for target in (
        "../../lab/failing/config.yaml",
        "..%2f..%2fconfig.yaml",
        "server.py",
        f"run.json?run={urllib.parse.quote(str(secret.parent))}",
        "run.json?run=../lab/failing",
        "run.json?" + "&".join(f"a{i}=1" for i in range(50)),
        "//etc/passwd",
        "trials.json",
    ):
        assert client.ask(target)[0] in (404, 500), target
    assert client.ids().keys() == {"table"}


def test_nothing_of_the_page_comes_from_elsewhere():
    for path in Path(serving_runs.__file__).parent.glob("page.*"):
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "//" not in text.replace("// ", "").replace('"//', ""), path
        assert "innerHTML" not in text
        assert "eval(" not in text


# -- folders of strangers ----------------------------------------------------------------------------


def test_a_strangers_folder_is_data(tmp_path, serve, runs):
    for name in ("class", "link", "broken", "damaged"):
        shutil.copytree(runs / "table", tmp_path / name)
    (tmp_path / "stranger_lab.py").write_text("raise SystemExit('imported')")
    config = tmp_path / "class" / "config.yaml"
    config.write_text(config.read_text().replace("archsearch.spaces.nasbench201.NASBench201", "stranger_lab.Space"))
    (tmp_path / "secret").write_text('{"kind": "secret"}')
    (tmp_path / "link" / "faults.jsonl").symlink_to(tmp_path / "secret")
    (tmp_path / "broken" / "config.yaml").write_text(TEXT)
    client = serve(tmp_path)
    found = {run["name"]: run for run in client.json("runs")[1]["runs"]}
    assert found["class"]["trials"] == "60"
    run = client.json("run", run=found["class"]["id"])[1]
    assert run["drawn"] is False
    assert client.ask(f"drawing.svg?run={found['class']['id']}&trial=0")[0] == 404
    assert "stranger_lab" not in sys.modules
    assert "leads out of the run folder" in found["link"]["error"]
    assert b"secret" not in client.ask(f"run.json?run={found['link']['id']}")[2]
    assert found["broken"]["state"] == "cannot be read"
    assert "\x1b" not in found["broken"]["error"]
    assert client.json("run", run=found["broken"]["id"])[1]["error"] == found["broken"]["error"]


def test_damage_is_told_on_the_page(tmp_path, serve, recwarn):
    search(NASBench201(), RandomSearch(), Tabular(), trials=8, seed=0, out=tmp_path / "run")
    part = next((tmp_path / "run" / "trials").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-20])
    client = serve(tmp_path / "run")
    run = client.json("run", run=client.ids()["run"])[1]
    assert any("part-000001" in line for line in run["faults"]["damage"]) or "damaged" in run["error"]
    assert not [each for each in recwarn if "damage" in str(each.message).lower()]


# -- the command -------------------------------------------------------------------------------------


def test_the_command_prints_its_address_and_ends_quietly(runs):
    command = [sys.executable, "-m", "archsearch.cli", "serve", str(runs), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        answer = json.loads(process.stdout.readline())
        parts = urllib.parse.urlsplit(answer["address"])
        connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=60)
        connection.request("GET", parts.path)
        assert b"<title>archsearch</title>" in connection.getresponse().read()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "")
        assert (process.returncode, answer["status"]) == (0, 0)


def test_mistakes_are_one_line(runs, tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, _, said = run_command(capsys, "serve", str(runs), "--port", str(taken.getsockname()[1]))
        assert (status, said.count("\n")) == (2, 1)
        assert "--port 0 takes a free one" in said
    for arguments in ([str(tmp_path / "none")], [str(runs), "--port", "70000"]):
        status, _, said = run_command(capsys, "serve", *arguments)
        assert (status, said.count("\n")) == (2, 1)
