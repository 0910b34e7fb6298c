"""The command line: every command, and what users get wrong."""

import inspect
import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from common import run_command as run

from archsearch import RayExecutor, Settings, cli
from archsearch.errors import UsageError
from archsearch.history import RunFolder
from archsearch.progress import Display
from archsearch.spaces import NASBench201


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def files(folder):
    return sorted(str(path) for path in Path(folder).rglob("*"))


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
        "RegularizedEvolution",
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


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fly"], "no command is called 'fly'"),
        (["run", "--controller", "RegularisedEvolution"], "controller"),
        (["run", "--controller", "no_such_module.Thing"], "no_such_module"),
        (["run", "--trials", "many"], "trials"),
        (["run", "--trials", "0"], "trials: expected a whole number >= 1"),
        (["run", "--seed", "-1"], "seed: expected a whole number >= 0"),
        (["run", "--controller.population_size", "0"], "population_size: expected a whole number >= 1"),
        (["run", "--workers", "3"], "local executor has one worker"),
        (["run", "--workers", "0", "--executor", "simulated"], "workers: expected a whole number >= 1"),
        (["run", "--gpus", "1"], "only together with --executor ray"),
        (["run", "--evaluator.dataset", "mnist"], "dataset"),
        (["run", "--evaluator.table", "none.parquet"], "architecture and score"),
        (["run", "--out", "file/x"], "cannot write a run here"),
        (["resume", "nowhere"], "no run here"),
        (["resume", "nowhere", "--address", "auto"], "only together with --executor ray"),
        (["report", "nowhere"], "no run here"),
        (["show", "|nonsense|"], "is no NAS-Bench-201 cell"),
        (["show", "99999"], "15624"),
        (["list", "Tabularr"], "did you mean Tabular?"),
        (["list", "--compatible-with", "Nothing"], "no controller or evaluator or model or space is called"),
    ],
)
def test_wrong_usage_is_one_message_and_touches_nothing(capsys, arguments, expected):
    Path("file").write_text("in the way")
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert expected in err
    assert "Traceback" not in err
    assert files(".") == ["file"]


def test_another_space_on_resume_is_refused(capsys):
    assert run(capsys, "run", "--trials", "5", "--out", "r", "--quiet")[0] == 0
    before = {path: Path(path).stat().st_mtime_ns for path in files("r")}
    status, _, err = run(capsys, "resume", "r", "--space", "NASBench201", "--space.rule", "published")
    assert status == 2
    assert "space differs" in err
    assert {path: Path(path).stat().st_mtime_ns for path in files("r")} == before


def test_occupied_folder_is_refused(capsys):
    assert run(capsys, "run", "--trials", "5", "--out", "r", "--quiet")[0] == 0
    status, _, err = run(capsys, "run", "--trials", "5", "--out", "r", "--quiet")
    assert status == 2
    assert f"archsearch resume {Path('r').absolute()}" in err


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


def test_help_of_a_class_shows_its_settings(capsys):
    status, out, _ = run(capsys, "run", "--controller.help", "RegularizedEvolution")
    assert status == 0
    assert "--controller.init_args.tournament_size" in out or "--controller.tournament_size" in out
    assert "The paper uses 25" in " ".join(out.split())


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


# -- training for real -----------------------------------------------------------------------------

TINY = ("--evaluator.epochs", "1", "--evaluator.train_examples", "40", "--evaluator.batch_size", "20")


@pytest.mark.parametrize(
    ("space", "skeleton"),
    [
        ("NASBench201", "{channels: 2, cells: 1}"),
        ("DARTS", "{channels: 2, layers: 3}"),
        ("MobileNet", "{channels: 4}"),
        ("NASBenchMacro", "{channels: 4}"),
        ("NASBench101", "{channels: 8, modules: 1}"),
        ("ConvChain", "{channels: 2}"),
    ],
)
def test_every_trainable_space_trains(capsys, space, skeleton):
    arguments = ["--space", space, "--evaluator", "Training", *TINY, "--evaluator.skeleton", skeleton]
    status, out, err = run(capsys, "run", *arguments, "--trials", "2", "--seed", "0", "--out", "r", "--quiet")
    assert status == 0, err
    assert "2 completed, 0 failed" in out
    assert "80 examples, 4 updates" in out
    status, out, _ = run(capsys, "report", "r")
    assert status == 0
    assert "test_accuracy" in out


def test_training_on_a_folder_of_parquet_images(capsys, tmp_path):
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    datasets.disable_progress_bars()
    rng = np.random.default_rng(0)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=2)})
    for part, n in (("train", 40), ("test", 10)):
        labels = [i % 2 for i in range(n)]
        pixels = rng.integers(0, 100, (n, 8, 8, 3), dtype=np.uint8)
        pixels[1::2, :4] += 150  # the second class is bright above
        rows = {"image": [Image.fromarray(picture) for picture in pixels], "label": labels}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / f"{part}-00000.parquet")
    arguments = ["--evaluator", "Training", "--evaluator.task", f"{tmp_path}:valid=0.25", "--evaluator.epochs", "8"]
    arguments += ["--evaluator.batch_size", "10", "--evaluator.skeleton", "{channels: 4}", "--out", "images"]
    status, out, err = run(capsys, "run", *arguments, "--trials", "2", "--seed", "0", "--quiet")
    assert status == 0, err
    assert "2 completed" in out
    assert "480 examples" in out
    score = float(re.search(r"score ([\d.]+)", out)[1])
    assert score > 80, "bright and dark images are told apart"


