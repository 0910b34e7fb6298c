"""``benchmarks/all.py``: every table has a script, figures are found in what scripts print, misses are bold."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import all as runner  # noqa: E402
from registry import ROWS, Figure, Row  # noqa: E402

LOCAL = """| checkout | a trial, µs | the plain loop, µs | plain over ours | over the old one |
|---|---|---|---|---|
| here | 78 / **79** / 81 | 19 / **21** / 26 | 0.25 / **0.26** / 0.34 | 0.52 / **0.53** / 0.57 |
"""
STACKED = "| 8 | 4 | 1.86 (1.69 to 2.05) |\n| 8 | 16 | 2.72 (2.72 to 2.72) |\n| 16 | 4 | 1.30 (1.27 to 1.43) |\n"


def row(name):
    return next(each for each in ROWS if each.name == name)


@pytest.mark.parametrize("script", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_what_a_script_takes_from_the_package_is_there(script):
    """Scripts are run by hand, and rarely: a name that has moved would be noticed by the next reader."""
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "archsearch":
            module = importlib.import_module(node.module)
            for each in node.names:
                if not hasattr(module, each.name):
                    importlib.import_module(f"{node.module}.{each.name}")


def test_every_row_names_a_script_and_a_heading_that_are_there():
    pages = {None: (BENCHMARKS.parent / "docs" / "benchmarks.md").read_text()}
    for each in ROWS:
        assert (BENCHMARKS / each.arguments[0]).exists(), each.name
        if not each.section.startswith("docs/"):
            assert f"\n## {each.section}\n" in pages[None], each.name
        else:
            page, _, heading = each.section.partition(", ")
            assert not heading or f"\n## {heading}\n" in (BENCHMARKS.parent / page).read_text(), each.name
    assert len({each.name for each in ROWS}) == len(ROWS)


def test_every_heading_of_the_page_with_a_command_has_a_row():
    sections = (BENCHMARKS.parent / "docs" / "benchmarks.md").read_text().split("\n## ")[1:]
    with_scripts = {text.partition("\n")[0] for text in sections if "`python benchmarks/" in text}
    assert with_scripts <= {each.section for each in ROWS}


@pytest.mark.parametrize(
    ("name", "text", "figures"),
    [
        ("local search", LOCAL, [0.26]),
        ("several seeds at once", STACKED, [1.86, 2.72, 1.30]),
        ("ask and tell", "| archsearch | 1 / **2** / 3 | 2.15 |\nlast tenth over first: 1.005", [2.15, 1.005]),
        ("super-network step", "| DARTS | 63.9 | 64.8 | 0.962 / **1.020** / 1.085 |", [None, 1.02, None, None]),
        ("start-up", "| `run` (1,000 trials) | 0.52 / **0.62** / 0.63 | 3.8 |", [0.62, None]),
    ],
)
def test_figures_are_found_in_what_scripts_print(name, text, figures):
    assert [figure.read(text) for figure in row(name).figures] == figures


def test_a_missed_target_is_bold_until_it_is_met(tmp_path):
    rows = [Row("loop", "Loop", ("x.py",), 1, (Figure("speed", "", 0.6), Figure("bytes", "", 100, False)))]
    for day, speed in (("2026-01-02", 0.7), ("2026-01-01", 0.3)):
        runner.keep(day, "loop", {"figures": {"speed": speed, "bytes": 5.0}}, tmp_path)
    runner.keep("2026-01-01", "other", {"figures": {}}, tmp_path)
    days = runner.read_days(tmp_path)
    assert set(days["2026-01-01"]["rows"]) == {"loop", "other"}
    assert {"versions", "processor", "commit"} <= set(days["2026-01-01"])
    page = runner.page(days, rows)
    assert "| loop: speed | at least 0.6 | **0.3** | 0.7 |" in page
    assert "| loop: bytes | at most 100 | 5 | 5 |" in page


def test_the_page_is_what_the_history_says():
    assert runner.PAGE.read_text() == runner.page(runner.read_days())


def test_quick_mode_runs_a_script_and_keeps_nothing():
    before = sorted(runner.HISTORY.glob("*"))
    found = runner.run(row("local search"), quick=True)
    assert 0 < found["figures"]["plain loop's processor time over ours"] < 2
    assert json.dumps(found)
    assert sorted(runner.HISTORY.glob("*")) == before


def test_what_cannot_be_run_here_is_said():
    command = [sys.executable, str(BENCHMARKS / "all.py"), "--quick", "--only", "old and new"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == ""  # it has no quick mode
    assert "--old" in runner.missing(row("old and new"), None)
    assert runner.missing(row("local search"), None) == ""
