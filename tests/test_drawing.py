"""Pictures are made, hold what they should, and nothing in them overlaps; text is exact."""

import itertools

import matplotlib.image
import networkx
import numpy as np
import pyarrow as pa
import pytest
from matplotlib.path import Path

from archsearch.basics.text_graphs import text_graph
from archsearch.errors import UsageError
from archsearch.showing import graphs as showing_graphs
from archsearch.showing import placing as showing_placing
from archsearch.showing import style as style
from archsearch.showing.curves import draw_learning_curve, draw_lines
from archsearch.showing.graphs import draw_graph
from archsearch.showing.report_pictures import _best_so_far
from archsearch.space import Space
from archsearch.testing import ConditionalSpace

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
OPERATIONS = ("nor_conv_3x3", "skip_connect", "avg_pool_3x3", "none", "nor_conv_1x1", "nor_conv_3x3")


def cell() -> networkx.MultiDiGraph:
    """Four nodes with an operation on each of the six edges, as in NAS-Bench-201."""
    graph = networkx.MultiDiGraph()
    for node, label in enumerate(("input", "1", "2", "output")):
        graph.add_node(node, label=label)
    for (source, target), label in zip(EDGES, OPERATIONS, strict=True):
        graph.add_edge(source, target, label=label)
    return graph


def chain() -> networkx.MultiDiGraph:
    return Space(arities=[5] * 20).graph(tuple(i % 5 for i in range(20)))


def labelled_nodes() -> networkx.MultiDiGraph:
    """Operations on nodes, edges without labels, two of them parallel."""
    graph = networkx.MultiDiGraph([(0, 1), (0, 2), (1, 3), (2, 3), (0, 3), (1, 3), (0, 4), (3, 4)])
    for node, label in enumerate(("input", "conv3x3", "conv1x1", "conv3x3", "output")):
        graph.nodes[node]["label"] = label
    return graph


def crowded() -> networkx.MultiDiGraph:
    """Three inputs, three outputs, an operation on each of nine edges, and a long parallel one."""
    graph = networkx.MultiDiGraph()
    for source, target in itertools.product("abc", "xyz"):
        graph.add_edge(source, target, label=f"operation {source}{target}")
    graph.add_edge("z", "end")
    graph.add_edge("a", "end", label="long")
    graph.add_edge("a", "end", label="long too")
    return graph


GRAPHS = [cell, chain, labelled_nodes, crowded]


@pytest.mark.parametrize("make_graph", GRAPHS)
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_graph_is_drawn(make_graph, suffix, tmp_path):
    path = tmp_path / f"graph.{suffix}"
    draw_graph(make_graph(), path, title="$ a title $")
    if suffix == "svg":
        assert path.read_text().rstrip().endswith("</svg>")
    else:
        pixels = matplotlib.image.imread(path)
        height, width, _ = pixels.shape
        assert 400 < width < 2500
        assert 200 < height < 2000
        ink = (pixels[..., :3] < 0.9).any(axis=2)
        assert 0.005 < ink.mean() < 0.5
        assert not ink[[0, -1]].any()  # nothing is cut off
        assert not ink[:, [0, -1]].any()


@pytest.mark.parametrize("make_graph", [cell, labelled_nodes, crowded])
def test_boxes_do_not_overlap_and_edges_avoid_them(make_graph):
    items, edges = showing_graphs._items(make_graph())
    routes = showing_placing.place_columns(items, edges)
    boxes = [item for item in items if item.text]
    for a, b in itertools.combinations(boxes, 2):
        gaps = abs(a.x - b.x) - (a.width + b.width) / 2, abs(a.y - b.y) - (a.height + b.height) / 2
        assert max(gaps) > 0.1, (a.text, b.text)
    for edge, (_, line) in zip(edges, routes, strict=True):
        points = Path(line.to_polygons(closed_only=False)[0]).interpolated(20).vertices
        for box in set(boxes) - set(edge):
            inside = np.abs(points - (box.x, box.y)) < (box.width / 2, box.height / 2)
            assert not inside.all(axis=1).any(), (edge[0].text, edge[-1].text, box.text)


def test_a_cell_has_one_box_per_node_and_operation_and_no_crossing():
    items, edges = showing_graphs._items(cell())
    showing_placing.place_columns(items, edges)
    assert sorted(item.text for item in items if item.text) == sorted([*OPERATIONS, "input", "1", "2", "output"])
    columns = [[item for item in items if item.column == column] for column in range(7)]
    assert showing_placing._untidiness(columns)[0] == 0
    xs = {item.text: item.x for item in items if item.is_node}
    assert xs["input"] < xs["1"] < xs["2"] < xs["output"]


def test_a_long_chain_winds():
    boxes, _ = showing_graphs._items(chain())
    showing_placing.place_chain(boxes)
    assert len({item.y for item in boxes}) == 3
    assert max(item.x for item in boxes) < showing_placing.CHAIN_WIDTH
    for a, b in itertools.pairwise(boxes):
        assert (a.x == b.x) != (a.y == b.y)  # right, left or straight down


