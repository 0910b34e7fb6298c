"""Every `archsearch` command that the documentation shows has options that exist and components that can be made.

Also those that are not run, as they would take too long or need a cluster: they are read, up to where the work begins.
"""

import functools
import importlib
import re
import shlex
import sys

import pytest
from common import run_command
from pages import PAGES, ROOT

from archsearch import cli
from archsearch.components import entry_points

AUTHORS = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "tutorials" / "author.md").read_text(), re.DOTALL)[1]
"""The file that the tutorial for authors calls ``my_lab.py``."""

WORK = {
    "run": ("cli.searching", "search_or_go_on"),
    "resume": ("running.search", "resume"),
    "control": ("steering.client", "control"),
    "status": ("showing.status", "standing"),
    "serve": ("serving.server", "PageServer"),
    "report": ("showing.report", "report"),
    "show": ("showing.status", "shown"),
    "verify": ("judging.verification", "verify"),
    "export": ("bridges.export", "export"),
    "profile": ("devices.profiler", "profile"),
    "study": ("studies.study", "read_study"),
    "study report": ("studies.study_report", "found_in"),
    "compare": ("judging.comparison", "compare"),
    "compare --controllers": ("contests.controller_comparison", "compare_controllers"),
}
"""Where each command begins with what it is for."""

SHOWN = [*PAGES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "examples").glob("**/*.yaml"))]


class Begins(BaseException):
    """The work would begin."""


def shown_commands():
    found = {}
    for page in SHOWN:
        text = page.read_text().replace("\\\n", " ")
        lines = re.findall(r"^(?:#|//)?\s*(?:\$ )?(archsearch [a-z].*)$", text, re.MULTILINE)
        lines += re.findall(r"^ +(?:ray|kubectl) .*?(?: -- |')(archsearch [a-z][^'\n]*)", text, re.MULTILINE)
        for line in [*lines, *re.findall(r"`(archsearch [a-z][^`]*)`", text)]:
            if not re.search(r"\.\.\.| \||^archsearch [a-z]+$", line):  # no whole command
                found.setdefault(" ".join(line.split()), page.name)
    return [pytest.param(line, id=f"{page}: {line[:60]}") for line, page in found.items()]


def shown_programs():
    """Our own scripts and targets of ``make``, as pages show them: (program, words after it)."""
    found = {}
    for page in SHOWN:
        text = page.read_text().replace("\\\n", " ")
        lines = re.findall(r"^ +((?:python|make) .*)$", text, re.MULTILINE)
        for line in [*lines, *re.findall(r"`((?:python|make) [^`]*)`", text)]:
            program, *words = line.partition("#")[0].replace("[", " ").replace("]", " ").split()
            if program == "make" or re.match(r"(benchmarks|scripts)/", words[0]):
                found.setdefault(" ".join([program, *words]), page.name)
    return [pytest.param(line, id=f"{page}: {line[:60]}") for line, page in found.items()]


@pytest.mark.parametrize("line", shown_programs())
def test_a_script_or_target_that_is_shown_exists_with_its_options(line):
    """By the text of the script, and of those beside it that it imports: they are too many to import."""
    program, name, *words = line.split()
    if program == "make":
        assert re.search(rf"^{name}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    script = ROOT / name
    beside = [
        script.parent / f"{module}.py" for module in re.findall(r"^(?:from|import) (\w+)", script.read_text(), re.M)
    ]
    text = "".join(path.read_text() for path in [script, *beside] if path.exists())
    options = [word for word in words if word.startswith("--")]
    parts = [words[0]] if words and words[0].isidentifier() and words[0].islower() else []
    assert [word for word in [*options, *parts] if f'"{word}"' not in text and f"def {word}(" not in text] == []


def test_commands_inside_other_commands_are_read_too():
    assert sum(" --out /shared/runs/first" in case.values[0] for case in shown_commands()) >= 3
    assert len(shown_programs()) > 50


@pytest.mark.parametrize("line", shown_commands())
def test_a_command_that_is_shown_can_be_given(line, tmp_path, monkeypatch, capsys):
    def begin(*_, **__):
        raise Begins

    # All are imported before one is replaced: others take the names from them when they are imported.
    homes = [(importlib.import_module(f"archsearch.{module}"), name) for module, name in WORK.values()]
    for home, name in homes:
        # Defaults of options are theirs.
        signed = functools.update_wrapper(functools.partial(begin), getattr(home, name))
        monkeypatch.setattr(home, name, signed)
    monkeypatch.setattr("archsearch.stores.mirrors.fetched", begin)  # what is shown of stores names none that is there
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for module in ("my_lab", "search"):
        monkeypatch.delitem(sys.modules, module, raising=False)  # of another test
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "search.py").symlink_to(ROOT / "examples" / "cluster" / "search.py")
    (tmp_path / "my_lab.py").write_text(
        f"{AUTHORS}\nfrom marked_models import ResNet\n\n"
        "from archsearch.controllers import RandomSearch\n\n\nclass Annealing(RandomSearch):\n"
        "    def __init__(self, cooling: float = 0.9) -> None:\n        self.cooling = cooling\n"
    )
    (tmp_path / "run.yaml").write_text("evaluator: {class_path: Training, init_args: {task: digits}}\n")
    for folder in ("shipped/archsearch", "src/my_lab"):
        (tmp_path / folder).mkdir(parents=True)
    _, *arguments = shlex.split(re.sub(r"\bN\b", "7", line), comments=True)
    assert arguments[0] in cli.COMMANDS
    try:
        status, printed, errors = run_command(capsys, *arguments)
    except Begins:
        return
    assert status == 0, errors
    assert printed


def test_each_command_is_shown_somewhere():
    shown = {shlex.split(case.values[0], comments=True)[1] for case in shown_commands()}
    assert shown == set(cli.COMMANDS)


def test_the_readme_begins_with_the_two_commands_of_a_fresh_clone():
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if line.strip()]
    assert lines[0].startswith("# archsearch")
    assert [line.split("#")[0].split() for line in lines[1:3]] == [["make", "run"], ["make", "test"]]


def test_the_readme_names_all_presets_and_components():
    text = (ROOT / "README.md").read_text()
    names = {path.stem for path in (ROOT / "archsearch" / "presets").glob("*.yaml")}
    for kind in ("controllers", "evaluators", "spaces"):
        names |= set(entry_points(kind))
    assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set()


def test_the_readme_says_when_one_worker_on_ray_is_the_local_run():
    text = " ".join((ROOT / "README.md").read_text().split())
    assert "one worker on Ray equals the local run with `--lag 1` only" in text


def test_the_page_of_spaces_has_each_of_them_once():
    table = (ROOT / "docs" / "spaces.md").read_text().split("## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert listed == sorted(entry_points("spaces"), key=str.lower)


def test_the_page_of_controllers_has_each_of_them_once():
    table = (ROOT / "docs" / "controllers.md").read_text().split("## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert listed == sorted(entry_points("controllers"), key=str.lower)
