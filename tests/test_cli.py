"""The command line: every command, and classes of the user's own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from common import run_command as run

from archsearch import cli
from archsearch.keeping.folder import RunFolder


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_help_and_version(capsys):
    assert run(capsys, "--help")[0] == 0
    status, out, _ = run(capsys)
    assert status == 0
    assert all(command in out for command in cli.COMMANDS)
    assert run(capsys, "--version")[1].startswith("archsearch ")


def test_default_run_is_the_main_job(capsys):
    status, out, _ = run(capsys, "run", "--seed", "0", "--quiet")
    assert status == 0
    assert "1,000 completed, 0 failed; stopped by trials" in out
    (folder,) = Path("runs").iterdir()
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert [config[what]["class_path"].rpartition(".")[2] for what in ("space", "controller", "evaluator")] == [
        "NASBench201",
        "Auto",
        "Tabular",
    ]


def test_options_and_yaml_mean_the_same(capsys):
    options = ["--controller", "RegularizedEvolution", "--controller.population_size", "20", "--trials", "60"]
    assert run(capsys, "run", *options, "--seed", "3", "--out", "a", "--quiet")[0] == 0
    content = {
        "controller": {"class_path": "RegularizedEvolution", "init_args": {"population_size": 20}},
        "trials": 60,
        "seed": 3,
    }
    Path("run.yaml").write_text(yaml.safe_dump(content))
    assert run(capsys, "run", "--config", "run.yaml", "--out", "b", "--quiet")[0] == 0
    configs = [yaml.safe_load(Path(folder, "config.yaml").read_text()) for folder in "ab"]
    assert configs[0] == configs[1]
    assert configs[0]["controller"]["init_args"]["population_size"] == 20


def test_classes_of_the_users_own(capsys):
    Path("my_lab.py").write_text(
        "from archsearch import Controller\n"
        "class Always(Controller):\n"
        '    """Always proposes the first architecture."""\n'
        "    def __init__(self, option: int = 0) -> None:\n"
        "        self.option = option\n"
        "    def _ask(self):\n"
        "        return (self.option,) * self.space.max_length\n"
        "def score(name):\n"
        "    return float(len(name))\n"
    )
    arguments = [
        "--controller",
        "my_lab.Always",
        "--controller.option",
        "2",
        "--trials",
        "5",
        "--out",
        "own",
        "--quiet",
    ]
    status, out, _ = run(capsys, "run", *arguments, "--evaluator", "Function", "--evaluator.function", "my_lab.score")
    assert status == 0
    assert "nor_conv_1x1~0" in out
    assert run(capsys, "resume", "own", "--trials", "8", "--quiet", "--trust")[0] == 0
    assert "8 completed" in run(capsys, "report", "own")[1]
    assert "Always proposes the first architecture" in run(capsys, "list", "my_lab.Always")[1]


def test_choices_from_a_yaml_file(capsys):
    Path("lab2.py").write_text("def area(values):\n    return -abs(values['kernel'] - 5) - values['depth']\n")
    Path("space.yaml").write_text("kernel: [3, 5, 7]\ndepth: [1, 2]\n")
    arguments = ["--space", "Choices", "--space.decisions", "space.yaml", "--evaluator", "Function"]
    arguments += ["--evaluator.function", "lab2.area", "--controller", "RandomSearch", "--trials", "40"]
    status, out, _ = run(capsys, "run", *arguments, "--seed", "0", "--quiet", "--out", "c")
    assert status == 0
    assert "kernel=5,depth=1" in out
    Path("space.yaml").unlink()  # the run folder holds the content
    assert run(capsys, "resume", "c", "--trials", "50", "--quiet", "--trust")[0] == 0


def test_simulated_run_resumes(capsys):
    arguments = ["--executor", "simulated", "--workers", "20", "--trials", "200", "--seed", "1", "--quiet"]
    assert run(capsys, "run", *arguments, "--out", "s")[0] == 0
    status, out, _ = run(capsys, "resume", "s", "--trials", "250", "--quiet")
    assert status == 0
    assert "250 completed" in out


def test_report_show_and_list(capsys):
    assert run(capsys, "run", "--trials", "150", "--seed", "0", "--out", "r", "--quiet")[0] == 0
    status, out, _ = run(capsys, "report", "r", "--top", "3")
    assert status == 0
    assert len(re.findall(r"\|nor|\|skip|\|avg|\|none", out)) >= 3
    page = Path("r/report/index.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "<script" not in page
    assert "http" not in page
    scores = [trial.score for trial in RunFolder("r").trials(0)]
    assert f"{max(scores):.6g}" in page
    status, out, _ = run(capsys, "show", "r", "--out", "best.png")
    assert status == 0
    assert Path("best.png").stat().st_size > 5_000
    assert "output" in out
    assert "decisions" in run(capsys, "show", "r", "--trial", "7")[1]
    status, out, _ = run(capsys, "show", "6111")
    assert "name       |nor_conv_3x3~0|" in out
    status, out, _ = run(capsys, "list")
    assert all(name in out for name in ("RandomSearch", "Reinforce", "Tabular", "Function", "Choices", "NASBench201"))
    out = run(capsys, "list", "--compatible-with", "Tabular")[1]
    assert re.search(r"NASBench201\s+yes", out)
    assert re.search(r"Choices\s+no: ", out)


def test_help_of_run_begins_with_what_matters_and_says_true_defaults(capsys):
    status, out, _ = run(capsys, "run", "--help")
    assert status == 0
    options = [line.split()[0] for line in out.splitlines() if line.startswith("  --") and ".help" not in line]
    assert options[:6] == ["--space", "--controller", "--evaluator", "--trials", "--out", "--executor"]
    assert len(options) == len(set(options))
    text = " ".join(out.split())
    assert "(default: 1,000 if nothing else would stop the search) (type: int | null)" in text
    assert "(default: Auto) (type: <class 'Controller'>, known" in text
    assert "(type: float | null, default: null)" in text
    assert "1,000 completed" in run(capsys, "run", "--out", "as_it_says", "--quiet")[1]


def test_help_of_a_class_shows_its_settings(capsys):
    status, out, _ = run(capsys, "run", "--controller.help", "RegularizedEvolution")
    assert status == 0
    assert "--controller.init_args.tournament_size" in out or "--controller.tournament_size" in out
    assert "The paper uses 25" in " ".join(out.split())


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--controller.help"], "--controller.modelled"),
        (["--controller", "MOBSTER", "--controller.help"], "--controller.min_budget"),
        (["--controller=RegularizedEvolution", "--evaluator", "Tabular", "--evaluator.help"], "--evaluator.dataset"),
    ],
)
def test_help_without_a_name_is_about_the_class_that_is_chosen(capsys, options, shown):
    status, out, _ = run(capsys, "run", *options)
    assert status == 0
    assert shown in out


def test_help_without_a_name_asks_for_one_where_none_is_chosen(capsys):
    status, _, err = run(capsys, "resume", "r", "--evaluator.help")
    assert status == 2
    assert "--evaluator.help: expected the name of the class whose settings are to be shown" in err


def test_interrupt_exits_130_and_can_be_resumed():
    Path("slow_lab.py").write_text(
        "import time\ndef score(name):\n    time.sleep(0.02)\n    print('x', flush=True)\n    return len(name)\n"
    )
    command = [sys.executable, "-m", "archsearch.cli", "run", "--evaluator", "Function"]
    command += ["--evaluator.function", "slow_lab.score", "--out", "i", "--trials", "5000", "--seed", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=os.getcwd())
    for _ in range(20):
        process.stdout.readline()
    for _ in range(3):  # an impatient user
        process.send_signal(2)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "archsearch resume i --trust" in out
    assert "Traceback" not in err
    done = len(list(RunFolder("i").trials(0)))
    assert done >= 19
    again = subprocess.run(
        [sys.executable, "-m", "archsearch.cli", "resume", "i", "--trust", "--trials", str(done + 5)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert f"{done + 5} completed" in again.stdout
