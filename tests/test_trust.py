"""A stranger's folder is data: reading it runs nothing that it names. Every attack here touches a harmless marker."""

from __future__ import annotations

import contextlib
import json
import sys

import folder_lab
import pytest
import yaml
from trust_lab import (
    DEAP,
    FUNCTION,
    IMPORTS,
    LAB,
    PREDICTOR,
    RAN,
    SPACE,
    SPACES,
    TOUCH,
    TUNE,
    WRITES,
    edit,
)

from archsearch import cli, resume, search
from archsearch.bridges.export import export
from archsearch.controllers import DeapToolbox
from archsearch.errors import NotTrusted, UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.judging.verification import verify
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.trust import stored_executor
from archsearch.model import load_model
from archsearch.models import GaussianProcess
from archsearch.showing.report import report
from archsearch.showing.status import show, status
from archsearch.spaces import NASBench201
from archsearch.tune import TuneSearch

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
        "connects": {
            "class_path": "archsearch.executors.ray.executor.RayExecutor",
            "init_args": {"address": "127.0.0.1:1"},
        },
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
    passed_over = command == "export" and (what, attack) in [("evaluator", "calls"), ("evaluator", "labels")]
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


def test_status_of_a_space_that_is_not_installed_has_options_for_names_not_yet_in_a_part(tmp_path):
    folder_lab.begin("plain", tmp_path / "r", killed_at=5)
    folder = RunFolder(tmp_path / "r")
    assert len(folder.table(None)) == len(folder.table(NASBench201())) == 5


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
    settings = {
        "class_path": "archsearch.ray_executor.RayExecutor",
        "init_args": {"address": "10.0.0.1:6379"},
    }
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
