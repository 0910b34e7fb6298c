"""``--json``: one document on standard output, of the documented schema, for every command and every way to fail."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from archsearch import Space, cli, search
from archsearch.basics.descriptions import json_value
from archsearch.controllers import RandomSearch
from archsearch.evaluators import Function

SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "answers.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

COMMANDS = {
    "run": (["run", "--trials", "12", "--seed", "3", "--out", "run", "--quiet"], "result"),
    "resume": (["resume", "run", "--trials", "14", "--quiet"], "result"),
    "status": (["status", "run"], "status"),
    "watch": (["watch", "run"], "watch"),
    "control": (["control", "steered", "show"], "control"),
    "serve": (["serve", "run", "--port", "0"], "serve"),
    "report": (["report", "run"], "report"),
    "verify": (["verify", "run", "--evaluator", "Tabular", "--top", "3", "--quiet"], "verification"),
    "export": (["export", "run"], "export"),
    "show": (["show", "run"], "architecture"),
    "list": (["list"], "list"),
    "study": (
        ["study", "run", str(Path(__file__).parents[1] / "examples" / "study_short_trainings.yaml"), "--quiet"],
        "study",
    ),
    "profile": (
        [
            "profile",
            "--space",
            "NASBenchMacro",
            "--evaluator.task",
            "digits",
            "--evaluator.skeleton.channels",
            "4",
            "--repeats",
            "2",
            "--warm_up",
            "1",
            "--networks",
            "3",
            "--fit",
            "0",
            "--quiet",
            "--out",
            "table.parquet",
        ],
        "profile",
    ),
    "compare": (
        ["compare", "--controllers+", "RandomSearch", "--controllers+", "LocalSearch", "--seeds", "3", "--trials", "8"],
        "comparison",
    ),
}


def answer(capsys, arguments):
    """The exit status, the document, and what was said on standard error."""
    status = cli.main([*arguments, "--json"])
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 1, "not one line, and nothing else"
    return status, json.loads(printed.out), printed.err


def while_steered(capsys, arguments):
    """The last answer to a command of which there is one for a search that runs only."""
    answers = []

    def ask(trial):
        if trial.id == 1:
            answers.append(answer(capsys, ["control", "steered", "put", "0,0,0"]))
            answers.append(answer(capsys, arguments))

    search(Space(arities=[3] * 3), RandomSearch(), Function(sum), trials=4, seed=0, out="steered", on_trial=ask)
    for _, document, _ in answers:
        check(document, "control")
    assert answers[-1][1]["put"] == ["0-0-0"]
    return answers[-1]


def check(document, name):
    """Holds a document to one definition of the schema."""
    VALIDATOR.evolve(schema=SCHEMA | {"anyOf": [{"$ref": f"#/$defs/{name}"}]}).validate(document)


def test_the_schema_is_one_and_every_command_is_tried():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(COMMANDS) == set(cli.COMMANDS)
    assert {each["$ref"].rpartition("/")[2] for each in SCHEMA["anyOf"]} == set(SCHEMA["$defs"]) - {
        "certainty",
        "cost",
        "trial",
    }


def test_every_command_answers_with_one_document(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("archsearch.serving.PageServer.serve", lambda self: None)  # it would go on
    monkeypatch.chdir(tmp_path)
    found = {}
    for name, (arguments, definition) in COMMANDS.items():
        status, document, _ = while_steered(capsys, arguments) if name == "control" else answer(capsys, arguments)
        assert (status, document["status"], document["command"]) == (0, 0, name)
        check(document, definition)
        found[name] = document
    assert found["run"]["trials"]["completed"] == 12
    assert found["resume"]["best"] == found["status"]["best"] == found["show"]["trial"]
    assert found["verify"]["architectures"][0]["trial"] == found["resume"]["best"]["trial"]
    assert all(Path(found[name]["page"]).is_file() for name in ("report", "compare"))
    assert found["list"]["controllers"]["RandomSearch"].startswith("Random search")


def test_what_fits_is_said_by_name(capsys):
    status, document, _ = answer(capsys, ["list", "--compatible-with", "NASBench201"])
    check(document, "fits")
    assert status == 0
    assert document["fits"]["Tabular"] == "yes"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["fly"], 2),
        (["status", "nowhere"], 2),
        (["run", "--trials", "many"], 2),
        (["run", "--space", "Nothing"], 2),
        (["show", "no architecture"], 2),
        (["run", "--evaluator", "Function", "--evaluator.function", "math.sqrt", "--out", "run"], 1),
    ],
)
def test_a_failure_is_a_document_too(arguments, status, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found, document, said = answer(capsys, arguments)
    check(document, "error")
    assert found == document["status"] == status
    assert document["error"] in said


def test_the_document_is_checked_at_all():
    wrong = {"command": "report", "status": 0, "page": None}
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(wrong)


def test_what_others_print_goes_to_standard_error(tmp_path):
    (tmp_path / "loud.py").write_text(
        "import os, subprocess, sys\n"
        "def score(text):\n"
        "    print('printed')\n"
        "    os.write(1, b'written\\n')\n"
        "    subprocess.run([sys.executable, '-c', 'print(\"by a child\")'], check=True)\n"
        "    return 1.0\n"
    )
    command = [sys.executable, "-m", "archsearch.cli", "run", "--evaluator", "Function", "--json", "--quiet"]
    command += ["--evaluator.function", "loud.score", "--trials", "1", "--out", "run"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(ended.stdout)["best"]["score"] == 1.0
    assert all(text in ended.stderr for text in ("printed", "written", "by a child"))


def test_help_stays_text(capsys):
    assert cli.main(["--json"]) == 0
    assert capsys.readouterr().out.startswith("usage:")


def test_values_are_plain():
    import numpy as np

    given = {"a": float("nan"), "b": [np.float64(1.5), np.int64(2)], "c": Path("x"), 4: (True, None, float("inf"))}
    assert json_value(given) == {"a": None, "b": [1.5, 2], "c": "x", "4": [True, None, None]}
