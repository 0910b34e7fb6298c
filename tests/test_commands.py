"""Every command with no options, with --help and with one mistake; commands that come later are covered, too."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from common import run_command as run

import archsearch.judging.comparison
from archsearch import cli
from archsearch.cli import commands as cli_commands
from archsearch.cli import options as cli_options
from archsearch.cli.option_parser import in_one_line

COMMANDS = sorted(cli.COMMANDS)


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def _quick_comparison(tmp_path, monkeypatch):
    """The comparison of `archsearch compare`, with few of everything: the whole takes 40 s, and `.ci/run` makes it."""
    content = yaml.safe_load(archsearch.judging.comparison.DEFAULT.read_text())
    content |= {"samples": 60, "seeds": 1, "trials": 5, "evaluators": dict([*content["evaluators"].items()][:2])}
    folder = tmp_path / "quick"
    folder.mkdir()
    (folder / "comparison.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr(archsearch.judging.comparison, "DEFAULT", folder / "comparison.yaml")


def one_line(err):
    """The only line of an error, without how far something was before."""
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("archsearch: ")
    return lines[0]


def needs_an_argument(capsys, command):
    """Whether a command has an argument that is no option, by its own usage."""
    usage = run(capsys, command, "--help")[1].split("\n\n")[0]
    while "[" in usage:  # what may be left out, brackets inside of brackets first
        usage = re.sub(r"\[[^\[\]]*\]", "", usage)
    return usage.split()[3:] != []  # after "usage: archsearch COMMAND"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_the_command_is_for(capsys, command):
    status, out, err = run(capsys, command, "--help")
    assert status == 0
    assert out.startswith(f"usage: archsearch {command}")
    assert err == ""
    assert f"\n  {command} " in cli_commands.HELP


@pytest.mark.usefixtures("_quick_comparison")
@pytest.mark.parametrize("command", COMMANDS)
def test_without_options_a_command_works_or_says_in_one_line_what_it_needs(capsys, command):
    needs = needs_an_argument(capsys, command)
    status, out, err = run(capsys, command)
    assert "Traceback" not in out + err
    if needs:
        assert status == 2
        assert out == ""
        assert re.search(rf"expected \w+: .*; see 'archsearch {command} --help'", one_line(err))
    else:
        assert status == 0, err
        assert out.strip()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (["--no_such_option", "3"], "there is no option --no_such_option"),
        (["--hepl"], "did you mean --help?"),
        (
            ["one", "two", "three", "--four"],
            "there is no option|expected no further argument|no action is called 'one'",
        ),
        (["--out"], "expected one argument|there is no option --out"),
        (["--config", "nowhere.yaml"], "does not exist|there is no option --config"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_touches_nothing(capsys, command, mistake, said):
    status, out, err = run(capsys, command, *mistake)
    assert status == 2
    assert out == ""
    assert re.search(said, one_line(err))
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("arguments", [["run", "--trials", "3"], ["resume"], ["fly"], []])
def test_in_a_process_of_its_own(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "archsearch.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == (2 if arguments in (["resume"], ["fly"]) else 0)
    # A search says what Auto chose, and what it does.
    assert len(done.stderr.splitlines()) == (0 if not arguments else 2 if arguments[0] == "run" else 1)


def test_a_preset_without_options_of_its_own(capsys):
    """`archsearch run --preset spos` has no options left when the preset is taken away: a traceback, once."""
    assert cli_options.files_first(["--preset", "spos"])[0] == "--config"


@pytest.mark.parametrize(("name", "meant"), [("runn", "run"), ("Run", "run"), ("--list", "list"), ("verfy", "verify")])
def test_a_misspelt_command_is_guessed(capsys, name, meant):
    status, _, err = run(capsys, name)
    assert status == 2
    assert f"no command is called {name!r}; did you mean {meant}?" in one_line(err)


def test_an_unknown_command_is_told_which_there_are(capsys):
    assert all(command in one_line(run(capsys, "fly")[2]) for command in COMMANDS)


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(capsys, option):
    status, out, err = run(capsys, option)
    assert (status, err) == (0, "")
    assert out == f"archsearch {archsearch.__version__}\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--trials many", "trials: expected a whole number, got 'many'"),
        ("--executor foo", "no executor is called 'foo'; expected local, ray or simulated; a class of your own"),
        ("--limits 3", "limits: expected a mapping such as {name: value}, got '3'"),
        ("--limits.params many", "limits: params: expected the most, such as 2e6, or the least and the most"),
        ("--space.rule foo", "space.rule: expected one of skip, published, drop_zeros, flatten, got 'foo'"),
        ("--controller.population 3", "controller: Auto has no setting 'population'"),
        ("--evaluator Training --evaluator.epochs two", "evaluator.epochs: expected a whole number, got 'two'"),
        ("--evaluator Function", "evaluator: Function needs function"),
        ("--controller SuccessiveHalving --controller.controller Reinforc", "did you mean Reinforce?"),
        ("--evaluator Predictor --evaluator.model RandomFores", "did you mean RandomForest?"),
        ("--evaluator=Trainin", "did you mean Training?"),
        ("--trails 3", "did you mean --trials?"),
        ("--contr RandomSearch", "there is no option --contr"),
        ("--config list.yaml", "Unexpected config: - a"),
        ("--config broken.yaml", "expected node content"),
        ("--preset", "expected one argument"),
        ("--preset spoz", "no preset is called 'spoz'"),
    ],
)
def test_a_mistake_in_an_option_says_what_was_expected(capsys, options, said):
    Path("list.yaml").write_text("- a\n")
    Path("broken.yaml").write_text("a: [1,\n")
    status, _, err = run(capsys, "run", *options.split())
    assert status == 2
    assert said in one_line(err)


def test_what_jsonargparse_says_is_one_line_whatever_it_is():
    assert in_one_line("something\n  quite\n  - new") == "something, quite, new"


def test_run_says_what_it_does_before_it_does_it(capsys):
    """On standard error; standard output is the result alone."""
    status, out, err = run(capsys, "run", "--trials", "20", "--seed", "0", "--out", "r")
    assert status == 0
    assert err.splitlines()[0] == "Auto: BayesianOptimization, since a model makes most of the first 300 results"
    assert err.splitlines()[1] == (
        "searching NASBench201: Auto proposes, Tabular scores, on LocalExecutor; stops at trials 20; seed 0; into r"
    )
    assert out.splitlines()[-1] == "saved     r"
    assert run(capsys, "run", "--trials", "20", "--seed", "0", "--out", "q", "--quiet")[2] == ""
    assert run(capsys, "resume", "r", "--trials", "25")[2].splitlines()[1].endswith("after 20 completed trials")
