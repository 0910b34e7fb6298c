"""`scripts/rooms`: the house keeps its limits, and each limit is noticed where it is broken."""

import subprocess
import sys

import pytest
from pages import ROOT
from script_lab import load_script

rooms = load_script("rooms")


def test_this_house_keeps_its_limits():
    assert broken(ROOT) == []


def test_every_folder_of_python_code_is_a_room():
    seen = {file.path for room in rooms.rooms() for file in room.files}
    there = {
        path.relative_to(ROOT).as_posix()
        for folder in ("archsearch", "controllers", "evaluators", "spaces")
        for path in (ROOT / folder).rglob("*.py")
    }
    tests = {f"tests/{path.name}" for path in (ROOT / "tests").glob("*.py")}
    assert seen == there | tests


# -- a made-up tree ------------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path):
    """Writes a file of so many lines, which holds a function of so many."""

    def write(path, lines=10, function=3):
        body = ["def f():", *["    1"] * (function - 1)]
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("\n".join(body + ["1"] * (lines - len(body))) + "\n")

    return write


def broken(root):
    found = rooms.rooms(root)
    return [*rooms.broken_by_all(found), *(line for room in found for line in rooms.broken(room))]


@pytest.mark.parametrize("room", ["archsearch", "archsearch/deep/room"])
def test_the_number_of_files_is_limited_in_the_engine(room, write, tmp_path):
    for number in range(12):
        write(f"{room}/file_{number}.py")
    assert broken(tmp_path) == []
    write(f"{room}/one_more.py")
    name = "archsearch (contracts)" if room == "archsearch" else room
    assert broken(tmp_path) == [f"{name}: 13 files, at most 12 in a room"]


@pytest.mark.parametrize("room", ["controllers", "evaluators", "spaces", "spaces/networks", "tests"])
def test_shelves_and_tests_may_have_many_files_and_have_the_other_limits(room, write, tmp_path):
    for number in range(30):
        write(f"{room}/file_{number:02}.py")
    assert broken(tmp_path) == []
    write(f"{room}/file_07.py", lines=401)
    write(f"{room}/file_08.py", lines=70, function=61)
    assert broken(tmp_path) == [
        f"{room}/file_07.py: 401 lines, at most 400 in a file",
        f"{room}/file_08.py:1: f has 61 lines, at most 60 in a function",
    ]


def test_each_file_that_is_too_long_is_named(write, tmp_path):
    for name, lines in (("a", 400), ("b", 401), ("c", 500), ("d", 3), ("e", 3), ("f", 3), ("g", 3)):
        write(f"archsearch/{name}.py", lines=lines)
    assert broken(tmp_path) == [
        "archsearch/b.py: 401 lines, at most 400 in a file",
        "archsearch/c.py: 500 lines, at most 400 in a file",
    ]


@pytest.mark.parametrize(("folders", "name"), [(("archsearch/a", "archsearch"), "the engine"), (("tests",), "tests")])
def test_the_median_is_limited(folders, name, write, tmp_path):
    paths = [f"{folders[number % len(folders)]}/{number}.py" for number in range(3)]
    for path, lines in zip(paths, (10, 200, 390), strict=True):
        write(path, lines=lines)
    assert broken(tmp_path) == []
    write(paths[1], lines=201)
    assert broken(tmp_path) == [f"{name}: the file in the middle has 201 lines, at most 200"]


def test_methods_and_inner_functions_are_measured_and_named_by_where_they_stand(tmp_path):
    (tmp_path / "archsearch").mkdir()
    inner = (
        "class A:\n    def method(self):\n        @staticmethod\n        async def inner():\n" + "            1\n" * 60
    )
    (tmp_path / "archsearch" / "a.py").write_text("1\n" + inner)
    assert broken(tmp_path) == [
        "archsearch/a.py:3: A.method has 63 lines, at most 60 in a function",
        "archsearch/a.py:5: A.method.inner has 61 lines, at most 60 in a function",
    ]


def test_the_limits_are_data(write, tmp_path, monkeypatch):
    write("archsearch/a.py", lines=10, function=5)
    for limit in rooms.LIMITS:
        monkeypatch.setitem(rooms.LIMITS, limit, 0)
    assert len(broken(tmp_path)) == len(rooms.LIMITS)


def test_the_script_prints_a_table_and_what_is_broken(write, tmp_path):
    def script():
        command = [sys.executable, str(ROOT / "scripts" / "rooms"), str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    write("archsearch/a.py", lines=20)
    write("archsearch/b.py", lines=11, function=7)
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "__init__.py").write_text("")
    done = script()
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["room", "files", "lines", "median", "file", "longest", "file", "longest", "function"],
        ["archsearch", "(contracts)", "2", "31", "15.5", "20", "a.py", "7", "f", "in", "b.py"],
        ["spaces", "1", "0", "0", "0", "__init__.py"],
        [],
        ["All", "limits", "are", "kept."],
    ]
    write("archsearch/a.py", lines=401)
    done = script()
    assert done.returncode == 1
    assert done.stdout.endswith(
        "\n\nthe engine: the file in the middle has 206 lines, at most 200\n"
        "archsearch/a.py: 401 lines, at most 400 in a file\n"
    )
