"""A stranger's folder is data: reading it runs nothing that it names. Every attack here touches a harmless marker."""

from __future__ import annotations

import contextlib
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

from archsearch import cli, resume, search
from archsearch.artefacts import export, load_network
from archsearch.controllers import Bananas, DeapToolbox, RandomSearch
from archsearch.errors import NotTrusted, UsageError
from archsearch.evaluators import Function, Tabular, Training
from archsearch.history import RunFolder
from archsearch.model import load_model
from archsearch.models import GaussianProcess
from archsearch.ray_executor import RayExecutor
from archsearch.report import report, show, status
from archsearch.spaces import NASBench201
from archsearch.trust import stored_executor
from archsearch.tune import TuneSearch
from archsearch.verification import verify

LAB = """
from pathlib import Path
Path({marker!r}).write_text("imported")
from archsearch import Controller, Space
from archsearch.spaces import NASBench201
class Mine(NASBench201):
    pass
class Always(Controller):
    def _ask(self):
        return (3,) * 6
def score(name):
    return float(len(name))
def toolbox(space):
    return None
"""

TOUCH = {"class_path": "os.getcwd", "init_args": {}}
RAN = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "MARKER"]}}
WRITES = {"class_path": "logging.FileHandler", "init_args": {"filename": "MARKER"}}
"""A class of the standard library whose making writes a file."""
IMPORTS = {"class_path": "stranger_lab.Always", "init_args": {}}
FUNCTION = {"class_path": "archsearch.evaluators.function.Function", "init_args": {"function": "stranger_lab.score"}}
DEAP = {"class_path": "archsearch.controllers.deap_toolbox.DeapToolbox", "init_args": {"make": "stranger_lab.toolbox"}}
TUNE = {"class_path": "archsearch.tune.TuneSearch", "init_args": {"searcher": "stranger_lab.toolbox"}}
SPACE = "archsearch.spaces.nasbench201.NASBench201"
PREDICTOR = "archsearch.evaluators.predictor.Predictor"

SPACES = {
    "calls a class of the standard library": WRITES,
    "starts a process": RAN,
    "calls a function": TOUCH,
    "imports a module": {"class_path": "stranger_lab.Mine", "init_args": {}},
    "imports by a colon": {"class_path": "stranger_lab:Mine", "init_args": {}},
    "hides it in an argument": {"class_path": SPACE, "init_args": {"rule": WRITES}},
    "hides it in a list": {"class_path": SPACE, "init_args": {"rule": [{"a": [WRITES]}]}},
    "hides it in what takes a function": {"class_path": SPACE, "init_args": {"rule": FUNCTION}},
}
REST = {
    "controller": {"calls": WRITES, "imports": IMPORTS, "function": DEAP, "searcher": TUNE},
    "evaluator": {
        "calls": WRITES,
        "imports": FUNCTION,
        "labels": {"class_path": PREDICTOR, "init_args": {"evaluator": WRITES}},
        "model": {"class_path": PREDICTOR, "init_args": {"model": {"class_path": "stranger_lab.Always"}}},
        "features": {"class_path": PREDICTOR, "init_args": {"features": [FUNCTION]}},
    },
    "executor_settings": {
        "calls": WRITES,
        "imports": IMPORTS,
        "connects": {"class_path": "archsearch.ray_executor.RayExecutor", "init_args": {"address": "127.0.0.1:1"}},
        "installs": {"class_path": "archsearch.RayExecutor", "init_args": {"runtime_env": {"pip": ["stranger"]}}},
    },
}

