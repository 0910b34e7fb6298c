"""Trust beside run folders: files of options, the current folder, secrets, exports, images, the source itself."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from trust_lab import (
    FUNCTION,
    IMPORTS,
    LAB,
    SPACES,
    WRITES,
    edit,
)

from archsearch import cli, resume, search
from archsearch.bridges.export import export
from archsearch.bridges.load_network import load_network
from archsearch.controllers import Bananas, RandomSearch
from archsearch.errors import TaskError, UsageError
from archsearch.evaluators import Tabular
from archsearch.executors.ray.executor import RayExecutor
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.trust import stored_executor
from archsearch.spaces import NASBench201
from archsearch.task import load_task
from archsearch.training.checkpoints import Checkpoints

# -- files of options ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        {"controller": "stranger_lab.Always"},
        {"controller": IMPORTS},
        {"controller": {"class_path": "RandomSearch", "init_args": {"x": IMPORTS}}},
        {"evaluator": FUNCTION},
        {"evaluator": {"class_path": "Function", "init_args": {"function": "stranger_lab.score"}}},
        {"evaluator": {"init_args": {"function": "os.getcwd"}}},
        {"space": WRITES},
        {"address": "10.0.0.1:6379"},
        {"runtime_env": {"pip": ["stranger"]}},
    ],
)
@pytest.mark.parametrize("command", ["run", "compare"])
def test_files_of_options_name_code_only_where_they_are_trusted(stranger, content, command, capsys):
    text = yaml.safe_dump(content).replace("MARKER", str(stranger.parent / "marker"))
    Path("options.yaml").write_text(text)
    for given in (["--config", "options.yaml"], ["--config=options.yaml"]):
        assert cli.main([command, *given, "--trials", "2", "--quiet", "--out", "new"]) == 2
        err = capsys.readouterr().err
        assert re.match(r"archsearch: options\.yaml: .*--trust", err)
        assert err.count("\n") == 1
    assert not (stranger.parent / "marker").exists()
    assert not Path("new").exists()


@pytest.mark.parametrize(
    "text",
    [
        "evaluator: '{class_path: stranger_lab.Always}'",
        """evaluator: '{"class_path": "stranger_lab.Always"}'""",
        """evaluator: "' stranger_lab.Always '" """,
        "evaluator: {class_path: Function, init_args: '{function: stranger_lab.score}'}",
        "evaluator: \"{class_path: Function, init_args: '{function: stranger_lab.score}'}\"",
        "loggers: '[stranger_lab.Always]'",
        "config: further.yaml",
        "config: 'controller: stranger_lab.Always'",
        "config: ['trials: 3', further.yaml]",
    ],
)
def test_code_that_is_named_in_a_text_or_in_a_further_file_is_found(stranger, text, capsys):
    Path("options.yaml").write_text(text)
    Path("further.yaml").write_text("controller: stranger_lab.Always\n")
    assert cli.main(["run", "--config", "options.yaml", "--trials", "2", "--quiet", "--out", "new"]) == 2
    assert re.match(r"archsearch: options\.yaml: .*--trust", capsys.readouterr().err)
    assert "stranger_lab" not in sys.modules
    assert not Path("new").exists()


@pytest.mark.parametrize("name", ["~/options.yaml", "file://HOME/options.yaml", "-"])
def test_files_of_options_are_looked_into_by_whatever_name_they_are_read(stranger, name, monkeypatch, capsys):
    text = "controller: stranger_lab.Always\n"
    Path("options.yaml").write_text(text)
    monkeypatch.setenv("HOME", os.getcwd())
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    name = name.replace("HOME", os.getcwd())
    assert cli.main(["run", f"--config={name}", "--trials", "2", "--quiet", "--out", "new"]) == 2
    assert "stranger_lab.Always is not installed" in capsys.readouterr().err
    assert "stranger_lab" not in sys.modules


def test_what_looks_like_no_code_in_a_file_of_options_is_obeyed(stranger, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("trials: 3\nevaluator: '{class_path: Tabular}'\nout: new\n"))
    assert cli.main(["run", "--config", "-", "--quiet"]) == 0
    assert "3 completed" in capsys.readouterr().out


def test_trusted_files_of_options_and_ones_own_command_line_work(stranger, capsys):
    Path("options.yaml").write_text("controller: stranger_lab.Always\ntrials: 2\n")
    assert cli.main(["run", "--config", "options.yaml", "--trust", "--quiet", "--out", "a"]) == 0
    assert cli.main(["run", "--controller", "stranger_lab.Always", "--trials", "2", "--quiet", "--out", "b"]) == 0


# -- the current folder ----------------------------------------------------------------------------

SHADOWS = (
    "numpy",
    "yaml",
    "torch",
    "pyarrow",
    "ray",
    "jsonargparse",
    "difflib",
    "archsearch",
    "sklearn",
    "stranger_lab",
)


@pytest.fixture
def shadowed(sound, tmp_path):
    """A folder with a run, and modules that have the names of installed packages."""
    shutil.copytree(sound, tmp_path / "r")
    for name in (*SHADOWS, "tensorboard", "mlflow"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'a').write(__name__)\n")
    return tmp_path


def in_folder(folder, *arguments):
    script = "import sys; sys.path.pop(0); from archsearch.cli import main; sys.exit(main())"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize(
    "arguments", [["status", "r"], ["report", "r"], ["show", "r"], ["resume", "r", "--trials", "4"]]
)
def test_the_current_folder_does_not_stand_for_installed_packages(shadowed, arguments):
    done = in_folder(shadowed, *arguments)
    assert done.returncode == 0, done.stderr
    assert not (shadowed / "marker").exists()


def test_an_own_class_is_found_behind_installed_packages(shadowed):
    (shadowed / "my_lab.py").write_text("import numpy\nassert numpy.zeros\n" + LAB.format(marker=str(shadowed / "own")))
    options = ["--controller", "my_lab.Always", "--trials", "2", "--quiet", "--out", "own_run"]
    done = in_folder(shadowed, "run", *options)
    assert done.returncode == 0, done.stderr
    assert (shadowed / "own").exists()
    assert not (shadowed / "marker").exists()


def test_python_m_does_not_put_the_current_folder_first(shadowed):
    for name in ("difflib", "archsearch"):  # imported before any code of ours could do anything: Python's own rule
        (shadowed / f"{name}.py").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "archsearch.cli", "status", "r"],
        cwd=shadowed,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (shadowed / "marker").exists()


# -- secrets ---------------------------------------------------------------------------------------


def test_values_of_variables_and_passwords_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_TOKEN", "from here")
    env = {"env_vars": {"LAB_TOKEN": "sesame"}, "pip": ["--extra-index-url https://me:sesame@lab.example/x", "lab"]}
    executor = RayExecutor(1, runtime_env=env)
    monkeypatch.setattr(RayExecutor, "start", fails)
    with pytest.raises(ConnectionError):
        search(NASBench201(), RandomSearch(), Tabular(), trials=2, seed=0, executor=executor, out=tmp_path / "r")
    for path in (path for path in (tmp_path / "r").rglob("*") if path.is_file()):
        assert b"sesame" not in path.read_bytes()
    assert stat.S_IMODE((tmp_path / "r" / "config.yaml").stat().st_mode) == 0o600
    config = RunFolder(tmp_path / "r").config()
    stored = config["executor_settings"]["init_args"]["runtime_env"]
    assert stored["env_vars"] == ["LAB_TOKEN"]
    assert "https://***@lab.example/x" in stored["pip"][0]
    with pytest.raises(UsageError, match="passwords in URLs are not stored; give it anew: --runtime_env"):
        stored_executor(config, "where", trust=True)
    del stored["pip"]
    found = stored_executor(config, "where", trust=True)
    assert found["runtime_env"] == {"env_vars": {"LAB_TOKEN": "from here"}}
    monkeypatch.delenv("LAB_TOKEN")
    with pytest.raises(UsageError, match="the value of LAB_TOKEN is not stored; set it in the environment"):
        stored_executor(config, "where", trust=True)


def fails(*_):
    raise ConnectionError


def test_a_run_without_settings_of_the_environment_can_be_read_by_others(sound):
    before = os.umask(0)
    os.umask(before)
    assert stat.S_IMODE((sound / "config.yaml").stat().st_mode) == 0o666 & ~before


# -- exports, and the source -----------------------------------------------------------------------


@pytest.mark.parametrize("attack", SPACES)
def test_an_export_is_data(stranger, attack):
    folder = stranger.parent / "exported"
    folder.mkdir()
    genotype = {"format": 1, "trial": 0, "space": SPACES[attack], "decisions": [3] * 6, "network": {}}
    text = json.dumps(genotype).replace("MARKER", str(stranger.parent / "marker"))
    (folder / "genotype.json").write_text(text)
    (folder / "weights.safetensors").write_bytes(b"")
    with pytest.raises(UsageError):
        load_network(folder)
    assert not (stranger.parent / "marker").exists()
    assert "stranger_lab" not in sys.modules


def test_what_a_card_says_of_an_evaluator_imports_nothing(stranger, capsys):
    edit(stranger, evaluator=IMPORTS)
    with pytest.warns(UserWarning, match="weights are passed over"):
        (folder,) = export(stranger)
    assert "stranger_lab.Always" not in (folder / "genotype.json").read_text()
    assert not (stranger.parent / "marker").exists()


ROOT = Path(__file__).parent.parent
UNSAFE = {
    "pickle": r"^\s*(import|from) (pickle|cloudpickle|dill|joblib|shelve|marshal|jsonpickle)\b",
    "NumPy": r"allow_pickle\s*=\s*True",
    "PyTorch": r"torch\.(load|jit\.load)\((?![^\n]*weights_only=True)|weights_only\s*=\s*False",
    "YAML": r"\b(unsafe_load|full_load|UnsafeLoader|FullLoader|yaml\.Loader)\b",
    "Hugging Face": r"trust_remote_code",
    "pandas": r"read_pickle|read_hdf",
    "code": r"(?<![\w.])(eval|exec)\(",
}


PICKLES = ("archsearch/executors/worker_process.py", "evaluators/together.py", "archsearch/testing")
"""What pickles, and only in memory: what a process of ours sends to its own child, and the contract suites."""


@pytest.mark.parametrize("what", UNSAFE)
def test_nothing_in_the_source_reads_files_that_can_hold_code(what):
    found = []
    for folder in ("archsearch", "controllers", "evaluators", "spaces", "benchmarks", "examples"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if what == "pickle" and path.relative_to(ROOT).as_posix().startswith(PICKLES):
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                code = line.partition("#")[0]
                if re.search(UNSAFE[what], code):
                    found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found


def test_what_a_training_keeps_lies_in_its_folder(tmp_path):
    checkpoints = Checkpoints(keep=1)
    checkpoints.folder = tmp_path / "evaluator"
    with pytest.raises(ValueError, match="format code 'd'"):  # a trial's number from a journal that is anyone's
        checkpoints.read("../outside")


def test_every_component_stands_for_itself(stranger):
    """Installed components are made without trust, those inside others too."""
    search(NASBench201(), Bananas(), Tabular(), trials=2, seed=0, out="b")
    assert resume("b", trials=3).completed == 3


def test_images_are_not_fetched_from_where_a_data_set_says(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    Image.new("L", (8, 8)).save(tmp_path / "private.png")
    for column in ([{"bytes": None, "path": str(tmp_path / "private.png")}] * 8, [str(tmp_path / "private.png")] * 8):
        pq.write_table(pa.table({"image": column, "label": [0, 1] * 4}), tmp_path / "set.parquet")
        with pytest.raises(TaskError, match="not in the file itself; paths and addresses are not followed"):
            load_task(str(tmp_path / "set.parquet"))