def test_operations_keep_their_colour():
    colours = [
        style.family_colour(name) for name in ("nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3", "skip_connect", "none")
    ]
    assert colours == [
        style.BLUE,
        style.SKY,
        style.ORANGE,
        style.GREEN,
        style.GREY,
    ]
    assert style.family_colour("layer 3=mine") == style.family_colour("mine") in style.PALETTE
    assert style.family_colour("input") == style.INK


@pytest.mark.parametrize(
    ("values", "expected"), [([3, 1, 2], [2, 2, 2]), ([1, 2, 3], [1, 2, 3]), ([1, 3, 2], [1, 2.5, 2.5])]
)
def test_isotonic_regression(values, expected):
    assert showing_placing.isotonic(values, [1, 1, 1]) == expected


def test_unusable_graphs_and_suffixes_are_errors(tmp_path):
    with pytest.raises(UsageError, match="without cycles"):
        draw_graph(networkx.MultiDiGraph([(0, 1), (1, 0)]), tmp_path / "graph.png")
    with pytest.raises(UsageError, match="with nodes"):
        draw_graph(networkx.MultiDiGraph(), tmp_path / "graph.png")
    with pytest.raises(UsageError, match="png"):
        draw_graph(cell(), tmp_path / "graph.txt")
    assert not list(tmp_path.iterdir())


def test_text_of_a_cell():
    assert text_graph(cell()).split("\n") == [
        "input",
        "1       <- nor_conv_3x3(input)",
        "2       <- skip_connect(input), avg_pool_3x3(1)",
        "output  <- none(input), nor_conv_1x1(1), nor_conv_3x3(2)",
    ]


def test_text_numbers_nodes_whose_labels_repeat():
    assert text_graph(labelled_nodes()).split("\n") == [
        "0:input",
        "1:conv3x3  <- 0:input",
        "2:conv1x1  <- 0:input",
        "3:conv3x3  <- 0:input, 1:conv3x3, 1:conv3x3, 2:conv1x1",
        "4:output   <- 0:input, 3:conv3x3",
    ]
    assert text_graph(ConditionalSpace().graph((1, 0, 2))) == "0=1\n1.1.0=0  <- 0=1\n1=2      <- 1.1.0=0"


def scores(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    values = 92 - 10 * np.exp(-np.arange(n) / (n / 4)) * rng.gamma(1, 0.5, n)
    values[::20] = np.nan
    return values, np.fmax.accumulate(values)


@pytest.mark.parametrize("n", [0, 1, 1000, 50_000])
@pytest.mark.parametrize("seconds", [False, True])
def test_a_learning_curve_is_drawn(n, seconds, tmp_path):
    values, best = scores(n) if n else (np.array([]), np.array([]))
    cost = np.cumsum(np.full(n, 100.0)) if seconds else None
    draw_learning_curve(tmp_path / "curve.png", values, best, title="$ a title $", seconds=cost)
    pixels = matplotlib.image.imread(tmp_path / "curve.png")
    assert pixels.shape[:2] == (int(4.5 * style.DPI), 8 * style.DPI)
    assert (pixels[..., :3] < 0.9).any(axis=2).mean() > 0.005


def test_a_learning_curve_with_very_many_trials_stays_small(tmp_path):
    draw_learning_curve(tmp_path / "curve.svg", *scores(200_000), ylabel="accuracy (%)")
    assert (tmp_path / "curve.svg").stat().st_size < 1_000_000


def test_what_hardly_changes_is_not_magnified(tmp_path):
    """Marks that need an offset to be written (1e-5+1.609) nobody can read."""
    still, moving = [1.60944, 1.60943, 1.60940], [1.6, 1.2, 0.3]
    figure = draw_lines(tmp_path / "lines.png", [1, 2, 3], {"still": {"": still}, "moving": {"": moving}}, "epoch")
    first, second = figure.axes
    low, high = first.get_ylim()
    assert low < min(still) < max(still) < high
    assert high - low == pytest.approx(0.01 * 1.6094, rel=0.01)
    assert second.get_ylim()[1] - second.get_ylim()[0] < 1.5
    figure.canvas.draw()
    assert first.yaxis.get_offset_text().get_text() == ""


def test_a_learning_curve_needs_arrays_of_one_length(tmp_path):
    with pytest.raises(UsageError, match="got 2, 1 and 2"):
        draw_learning_curve(tmp_path / "curve.png", [1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("seconds", "unit"),
    [(0, "seconds"), (179, "seconds"), (180, "minutes"), (12_000, "hours"), (259_199, "hours"), (259_200, "days")],
)
def test_the_unit_of_cost_suits_its_size(seconds, unit):
    assert style.time_unit(seconds)[0] == unit


def test_best_so_far_is_of_the_longest_training():
    table = pa.table({"score": [5.0, 9.0, 7.0, 8.0, 6.0, 9.5], "budget": [1, 1, 3, 3, 9, 1]})
    assert _best_so_far(table, table["score"].to_numpy()).tolist() == [5, 9, 7, 8, 6, 6]
    assert _best_so_far(table.drop_columns("budget"), table["score"].to_numpy()).tolist() == [5, 9, 9, 9, 9, 9.5]
