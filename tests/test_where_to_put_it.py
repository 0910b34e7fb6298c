"""The page names files and functions that there are, and each of its nine kinds has a row, a section and a block."""

import ast
import re
import tomllib

import pytest
from pages import ROOT, blocks

PAGE = ROOT / "docs" / "where_to_put_it.md"
TEXT = PAGE.read_text()
PROSE = re.sub(r"^```\w+\n.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
KINDS = [
    *("controller", "space", "evaluator", "model", "zero-cost score", "task", "executor", "report table", "measure"),
    "logger",
]
PATHS = sorted(set(re.findall(r"(?<!new file )`((?:\w+/)+(?:\w+\.py)?|\w+\.toml)`", PROSE)))
NAMES = sorted(set(re.findall(r"`([A-Za-z_]\w*)`", PROSE)))
PLACED = sorted(set(re.findall(r"`(\w+)` (?:in|of) `((?:\w+/)+\w+\.py)`", PROSE)))
"""Names with the file that is said to have them."""


def rows():
    lines = [line for line in TEXT.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def defined(text):
    """Names of classes, functions, arguments, variables and attributes that Python code defines."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


@pytest.fixture(scope="module")
def all_defined():
    folders = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"].values()
    files = [path for folder in folders for path in (ROOT / folder).glob("*.py")]
    texts = [path.read_text() for path in [*files, *(ROOT / "tests").glob("*.py")]]
    texts += [text for _, language, text, _ in blocks(PAGE) if language == "python"]
    return {name for text in texts for name in defined(text)} | {"local", "make"}


def test_the_nine_kinds_are_there():
    assert [re.match(r"\[(.*?)\]", row[0])[1] for row in rows()] == KINDS
    sections = dict(re.findall(r"^## (?:An?) (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
    assert [kind for kind in sections if kind in KINDS] == KINDS
    for kind in KINDS:
        assert "```python" in sections[kind], kind
        assert "\nYours: `archsearch " in sections[kind], kind
        assert re.search(r"\bIn\sthe\spackage\b", sections[kind]), kind


@pytest.mark.parametrize("row", rows(), ids=KINDS)
def test_a_row_says_what_to_copy_write_touch_and_prove(row):
    assert len(row) == 5
    assert all(row)
    anchors = [heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.*)$", TEXT, re.MULTILINE)]
    assert re.search(r"\(#(.*)\)", row[0])[1] in anchors


@pytest.mark.parametrize("path", PATHS)
def test_files_that_the_page_names_exist(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize(("name", "path"), PLACED)
def test_a_name_is_in_the_file_that_the_page_names(name, path):
    assert name in defined((ROOT / path).read_text())


@pytest.mark.parametrize("name", NAMES)
def test_names_that_the_page_mentions_exist(name, all_defined):
    assert name in all_defined


def test_enough_was_found():
    assert len(PATHS) > 20
    assert len(NAMES) > 30
    assert len(PLACED) >= 6
