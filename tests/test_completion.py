"""What a shell is offered when it completes a line, as argcomplete's scripts ask for it."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent


def offered(line, tmp_path):
    answer = tmp_path / "answer"
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    command = [sys.executable, "-c", "from archsearch.cli import console; console()"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    return [each.strip() for each in answer.read_text().split("\n")] if answer.exists() else done


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("archsearch st", ["study", "status"]),
        ("archsearch run --tri", ["--trials"]),
        ("archsearch run --controller Reg", ["RegularizedEvolution"]),
        ("archsearch run --controller RegularizedEvolution --controller.pop", ["--controller.population_size"]),
        ("archsearch run --executor sim", ["simulated"]),
        ("archsearch watch sav", ["saved/"]),
        ("archsearch run --controller Nobody --tri", [""]),
    ],
)
def test_what_is_offered(line, expected, tmp_path):
    pytest.importorskip("argcomplete")
    (tmp_path / "saved").mkdir()
    found = offered(line, tmp_path)
    if expected == [""]:
        assert found.returncode == 1, "a word before is wrong: nothing goes with it"
    else:
        assert found == expected


def test_without_argcomplete_nothing_is_offered(tmp_path):
    (tmp_path / "argcomplete.py").write_text("raise ImportError('as if it were not there')\n")
    found = offered("archsearch st", tmp_path)
    assert (found.returncode, found.stderr) == (1, "")


def test_the_citation_agrees_with_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert [each["name"] for each in citation["authors"]] == [each["name"] for each in project["authors"]]
    assert {"cff-version", "message", "title"} <= citation.keys()
    assert re.search(rf"^{citation['license']} License", (ROOT / "LICENSE").read_text())
