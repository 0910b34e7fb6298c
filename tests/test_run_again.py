"""``archsearch run --out DIR`` where that run is already: equal settings go on, others are refused by name."""

import pytest

from archsearch import cli
from archsearch.keeping.folder import RunFolder

COMMAND = ["run", "--trials", "30", "--seed", "1", "--quiet"]


@pytest.fixture
def run(tmp_path, capsys):
    """Runs a command on one folder: exit status, what was said on standard error."""

    def command(*arguments):
        status = cli.main([*arguments, "--out", str(tmp_path / "run")])
        return status, capsys.readouterr().err

    return command


def trials(folder):
    return [(row["id"], row["score"]) for row in RunFolder(folder).table(None).sort_by("id").to_pylist()]


def test_a_finished_run_is_evaluated_no_further(run, tmp_path):
    assert run(*COMMAND)[0] == 0
    before = trials(tmp_path / "run")
    assert run(*COMMAND)[0] == 0
    assert trials(tmp_path / "run") == before
    assert len(before) == 30
    assert run("run", "--trials", "30", "--quiet")[0] == 0, "a seed that is not asked for is any"


def test_a_run_that_stopped_early_goes_on_to_the_same_end(run, tmp_path, monkeypatch):
    (tmp_path / "half.py").write_text(
        "import os, signal\ncalls = 0\n"
        "def score(text):\n"
        "    global calls\n"
        "    calls += 1\n"
        "    if calls == 9:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return float(len(text) + text.count('3'))\n"
    )
    monkeypatch.chdir(tmp_path)
    command = [*COMMAND, "--evaluator", "Function", "--evaluator.function", "half.score"]
    assert run(*command)[0] == 130
    assert len(trials(tmp_path / "run")) < 30
    assert run(*command)[0] == 0
    whole = [*command, "--out", str(tmp_path / "whole")]
    assert cli.main(whole) == 0
    assert trials(tmp_path / "run") == trials(tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--trials", "40"], "of trials 30; got 40: 'archsearch resume"),
        (["--seed", "2"], "of seed 1; got seed 2"),
        (["--timeout", "5"], "of timeout None; got 5.0"),
        (["--controller", "RandomSearch"], "controller differs"),
        (["--space", "NASBenchMacro"], "space differs"),
    ],
)
def test_what_differs_is_named_and_nothing_changes(change, said, run, tmp_path):
    assert run(*COMMAND)[0] == 0
    before = trials(tmp_path / "run")
    status, error = run(*COMMAND, *change)
    assert status == 2
    assert said in error
    assert "there is a run here already" in error
    assert error.count("\n") == 1
    assert trials(tmp_path / "run") == before
