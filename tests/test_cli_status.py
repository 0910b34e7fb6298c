"""The command line: status, reports, what went wrong, and the executor of a run that goes on."""

import inspect
import io
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from common import run_command as run

from archsearch import RayExecutor, cli
from archsearch.cli import options as cli_options
from archsearch.keeping.folder import RunFolder
from archsearch.running.progress import Display
from archsearch.running.settings import Settings
from archsearch.spaces import NASBench201


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_status_of_a_search_that_runs_and_of_one_that_does_not(capsys):
    """Seen from another process, as from another terminal."""
    assert cli.main(["run", "--trials", "30", "--seed", "0", "--out", "run", "--quiet"]) == 0
    assert cli.main(["status", "run"]) == 0
    printed = capsys.readouterr().out
    assert "state     not running" in printed
    assert "trials    30 completed; stops at trials 30" in printed
    assert "left" not in printed
    assert "recorded" in printed
    Path("slow_lab.py").write_text(
        "import pathlib, time\n"
        "def score(values):\n"
        "    while len(list(pathlib.Path('.').glob('go*'))) == 0 and pathlib.Path('count').read_text() == '...':\n"
        "        time.sleep(0.05)\n"
        "    with open('count', 'a') as file:\n"
        "        file.write('.')\n"
        "    if pathlib.Path('count').read_text() == '..':\n"
        "        raise RuntimeError('one of them fails')\n"
        "    return 1.0\n"
    )
    Path("count").write_text("")
    command = [sys.executable, "-m", "archsearch.cli", "run", "--evaluator", "Function", "--trials", "10", "--quiet"]
    command += ["--evaluator.function", "slow_lab.score", "--out", "slow"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while Path("count").read_text() != "...":
            assert process.poll() is None
            time.sleep(0.05)
        assert cli.main(["status", "slow"]) == 0
        Path("go").touch()
    assert process.returncode == 0
    printed = capsys.readouterr().out
    assert "state     running" in printed
    assert re.search(r"trials    [12] completed; stops at trials 10", printed)
    assert re.search(r"failed    1 exception", printed)
    assert re.search(r"left      [89] trials, about ", printed)
    assert cli.main(["status", "nothing"]) == 2
    assert "no run here" in capsys.readouterr().err


def test_ties_are_said_and_one_trial_is_no_curve(capsys):
    """Equal scores of other architectures; those of the same one are no ties."""
    Path("tie_lab.py").write_text("def score(text):\n    return float(text.count('nor_conv_3x3') > 2)\n")
    command = ["run", "--evaluator", "Function", "--evaluator.function", "tie_lab.score", "--seed", "1", "--quiet"]
    assert cli.main([*command, "--trials", "40", "--out", "many", "--duplicates", "reuse"]) == 0
    assert cli.main([*command, "--trials", "1", "--out", "one"]) == 0
    rows = RunFolder("many").table(NASBench201()).to_pylist()
    best = {row["name"] for row in rows if row["score"] == 1.0}
    assert len(best) > 2
    capsys.readouterr()
    for action in ("status", "report"):
        assert cli.main([action, "many"]) == 0
        assert f"{len(best) - 1} others have the same score" in capsys.readouterr().out
        assert cli.main([action, "one"]) == 0
        assert "the same score" not in capsys.readouterr().out
    assert "others have the same score" in Path("many", "report", "index.html").read_text()
    assert "Learning curve by trials" in Path("many", "report", "index.html").read_text()
    assert "Learning curve" not in Path("one", "report", "index.html").read_text()


def test_report_of_several_objectives_has_the_front(capsys):
    objectives = "{score: max, latency_seconds: min}"
    arguments = ["--controller", "NSGA2", "--controller.objectives", objectives, "--evaluator.device", "raspi4"]
    assert cli.main(["run", *arguments, "--trials", "120", "--seed", "0", "--out", "front", "--quiet"]) == 0
    assert cli.main(["report", "front", "--top", "3"]) == 0
    printed = capsys.readouterr().out
    found = re.search(r"front     (\d+) compromises of score max, latency_seconds min; hypervolume (0\.\d+)", printed)
    trials = RunFolder("front").table(NASBench201()).to_pandas()
    beaten = [
        (
            (trials.score >= row.score)
            & (trials.latency_seconds <= row.latency_seconds)
            & ((trials.score > row.score) | (trials.latency_seconds < row.latency_seconds))
        ).any()
        for row in trials.itertuples()
    ]
    front = trials[~np.array(beaten)].drop_duplicates("name")
    assert int(found[1]) == len(front)
    assert 0.5 < float(found[2]) < 1
    best = front.sort_values("score", ascending=False).iloc[0]
    assert re.search(rf"^ *{best.id} +{best.score:.6g} +{best.latency_seconds:.6g}", printed, re.MULTILINE)
    page = Path("front/report/index.html").read_text()
    assert "Best compromises" in page
    assert Path("front/report/front.png").stat().st_size > 10_000


# -- going on on Ray -----------------------------------------------------------------------------------


def test_a_resumed_run_has_the_executor_it_had_but_for_what_is_given(capsys, tmp_path):
    run_folder = tmp_path / "r"
    assert run(capsys, "run", "--trials", "1", "--seed", "0", "--out", "r", "--quiet")[0] == 0
    stored = {"workers": 6, "cpus": 3.0, "gpus": 1.0, "resources": {"fast": 1.0}, "address": "old:1"}
    settings = {"class_path": "archsearch.RayExecutor", "init_args": stored}
    config = yaml.safe_load((run_folder / "config.yaml").read_text())
    config |= {"executor": "ray", "workers": 6, "executor_settings": settings}
    (run_folder / "config.yaml").write_text(yaml.safe_dump(config))
    parameters = inspect.signature(RayExecutor).parameters.values()
    nothing = {parameter.name: parameter.default for parameter in parameters} | {"executor": None, "workers": None}

    def resumed(**given):
        options = {"directory": str(run_folder), "trust": True, **nothing, **given}
        return cli_options.executor_of_run(options)["executor"]

    same, moved, local = resumed(), resumed(address="new:1", workers=2), resumed(executor="local")
    assert (same.workers, same.cpus, same.gpus, same.resources, same.address) == (6, 3.0, 1.0, {"fast": 1.0}, "old:1")
    assert (moved.workers, moved.cpus, moved.gpus, moved.resources, moved.address) == (
        2,
        3.0,
        1.0,
        {"fast": 1.0},
        "new:1",
    )
    assert local == "local"


def test_what_went_wrong_is_shown_as_it_is(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Display(Settings(trials=5), enabled=True) as display:
        display.fault("exception (trial 3): no file in [/data/x] on [cuda:0]")
    assert "no file in [/data/x] on [cuda:0]" in terminal.getvalue()


def test_faults_are_shown_up_to_a_number(monkeypatch, capsys):
    display = Display(Settings(trials=5), enabled=True)
    for i in range(30):
        display.fault(f"fault {i}")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:20] == [f"fault {i}" for i in range(20)]
    assert len(lines) == 21
    assert "faults.jsonl" in lines[20]
