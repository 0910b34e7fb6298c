"""The map of the house is true: its rooms on disk, in the picture and in the table; functions on the way of a trial."""

import ast
import re

import pytest
from pages import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
SHELVES = {"controllers", "evaluators", "spaces", "spaces/networks"}


def section(title):
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rooms_on_disk():
    engine = {
        "/".join(file.parent.relative_to(ROOT / "archsearch").parts) for file in (ROOT / "archsearch").rglob("*.py")
    }
    return engine - {"."} - {""} | SHELVES


def steps(title):
    return re.findall(r"^\d+\. `([\w/]+\.py): ([\w.]+)`", section(title), re.MULTILINE)


NO_FILES_OF_OURS = {"my_lab.py", "controllers/climbing.py", "numpy.py", "model_builder.py"}


def test_files_that_pages_and_sources_name_are_there():
    """By the end of their path: ``loop.py``, ``running/loop.py``."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "Makefile"]
    folders = ("archsearch", "benchmarks", "controllers", "evaluators", "examples", "scripts", "spaces")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    files = [f"/{path.relative_to(ROOT)}" for path in (*sources, *(ROOT / "tests").rglob("*.py"))]
    gone = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in (*pages, *sources)
        for name in re.findall(r"(?<![\w/*.-])(?:\w+/)*\w+\.py\b", path.read_text())
        if name not in NO_FILES_OF_OURS and not any(file.endswith(f"/{name}") for file in files)
    ]
    assert gone == []


def test_the_picture_has_the_rooms_on_disk_in_at_most_twelve_boxes():
    picture = re.search(r"```\n(.*?)```", section("The house"), re.DOTALL)[1]
    words = set(re.findall(r"[a-z]+(?:/[a-z]+)?", picture))
    assert rooms_on_disk() <= words
    assert sum(line[0] in "┌├" for line in picture.splitlines()) <= 12


def test_the_table_has_each_room_once():
    listed = re.findall(r"^\| `([\w/]+)` \|", section("The rooms"), re.MULTILINE)
    assert sorted(listed) == sorted(rooms_on_disk())


def test_the_table_of_contracts_has_each_file_once():
    listed = re.findall(r"^\| `(\w+\.py)` \|", section("The contracts"), re.MULTILINE)
    assert sorted(listed) == sorted(file.name for file in (ROOT / "archsearch").glob("[!_]*.py"))


@pytest.mark.parametrize("title", ["The life of a trial", "The life of a training"])
def test_every_function_on_the_way_exists(title):
    found = steps(title)
    assert 5 <= len(found) <= 10
    assert len(found) == len(re.findall(r"^\d+\. ", section(title), re.MULTILINE))
    for file, name in found:
        scope = ast.parse((ROOT / file).read_text()).body
        for part in name.split("."):
            here = [each for each in scope if getattr(each, "name", "") == part]
            assert here, f"{file} has no {name}"
            scope = here[0].body


@pytest.mark.parametrize("title", ["The life of a trial", "The life of a training"])
def test_the_way_never_climbs_back_to_a_room_it_left(title):
    rooms = [file.rpartition("/")[0] for file, _ in steps(title)]
    entered = [room for place, room in enumerate(rooms) if place == 0 or room != rooms[place - 1]]
    assert len(entered) == len(set(entered))
