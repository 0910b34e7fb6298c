"""Spaces of cells on the grammar: published counts, canonical forms, texts, mutations."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from cells_lab import FAMILIES, TABLE, renumbered, sampled

from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.spaces import DARTS, PNAS, RDARTS, AmoebaNet, ENASMicro, NASNet
from archsearch.testing import check_space

EACH = pytest.mark.parametrize("space", FAMILIES.values(), ids=FAMILIES)


def test_contract_where_edges_differ():
    check_space(lambda: RDARTS("S1", TABLE, layers=2, channels=4), skip=["canonical_is_a_stable_key"])


# -- counts ----------------------------------------------------------------------------------------


def test_published_counts():
    nasnet = NASNet()
    assert nasnet.arities[:10] == (2, 2, 13, 13, 2, 3, 3, 13, 13, 2)
    assert len(nasnet.arities) == 50
    assert sum(map(math.log, nasnet.arities)) == pytest.approx(84.55, abs=0.005)
    cell = math.prod(k * k for k in range(2, 7)) * 338**5
    assert nasnet.size() == cell**2
    assert f"{cell:.3e}" == "2.287e+18"
    assert PNAS().size() == 556_627_761_561_600
    assert AmoebaNet().size() == 556_627_761_561_600**2
    assert ENASMicro().size() == math.prod((5 * k) ** 2 for k in range(2, 7)) ** 2
    assert f"{math.prod((5 * k) ** 2 for k in range(2, 7)):.2e}" == "5.06e+12"
    for name in ("S1", "S2", "S3", "S4"):
        assert RDARTS(name).size() == 46_080**2


def test_cells_of_several_sizes_are_those_of_each_size():
    """Counts, canonical forms, texts and encodings of ``PNAS(least=1)`` are those of spaces with one size."""
    space, rng = PNAS(least=1), np.random.default_rng(0)
    assert space.size() == sum(PNAS(blocks).size() for blocks in range(1, 6))
    assert sum(1 for _ in PNAS(blocks=2, least=1).enumerate()) == 256 + 256 * 576
    for blocks in range(1, 6):
        alone = PNAS(blocks)
        for architecture in (alone.sample(rng) for _ in range(10)):
            same = (blocks - 1, *architecture)
            assert same in space
            assert space.canonical(same) == alone.canonical(architecture)
            assert space.format(same) == alone.format(architecture)
            assert space.parse(space.format(same)) == same
            one, other = space.operation_graphs([same]), alone.operation_graphs([architecture])
            columns = other.paths(5000).shape[1]
            np.testing.assert_array_equal(one.paths(5000)[:, :columns], other.paths(5000))
    assert space.parse("PNASNet-5") == (4, *PNAS().parse("PNASNet-5"))


@pytest.mark.slow
def test_contract_of_cells_of_several_sizes():
    check_space(lambda: PNAS(least=1, layers=3, channels=4))


def test_one_node_of_pnas_has_136_distinct_cells():
    space = PNAS(blocks=1)
    assert space.size() == 256
    assert len({space.canonical(cell) for cell in space.enumerate()}) == 136


# -- canonical form ----------------------------------------------------------------------------------


@EACH
def test_canonical_is_the_least_of_all_numberings_and_orders(space):
    rules, several = space.rules, 0
    if rules.at:
        pytest.skip("an option means another operation elsewhere")
    for architecture in sampled(space, 6):
        for kind, cell in enumerate(rules.split(architecture)):
            forms = set()
            for order in itertools.permutations(rules.targets_of(cell)):
                new = {0: 0, 1: 1, **dict(zip(rules.targets_of(cell), order, strict=True))}
                if form := renumbered(rules, cell, new):
                    forms.add(form)
            least = min(_orders(rules, form) for form in forms)
            several += len(forms) > 1
            assert rules.least(kind, cell) == least
            assert {rules.least(kind, form) for form in forms} == {least}
    assert several


def _orders(rules, cell):
    """The least encoding of a cell among the orders of the inputs of its nodes."""
    found = ()
    for first, second, combiner in rules.joints(cell):
        found += min(rules.write(first, second, combiner), rules.write(second, first, combiner))
    return found


def test_a_published_cell_that_breaks_the_rule_is_like_no_other():
    space = NASNet()
    original, transcribed = space.parse("NASNet-A"), space.parse("NASNet-A-DARTS")
    assert space.canonical(original) != space.canonical(transcribed)
    assert [form for form in space.canonical(original) if isinstance(form, tuple)] == [(1, 2, 3, 4, 5, 6), (3, 4, 5, 6)]
    assert {type(form) for form in space.canonical(transcribed)} == {int}


# -- which states are concatenated -----------------------------------------------------------------


def outputs(space, architecture):
    return [space.rules.outputs(kind, cell) for kind, cell in enumerate(space.rules.split(architecture))]


def test_outputs_of_published_cells():
    nasnet, amoebanet = NASNet(), AmoebaNet()
    assert outputs(nasnet, nasnet.parse("NASNet-A")) == [(1, 2, 3, 4, 5, 6), (3, 4, 5, 6)]
    assert 4032 / len(outputs(nasnet, nasnet.parse("NASNet-A"))[0]) == 672
    assert outputs(nasnet, nasnet.parse("NASNet-A-DARTS")) == [(2, 3, 4, 5, 6), (4, 5, 6)]
    assert outputs(amoebanet, amoebanet.parse("AmoebaNet-A")) == [(1, 3, 4, 6), (2, 3, 4, 5, 6)]
    assert outputs(amoebanet, amoebanet.parse("AmoebaNet-A-DARTS"))[1] == (3, 4, 6)
    assert outputs(amoebanet, amoebanet.parse("AmoebaNet-C")) == [(1, 2, 4, 5, 6), (0, 2, 3, 4, 5, 6)]
    released = AmoebaNet("released")
    assert outputs(released, released.parse("AmoebaNet-B")) == [(0, 3, 4, 6), (5, 6)]
    assert outputs(released, released.parse("AmoebaNet-D")) == [(0, 3, 4, 6), (4, 5, 6)]
    assert outputs(PNAS(), PNAS().parse("PNASNet-5")) == [(2, 3, 4, 5, 6)]


@EACH
def test_unused_states_and_no_others_are_concatenated(space):
    for architecture in sampled(space, 20):
        read = [{edge.source for node in cell for edge in node} for cell in cells(space, architecture)]
        nodes = [len(cell) for cell in cells(space, architecture)]
        for states, used, n in zip(outputs(space, architecture), read, nodes, strict=True):
            every = set(range(2 + n))
            assert set(states) == (every - {0, 1} if space.rules.output == "all" else every - used)


def cells(space, architecture):
    decoded = space.decode(architecture)
    return decoded.values() if isinstance(decoded, dict) else decoded


# -- texts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "name"),
    [(space, name) for space in (NASNet(), PNAS(), AmoebaNet("released")) for name in space.rules.names],
)
def test_published_architectures_are_written_as_they_are_read(space, name):
    assert space.format(space.parse(f" {name}\n")) == space.rules.names[name]


def test_the_cells_of_the_paper_are_the_same_decisions_in_the_released_space():
    assert set(AmoebaNet("released").rules.names) - set(AmoebaNet().rules.names) == {"AmoebaNet-B", "AmoebaNet-D"}
    for name in AmoebaNet().rules.names:
        assert AmoebaNet("released").parse(name) == AmoebaNet().parse(name)


def test_enas_micro_decodes_to_the_published_cells():
    space = ENASMicro()
    normal, reduce = space.decode(space.parse("ENAS-micro")).values()
    assert normal[0] == ((0, "avg_pool_3x3"), (0, "sep_conv_3x3"))
    assert normal[3] == ((1, "sep_conv_3x3"), (0, "sep_conv_5x5"))
    assert reduce[2] == ((1, "sep_conv_5x5"), (3, "sep_conv_5x5"))
    assert outputs(space, space.parse("ENAS-micro")) == [(2, 3, 4, 5, 6), (2, 4, 5, 6)]
    tokens = space.format(space.parse("ENAS-micro"))
    assert tokens.split()[:4] == ["0", "2", "0", "0"]
    assert space.parse(tokens.replace(" 0 4 0 1", " | 0 4 0 1")) == space.parse("ENAS-micro")


@pytest.mark.parametrize(
    ("space", "old", "new", "why"),
    [
        (NASNet(), "identity(0) >", "identity(6) >", "from 0 to 5"),
        (NASNet(), "> 1 2 3 4 5 6", "> 2 3 4 5 6", "concatenates"),
        (NASNet(), "> 1 2", "> x 2", "numbers of states"),
        (NASNet(), "identity(0) >", "identity(0) product >", "none of these operations"),
        (AmoebaNet(), "identity(1) |", "conv_1x1(1) |", "none of these operations"),
        (PNAS(), "identity(0)", "", "two operations"),
        (PNAS(), "PNASNet-5", "PNASNet-6", "one of PNASNet-5 or a text"),
        (PNAS(blocks=3, least=2), "PNASNet-5", "cell: identity(0) identity(0)", "2 to 3 nodes between bars"),
        (PNAS(blocks=2), "PNASNet-5", "PNASNet-5", "is an architecture of PNAS with blocks 5"),
        (PNAS(blocks=2), "PNASNet-5", "identity", "a text such as 'cell: identity"),
        (AmoebaNet(), "AmoebaNet-B", "AmoebaNet-B", "of AmoebaNet with operations released"),
    ],
)
def test_bad_text_is_refused_and_the_reason_told(space, old, new, why):
    text = old if old in ("PNASNet-5", "AmoebaNet-B") else next(iter(space.rules.names.values()))
    assert old in text
    with pytest.raises(InvalidArchitecture, match=why):
        space.parse(text.replace(old, new, 1))


def test_concatenation_is_written_behind_a_node():
    space = NASNet()
    text = space.format(space.parse("NASNet-A-DARTS")).replace("sep_conv_5x5(0) |", "sep_conv_5x5(0) concat |")
    architecture = space.parse(text)
    assert (architecture[4], architecture[29], sum(architecture[4::5])) == (1, 1, 2)
    assert space.format(architecture) == text
    assert space.parse(text.replace("concat", "add")) == space.parse("NASNet-A-DARTS")


# -- mutations ---------------------------------------------------------------------------------------


def test_mutations_of_amoebanet_are_the_published_ones():
    space, rng = AmoebaNet(), np.random.default_rng(0)
    (architecture,) = sampled(space, 1, 3)
    n = 10_000
    changed = Counter()
    for _ in range(n):
        mutant = space.mutate(architecture, rng)
        where = [i for i, (a, b) in enumerate(zip(architecture, mutant, strict=True)) if a != b]
        assert len(where) <= 1  # exactly one input or operation, or nothing
        assert mutant in space  # inputs are earlier states: no loops
        changed[(where[0], mutant[where[0]]) if where else None] += 1
    expected = {None: 0.05}
    for place, arity in enumerate(space.arities):
        for option in set(range(arity)) - {architecture[place]}:
            expected[place, option] = 0.95 / 2 / 20 / (arity - 1)  # half of them inputs, 20 of each
    assert changed.keys() == expected.keys()
    chi_square = sum((changed[key] - n * p) ** 2 / (n * p) for key, p in expected.items())
    assert chi_square < len(expected) - 1 + 5 * math.sqrt(2 * (len(expected) - 1))
    assert all(AmoebaNet(identity=0).mutate(architecture, rng) != architecture for _ in range(200))


def test_neighbours_of_reduced_darts_spaces():
    space = RDARTS("S4")
    (architecture,) = sampled(space, 1)
    near = list(space.neighbours(architecture))
    assert len(near) == len(set(near)) == 16 + 24
    rng = np.random.default_rng(0)
    assert {space.mutate(architecture, rng) for _ in range(1000)} == set(near)


# -- the reduced spaces of DARTS ---------------------------------------------------------------------


def test_candidates_of_reduced_spaces():
    found = {name: {c.candidates for c in FAMILIES[name].relaxed_choices()} for name in ("S1", "S2", "S3", "S4")}
    assert found["S1"] == set(TABLE)
    published = [choice.candidates for choice in RDARTS("S1").relaxed_choices()]
    assert published[5] == published[10] == ("max_pool_3x3", "skip_connect")  # normal 0->4 and 1->5
    assert published[12:16] == [("dil_conv_3x3", "dil_conv_5x5")] * 2 + [
        ("max_pool_3x3", "avg_pool_3x3"),
        ("max_pool_3x3", "dil_conv_3x3"),
    ]
    assert published[25:] == [("skip_connect", "dil_conv_5x5")] * 3
    assert found["S2"] == {("skip_connect", "sep_conv_3x3")}
    assert found["S3"] == {("none", "skip_connect", "sep_conv_3x3")}
    assert found["S4"] == {("noise", "sep_conv_3x3")}
    for name in found:
        space = FAMILIES[name]
        assert len(space.relaxed_choices()) == 28
        for architecture in sampled(space, 5):
            chosen = [
                choice.candidates[option]
                for choice, some in zip(space.relaxed_choices(), space.selected(architecture), strict=True)
                for option in some
            ]
            assert sorted(chosen) == sorted(edge.operation for c in cells(space, architecture) for n in c for edge in n)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: RDARTS("S5"), "S1, S2, S3, S4, got 'S5'"),
        (lambda: RDARTS("S2", TABLE), "nothing for the other spaces"),
        (lambda: RDARTS("S1", TABLE[:-1]), "for each of 28 edges"),
        (lambda: RDARTS("S1", [*TABLE[:-1], ("none", "sep_conv_3x3")]), "two of max_pool_3x3"),
        (lambda: PNAS(blocks=9), "from 1 to 8"),
        (lambda: PNAS(blocks=3, least=4), "least"),
        (lambda: AmoebaNet("all"), "paper or released"),
        (lambda: AmoebaNet(identity=1.0), "identity"),
        (lambda: NASNet(layers=0), "layers"),
        (lambda: DARTS(auxiliary=1), "auxiliary"),
    ],
)
def test_wrong_settings(make, why):
    with pytest.raises(UsageError, match=why):
        make()


# -- encodings -----------------------------------------------------------------------------------------


@EACH
def test_operation_graphs_are_those_of_the_drawing_and_know_no_numbering(space):
    architectures = [space.parse(name) for name in space.rules.names] + sampled(space, 20)
    graphs = space.operation_graphs(architectures)
    for row, architecture in enumerate(architectures):
        drawn = Counter(label for _, _, label in space.graph(architecture).edges(data="label") if label)
        kinds = len(space.rules.operations) * len(space.rules.combiners) + 2
        operations = [kind % kinds - 2 for kind in graphs.labels[row].tolist() if kind >= 0]
        names = space.rules.operations
        assert Counter(names[kind % len(names)] for kind in operations if kind >= 0) == drawn
        into_output = sum(target.endswith("output") for _, target in space.graph(architecture).edges())
        ends = graphs.adjacency[row, :, -1].sum()
        assert sum(2 if state > 1 else 1 for states in outputs(space, architecture) for state in states) == ends
        assert into_output == sum(map(len, outputs(space, architecture)))
    assert space.operation_graphs([]).labels.shape == (0, graphs.labels.shape[1])
    if not space.rules.at:
        sizes = [architecture[: space.arities is None] for architecture in architectures[-20:]]
        forms = [tuple(part for part in space.canonical(a) if isinstance(part, int)) for a in architectures[-20:]]
        forms = [(*size, *form) for size, form in zip(sizes, forms, strict=True)]
        one, other = (space.operation_graphs(each).paths(5000) for each in (architectures[-20:], forms))
        np.testing.assert_array_equal(one, other)
