"""What users write is text: no terminal, page, picture or Markdown file takes it for a command or a formula."""

import io
import re
import sys
import unicodedata

import networkx
import numpy as np
import pytest
from matplotlib.figure import Figure

from archsearch import search
from archsearch.basics.words import fenced, html_text, markdown, plain, plain_lines, say
from archsearch.cli import main
from archsearch.contests.controller_comparison import compare_controllers
from archsearch.controllers import NSGA2, RandomSearch
from archsearch.errors import TooManyFailures
from archsearch.evaluators import Function
from archsearch.judging.comparison import compare
from archsearch.running.progress import Display
from archsearch.showing.curves import draw_columns, draw_front, draw_learning_curve
from archsearch.showing.graphs import draw_graph
from archsearch.showing.page import aligned, terms
from archsearch.showing.style import save_figure
from archsearch.spaces import Choices

NAMES = {
    "formula": "a$x_{$b",
    "half formula": "cost$",
    "power": r"$\frac{1}{$",
    "title of the window": "\x1b]0;owned\x07x",
    "clear": "\x1b[2J\x1b[31mred",
    "overwrite": "good\rbad",
    "eight bits": "\x9b31m",
    "reading direction": "abc\u202edcba",
    "markup": "[red]bold[/red] [link=file:///x]y[/link]",
    "page": "<script>alert(1)</script>&amp;",
    "underscore": "_hidden",
    "backspace": "rm\x08\x08ls",
}
METRICS = [text for text in NAMES.values() if not any(unicodedata.category(each) == "Cc" for each in text)]
"""Names that a metric may have: control characters are refused at the gate."""
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f]")
NASTY = Choices({text: [1, 2, text.strip()] for text in NAMES.values() if "=" not in text})


def nasty(architecture):
    """Metrics of all those names; some evaluations fail with such a message."""
    chosen = list(architecture.values())
    if chosen[0] == 2:
        raise ValueError("".join(NAMES.values()))
    score = float(chosen.count(1))
    return {"score": score} | {text: score * i for i, text in enumerate(METRICS, 1)}


@pytest.mark.parametrize("text", NAMES.values(), ids=NAMES)
def test_what_a_terminal_would_obey_is_shown(text):
    shown = plain(text)
    assert shown.isprintable()
    assert not OBEYED.search(plain_lines(text))
    assert plain(shown) == shown


def test_lines_stay_and_what_is_readable_is_not_touched():
    for text in ("grün", "数学 5×5", "a b", r"\x1b", "emoji 🙂", "$5 & <b>"):
        assert plain(text) == text
    assert plain_lines("a\nb\tc\r\n") == "a\nb   c\\r\n"
    assert plain("a\nb") == r"a\nb"
    assert plain("\udcff") == r"\udcff"
    assert plain("a\u00a0b\u2028") == r"a b\u2028"


def test_printing_copes_with_any_encoding():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    say("grün \x1b[2J", "\ud800", file=stream)
    assert stream.buffer.getvalue() == b"gr\\xfcn \\x1b[2J \\ud800\n"


def test_tables_pages_and_cards():
    text = aligned([["name", "x"], *([name, "1"] for name in NAMES.values())])
    assert not OBEYED.search(text)
    assert len(text.splitlines()) == 1 + len(NAMES)
    page = terms({name: name for name in NAMES.values()})
    assert not OBEYED.search(page)
    assert "<script>" not in page
    assert html_text("<\x1b>") == r"&lt;\x1b&gt;"
    assert markdown("a|b`c`<img>[x](y)") == r"a\|b\`c\`&lt;img>[x]\(y)"
    assert fenced("```\nx").splitlines()[0] == "````"


