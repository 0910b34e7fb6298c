"""A stranger's run folder and what it names, for the tests of trust. Everything here at most touches a marker."""

from __future__ import annotations

import shutil
import sys

import pytest
import yaml

from archsearch import search
from archsearch.controllers import RandomSearch
from archsearch.evaluators import Tabular
from archsearch.spaces import NASBench201

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