def test_nested_components_on_the_command_line_and_after_a_resume(capsys):
    halving = ["--controller", "SuccessiveHalving", "--controller.controller", "RegularizedEvolution"]
    halving += ["--controller.controller.population_size", "4", "--controller.max_budget", "3"]
    training = ["--evaluator", "Training", "--evaluator.epochs", "3", *TINY[2:], "--evaluator.skeleton.channels", "2"]
    status, out, err = run(capsys, "run", *halving, *training, "--trials", "6", "--seed", "0", "--out", "r", "--quiet")
    assert status == 0, err
    assert "at budget 3" in out
    status, out, err = run(capsys, "resume", "r", "--trials", "9", "--quiet")
    assert status == 0, err
    assert "9 completed" in out
    assert " budget " in run(capsys, "report", "r", "--top", "3")[1]
    inherit = [
        "--evaluator",
        "Inherit",
        "--evaluator.training.epochs",
        "1",
        "--evaluator.training.train_examples",
        "40",
    ]
    inherit += ["--controller.population_size", "2", "--evaluator.steps", "1"]
    status, out, err = run(capsys, "run", *inherit, "--trials", "4", "--seed", "0", "--out", "i", "--quiet")
    assert status == 0, err
    assert "inherited" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--evaluator", "Training", "--evaluator.task", "mnist"], "no task is called 'mnist'; expected digits"),
        (["--evaluator", "Training", "--evaluator.epochs", "0"], "epochs: expected a whole number >= 1, got 0"),
        (
            ["--evaluator", "Training", "--evaluator.skeleton.cell", "1"],
            "have no setting 'cell'; expected any of channels",
        ),
        (["--controller", "SuccessiveHalving"], "cifar10 has no results of a training that is stopped after 1, 3, 9"),
        (["--controller", "Hyperband", "--controller.max_budget", "0"], "max_budget: expected a whole number >= 1"),
        (
            ["--controller", "SuccessiveHalving", "--controller.max_budget", "99", "--evaluator", "Training"],
            "a budget of 99 epochs is longer than a full training of 9",
        ),
    ],
)
def test_mistakes_in_training_are_said_in_one_line(capsys, arguments, message):
    status, _, err = run(capsys, "run", *arguments, "--trials", "1", "--out", "r")
    assert status == 2
    assert message in err
    assert "Traceback" not in err
    assert not Path("r").exists()


@pytest.mark.parametrize("option", ["--evaluator", "--evaluator.help"])
def test_misspelt_classes_are_guessed(capsys, option):
    status, _, err = run(capsys, "run", option, "Trainig", "--trials", "1")
    assert status == 2
    assert "no evaluator is called 'Trainig'; did you mean Training?" in err


def test_config_with_an_equals_sign_finds_the_classes_it_names(capsys):
    settings = {"class_path": "Training", "init_args": {"epochs": 9, "train_examples": 20}}
    Path("c.yaml").write_text(yaml.safe_dump({"controller": "SuccessiveHalving", "evaluator": settings}))
    status, out, err = run(capsys, "run", "--config=c.yaml", "--trials", "1", "--out", "r", "--quiet")
    assert status == 0, err
    assert "at budget 1" in out


@pytest.mark.parametrize("way", ["option", "file", "file with settings"])
def test_settings_of_the_defaults_do_not_become_those_of_another_class(way, tmp_path):
    """RegularizedEvolution has a population of 100, NASBench201 has 16 channels: that is not for others."""
    out = tmp_path / "run"
    arguments = ["--controller", "ElitistEvolution", "--space", "NASBench201", "--trials", "3", "--out", str(out)]
    if way != "option":
        content = "ElitistEvolution" if way == "file" else "{class_path: ElitistEvolution, init_args: {parents: 7}}"
        (tmp_path / "run.yaml").write_text(f"controller: {content}\ntrials: 3\nout: {out}\n")
        arguments = ["--config", str(tmp_path / "run.yaml")]
    assert cli.main(["run", *arguments, "--quiet"]) == 0
    settings = yaml.safe_load((out / "config.yaml").read_text())["controller"]["init_args"]
    assert settings["population_size"] == 50
    assert settings["parents"] == (7 if way == "file with settings" else 10)


def test_a_space_has_its_own_settings(tmp_path):
    arguments = ["--space", "DARTS", "--evaluator", "Function", "--evaluator.function", "builtins.len", "--trials", "2"]
    cli.main(["run", *arguments, "--out", str(tmp_path / "run"), "--quiet", "--max_failures", "1"])
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["space"]["init_args"]["channels"] == 36


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
        return cli._executor_of_run(options)["executor"]

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


@pytest.mark.parametrize("name", ["trials", "lag"])
def test_numbers_of_trials_are_whole(name):
    with pytest.raises(UsageError, match=f"{name}: expected a whole number >= 1"):
        Settings(**{"trials": 5} | {name: 2.5})
