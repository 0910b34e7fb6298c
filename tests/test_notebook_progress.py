"""Progress in the cell of a notebook, by a stand-in for the IPython that runs in its kernel."""

import sys
import types

import pytest

from archsearch import search
from archsearch.controllers import RandomSearch
from archsearch.evaluators import Function, Tabular
from archsearch.running import progress
from archsearch.spaces import Choices, NASBench201


class Handle:
    def __init__(self):
        self.drawn = []

    def update(self, html):
        self.drawn.append(html)


@pytest.fixture
def cells(monkeypatch):
    """The cells' outputs; ``cells.shell.kernel`` is None in a terminal."""
    made = []

    def display(html, *, display_id):
        assert display_id is True
        made.append(Handle())
        return made[-1]

    package, module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    shell = types.SimpleNamespace(kernel=object())
    package.get_ipython = lambda: shell
    module.HTML, module.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return types.SimpleNamespace(made=made, shell=shell)


def test_a_bar_is_drawn_in_the_cell_and_ends_full(cells, capsys, monkeypatch):
    monkeypatch.setattr(progress, "REFRESH_SECONDS", 0.0)
    search(NASBench201(), RandomSearch(), Tabular(), trials=7, seed=0, progress=True)
    (cell,) = cells.made
    assert len(cell.drawn) > 7
    assert '<progress value="7" max="7"' in cell.drawn[-1]
    assert "7/7" in cell.drawn[-1]
    assert "best " in cell.drawn[-1]
    err = capsys.readouterr().err
    assert err.startswith("searching NASBench201: RandomSearch proposes")
    assert "trials  best" not in err, "the bar stands for the lines of a log"


def test_without_a_number_of_trials_there_is_no_bar_and_names_are_no_html(cells):
    with progress.Display(progress.Settings(max_seconds=5), enabled=True) as display:
        display.progress("reading <b>", 3, 4)
        display.update(
            types.SimpleNamespace(completed=2, failed=0, best=None, billed_seconds=1.0)
        )  # fmt: skip
        drawn = cells.made[0].drawn
    assert "reading &lt;b&gt;" in drawn[0]
    assert '<progress value="3" max="4"' in drawn[0]


@pytest.mark.parametrize("where", ["terminal", "script"])
def test_elsewhere_lines_are_printed(where, cells, capsys, monkeypatch):
    if where == "terminal":
        cells.shell.kernel = None
    else:
        monkeypatch.delitem(sys.modules, "IPython")
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    search(Choices({"a": [1, 2]}), RandomSearch(), Function(lambda v: v["a"]), trials=3, seed=0, progress=True)
    assert cells.made == []
    assert "3 trials  best 2.0000" in capsys.readouterr().err


def test_nothing_is_drawn_unless_asked_for(cells):
    search(Choices({"a": [1, 2]}), RandomSearch(), Function(lambda v: v["a"]), trials=3, seed=0)
    assert cells.made == []