def test_a_bar_shows_markup_as_it_is(monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    settings = type("Settings", (), {"trials": 3})()
    with Display(settings, True) as display:
        display.log("[red]note[/red] \x1b]0;owned\x07")
        display._next = 0.0
        display.progress("[bold]work[/bold] \x1b[2J", 1, 2)
    shown = terminal.getvalue()
    assert "[red]note[/red]" in shown
    assert "[bold]work[/bold]" in shown
    assert "\x1b]0;" not in shown
    assert "\x1b[2J" not in shown


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nasty") / "run"
    result = search(
        NASTY,
        NSGA2(objectives={"score": "max", NAMES["formula"]: "min", NAMES["power"]: "min"}, population_size=8),
        Function("test_words.nasty"),
        trials=24,
        seed=0,
        out=folder,
        max_failures=1000,
    )
    return folder, result


def test_results_print_plainly(run):
    _, result = run
    assert not OBEYED.search(str(result))
    assert result.failed
    assert len(str(result).splitlines()) < 10


@pytest.mark.parametrize(
    "command",
    [["status"], ["report"], ["show"], ["show", "--out"], ["export"], ["resume", "--trials", "26", "--trust"]],
)
def test_commands_show_nasty_names_and_draw_them(run, command, capsys, tmp_path):
    folder, _ = run
    name, *options = command
    if options == ["--out"]:
        options.append(str(tmp_path / "picture.png"))
    assert main([name, str(folder), *options]) == 0
    out, err = capsys.readouterr()
    assert not OBEYED.search(out + err)
    assert out
    for path in [*folder.rglob("index.html"), *folder.rglob("*.md")]:
        text = path.read_text(encoding="utf-8")
        assert not OBEYED.search(text)
        assert "<script>" not in re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def test_errors_show_nasty_paths(capsys, tmp_path):
    assert main(["status", str(tmp_path / "\x1b]0;owned\x07")]) == 2
    err = capsys.readouterr().err
    assert r"\x1b]0;owned\x07" in err
    assert len(err.splitlines()) == 1


def test_comparisons_of_nasty_names_are_drawn(tmp_path):
    def score(architecture):
        return float(list(architecture.values()).count(1))

    def other(architecture):
        return float(list(architecture.values()).count(2))

    evaluators = {text: Function(other if i % 2 else score) for i, text in enumerate(NAMES.values())}
    compared = compare(NASTY, evaluators, Function(score), samples=12, seeds=2, trials=8, seed=0)
    assert not OBEYED.search(str(compared))
    compared.save(tmp_path / "evaluators", "command")
    assert not OBEYED.search((tmp_path / "evaluators" / "index.html").read_text(encoding="utf-8"))
    controllers = {text: RandomSearch() for text in list(NAMES.values())[:4]}
    tasks = {text: Function(other if i % 2 else score) for i, text in enumerate(NAMES.values())}
    found = compare_controllers(NASTY, controllers, tasks, seeds=2, trials=8, seed=0)
    assert not OBEYED.search(str(found))
    found.save(tmp_path / "controllers", "command")


@pytest.mark.parametrize("text", NAMES.values(), ids=NAMES)
def test_pictures_take_names_as_they_are(text, tmp_path):
    path = tmp_path / "picture.svg"
    points = np.array([[1.0, 2.0], [2.0, 1.0], [2.0, 3.0]])
    draw_front(path, points, np.array([True, True, False]), (text, text))
    draw_columns(path, {text: [1.0, 2.0], f"{text} ": [3.0, 4.0]}, title=text)
    draw_learning_curve(path, [1.0, 2.0], [1.0, 2.0], xlabel=text, title=text, ylabel=text)
    graph = networkx.MultiDiGraph()
    graph.add_node(0, label=text)
    graph.add_node(1, label="out")
    graph.add_edge(0, 1, label=text)
    draw_graph(graph, path, title=text)


def test_marks_of_a_logarithmic_axis_stay_powers_of_ten(tmp_path):
    figure = Figure()
    axes = figure.add_subplot(ylabel="$x")
    axes.set_yscale("log")
    axes.plot([1, 2], [1, 1000], label="y$")
    axes.legend()
    save_figure(figure, tmp_path / "picture.png")
    assert all(mark.get_parse_math() for mark in axes.get_yticklabels())
    assert not axes.yaxis.label.get_parse_math()
    assert not axes.get_legend().get_texts()[0].get_parse_math()


class Screaming:
    """A number that is none, with a picture of its own."""

    def __repr__(self):
        return "\x1b[2Jgone\r"


def scream(architecture):
    raise ValueError(repr(Screaming()) + str(architecture))


def shows_itself(architecture):
    return Screaming()


@pytest.mark.parametrize("function", [scream, shows_itself])
def test_errors_that_end_a_search_print_plainly(function):
    with pytest.raises(TooManyFailures) as caught:
        search(Choices({"a": [0, 1]}), RandomSearch(), Function(function), trials=3, max_failures=2, seed=0)
    assert "\x1b" not in str(caught.value)
    assert "\r" not in str(caught.value)
    assert r"\x1b[2Jgone" in str(caught.value).replace("\\\\", "\\")