READING = {
    "status": status,
    "report": report,
    "show": lambda folder: show(str(folder), NASBench201()),
    "export": export,
    "verify": lambda folder: verify(folder, Tabular(), top=1, seed=0),
    "resume": lambda folder: resume(folder, trials=4),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound") / "r"
    search(NASBench201(), RandomSearch(), Tabular(), trials=3, seed=0, out=folder)
    return folder


@pytest.fixture
def stranger(sound, tmp_path, monkeypatch):
    """A run folder beside a module that leaves a marker when it is imported."""
    shutil.copytree(sound, tmp_path / "r")
    marker = tmp_path / "marker"
    (tmp_path / "stranger_lab.py").write_text(LAB.format(marker=str(marker)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # so that only trust is between the name and the module
    yield tmp_path / "r"
    sys.modules.pop("stranger_lab", None)


def edit(folder, name="config.yaml", **entries):
    """Changes entries of a folder's configuration; MARKER stands for the marker."""
    path = folder / name
    text = yaml.safe_dump({**yaml.safe_load(path.read_text()), **entries})
    path.write_text(text.replace("MARKER", str(folder.parent / "marker")))


def refused(work, folder):
    """Has the work refused in one line, or done without what is named; nothing was called or imported."""
    message = ""
    try:
        work(folder)
    except NotTrusted as error:
        message = str(error)
    assert not (folder.parent / "marker").exists()
    assert "stranger_lab" not in sys.modules
    assert not message or ("\n" not in message and "--trust" in message and "config.yaml" in message)
    return bool(message)


# -- run folders -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize("attack", SPACES)
def test_a_space_that_is_not_installed_is_not_made(stranger, attack, command, capsys):
    edit(stranger, space=SPACES[attack])
    was_refused = refused(READING[command], stranger)
    assert was_refused == (command not in ("status", "report"))  # which show what is in the Parquet files


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize(("what", "attack"), [(what, attack) for what in REST for attack in REST[what]])
def test_nothing_else_that_a_folder_names_is_made(stranger, what, attack, command, capsys):
    edit(stranger, **{what: REST[what][attack]}, **({"executor": "ray"} if what == "executor_settings" else {}))
    passed_over = command == "export" and (what, attack) == ("evaluator", "calls")
    told = pytest.warns(UserWarning, match="weights are passed over") if passed_over else contextlib.nullcontext()
    with told:
        assert refused(READING[command], stranger) == (command == "resume")


@pytest.mark.parametrize("command", ["status", "report", "show", "export", "resume"])
def test_on_the_command_line_it_is_one_line_and_status_2(stranger, command, capsys):
    edit(stranger, space=WRITES)
    code = cli.main([command, str(stranger)])
    err = capsys.readouterr().err
    assert not (stranger.parent / "marker").exists()
    if command in ("status", "report"):
        assert code == 0
        return
    assert code == 2
    assert err.count("\n") == 1
    assert "config.yaml: logging.FileHandler is not installed as one of the spaces" in err
    assert "--trust" in err


def test_trusted_it_must_still_be_a_component_before_it_is_called(stranger):
    for what, path, base in (
        ("space", WRITES, "Space"),
        ("controller", RAN, "Controller"),
        ("evaluator", TOUCH, "Eva"),
    ):
        edit(stranger, **{what: path})
        with pytest.raises(UsageError, match=rf"config\.yaml: .*expected a class of {base}"):
            resume(stranger, trials=4, trust=True)
        edit(stranger, **yaml.safe_load((stranger / "config.yaml").read_text()) | {what: original(stranger, what)})
    edit(stranger, controller={"class_path": SPACE, "init_args": {}})  # installed, but of another kind
    for trust in (False, True):
        with pytest.raises(UsageError, match=r"Controller|controllers"):
            resume(stranger, trials=4, trust=trust)
    edit(stranger, controller=original(stranger, "controller"), executor="ray", executor_settings=WRITES)
    with pytest.raises(UsageError, match="executor_settings: expected a class of Executor"):
        resume(stranger, trials=4, trust=True)
    assert not (stranger.parent / "marker").exists()


def original(folder, what):
    return {
        "space": {"class_path": SPACE, "init_args": {"rule": "flatten", "channels": 16, "cells": 5}},
        "controller": {"class_path": "archsearch.controllers.random_search.RandomSearch", "init_args": {}},
        "evaluator": {"class_path": "archsearch.evaluators.tabular.Tabular", "init_args": {}},
    }[what]


def test_trusted_or_given_ones_own_classes_work(tmp_path, monkeypatch, capsys):
    marker = tmp_path / "marker"
    (tmp_path / "stranger_lab.py").write_text(LAB.format(marker=str(marker)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import stranger_lab

    try:
        search(stranger_lab.Mine(), stranger_lab.Always(), Function(stranger_lab.score), trials=2, seed=0, out="r")
        with pytest.raises(NotTrusted, match=r"stranger_lab\.Mine is not installed"):
            resume("r", trials=3)
        given = {"space": stranger_lab.Mine(), "controller": stranger_lab.Always()}
        with pytest.raises(NotTrusted, match=r"stranger_lab\.score \(Function\.function\) is not installed"):
            resume("r", trials=3, **given)
        assert resume("r", trials=3, evaluator=Function(stranger_lab.score), **given).completed == 3
        assert resume("r", trials=4, trust=True).completed == 4
        assert cli.main(["resume", "r", "--trials", "5", "--trust", "--quiet"]) == 0
        assert cli.main(["show", "r", "--trust"]) == 0
        assert export("r", space=stranger_lab.Mine())[0].exists()
        assert verify("r", Tabular(), top=1, seed=0, space=stranger_lab.Mine()).architectures
        assert "nor_conv_3x3" in status("r")  # by the names in the Parquet files
    finally:
        sys.modules.pop("stranger_lab", None)


def test_status_of_a_space_that_is_not_installed_has_options_for_names_not_yet_in_a_part(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "r")
    part = next((tmp_path / "r" / "trials").glob("part-*"))
    part.unlink()
    folder = RunFolder(tmp_path / "r")
    assert len(folder.table(None)) == len(folder.table(NASBench201()))


# -- what else a folder can lead to ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "link"),
    [("report", "report"), ("verify", "verification"), ("export", "export"), ("resume", "evaluator")],
)
def test_links_that_lead_out_of_a_folder_are_not_written_through(stranger, command, link, capsys):
    outside = stranger.parent / "outside"
    outside.mkdir()
    (stranger / link).symlink_to(outside)
    with pytest.raises(NotTrusted, match="this link leads out of the run folder"):
        READING[command](stranger)
    assert not list(outside.iterdir())
    assert report(stranger, trust=True).exists()


def test_a_link_as_a_file_is_not_written_through(stranger, capsys):
    kept = stranger.parent / "kept"
    kept.write_text("mine")
    (stranger / "report").mkdir()
    (stranger / "report" / "index.html").symlink_to(kept)
    with pytest.raises(NotTrusted, match=r"index\.html: this link leads out"):
        report(stranger)
    assert kept.read_text() == "mine"


def test_links_inside_a_folder_and_to_a_folder_are_fine(stranger, capsys):
    (stranger / "again").symlink_to(stranger / "trials")
    (stranger.parent / "alias").symlink_to(stranger)
    assert report(stranger.parent / "alias").exists()


def test_a_folder_connects_and_installs_only_where_that_is_trusted_or_given(stranger):
    env = {"pip": ["stranger"]}
    settings = {"class_path": "archsearch.ray_executor.RayExecutor", "init_args": {"address": "10.0.0.1:6379"}}
    config = {"executor": "ray", "executor_settings": settings}
    with pytest.raises(NotTrusted, match=r"where: executor_settings: address: this run would use '10\.0\.0\.1:6379'"):
        stored_executor(config, "where")
    assert stored_executor(config, "where", trust=True) == settings["init_args"]
    assert stored_executor(config, "where", replaced=["address"]) == {}
    settings["init_args"] = {"address": None, "runtime_env": env, "cpus": 2.0}
    with pytest.raises(NotTrusted, match="runtime_env"):
        stored_executor(config, "where", replaced=["address"])
    settings["init_args"] = {"address": "auto", "runtime_env": None, "cpus": 2.0}
    assert stored_executor(config, "where") == settings["init_args"]


def test_models_are_read_without_running_what_they_name(stranger):
    from safetensors.numpy import load, save

    class Own(GaussianProcess):
        pass

    space, path = NASBench201(), stranger.parent / "model.safetensors"
    own = Own()
    own.fit(space, [(0,) * 6, (1,) * 6, (2,) * 6], [1.0, 2.0, 3.0], 0)
    own.save(path)
    with pytest.raises(UsageError, match="is not installed"):
        load_model(path, space)
    assert isinstance(load_model(path, space, Own()), Own)
    arrays = load(path.read_bytes())
    facts = {"model": WRITES, "architectures": own.architectures, "seed": 0, "notes": {}}
    path.write_bytes(save(arrays, {"json": json.dumps(facts).replace("MARKER", str(stranger.parent / "marker"))}))
    with pytest.raises(UsageError, match="is not installed"):
        load_model(path, space)
    assert not (stranger.parent / "marker").exists()


def test_components_that_take_code_by_its_path_say_so_in_their_annotations(stranger):
    """Else ``not_installed`` could not tell; while something untrusted is built, ``import_object`` refuses anyway."""
    import inspect

    from archsearch import components

    for cls, name in ((Function, "function"), (DeapToolbox, "make"), (TuneSearch, "searcher")):
        assert "Callable" in str(inspect.signature(cls).parameters[name].annotation)
    token = components._untrusted.set("somewhere")
    try:
        with pytest.raises(NotTrusted, match=r"somewhere: stranger_lab\.score"):
            Function("stranger_lab.score")
    finally:
        components._untrusted.reset(token)
    assert not (stranger.parent / "marker").exists()


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
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False
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


@pytest.mark.parametrize("what", UNSAFE)
def test_nothing_in_the_source_reads_files_that_can_hold_code(what):
    found = []
    for folder in ("archsearch", "controllers", "evaluators", "spaces", "benchmarks", "examples"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name == "testing.py":  # the contract suites pickle what they are given, in memory
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                code = line.partition("#")[0]
                if re.search(UNSAFE[what], code):
                    found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found


def test_what_a_training_keeps_lies_in_its_folder(tmp_path):
    training = Training("digits")
    training.folder = tmp_path / "evaluator"
    with pytest.raises(ValueError, match="format code 'd'"):  # a trial's number from a journal that is anyone's
        training.read("../outside")


def test_every_component_stands_for_itself(stranger):
    """Installed components are made without trust, those inside others too."""
    search(NASBench201(), Bananas(), Tabular(), trials=2, seed=0, out="b")
    assert resume("b", trials=3).completed == 3
