"""``DARTS``: which cells are the same function."""

import itertools

import torch
from darts_lab import DIGITS, SPACE, V2, pictures, sampled

from archsearch.networks.network import build
from archsearch.spaces.darts import DARTS, GENOTYPES, NODES


def renumbered(architecture, numbers):
    """The architecture whose nodes have other numbers (old to new, one for each cell); None if one is not allowed."""
    cells = []
    for cell, new in zip(SPACE.decode(architecture), numbers, strict=True):
        nodes = {}
        for node, edges in zip(NODES, cell, strict=True):
            moved = [(new[edge.source], edge.operation) for edge in edges]
            if any(source >= new[node] for source, _ in moved):
                return None
            nodes[new[node]] = " ".join(f"{operation}({source})" for source, operation in moved)
        cells.append(" | ".join(nodes[node] for node in NODES))
    return SPACE.parse(f"normal: {cells[0]}; reduce: {cells[1]}")


NUMBERINGS = [{0: 0, 1: 1, **dict(zip(NODES, order, strict=True))} for order in itertools.permutations(NODES)]


def test_canonical_is_the_least_renumbering():
    several = 0
    for architecture in [V2, *sampled(40), *map(SPACE.parse, GENOTYPES)]:
        expected = ()
        for cell, part in enumerate((slice(0, 12), slice(12, 24))):
            identity = NUMBERINGS[0]
            forms = [renumbered(architecture, (new, identity) if cell == 0 else (identity, new)) for new in NUMBERINGS]
            forms = [form for form in forms if form is not None]
            several += len(set(forms)) > 1
            expected += min(forms)[part]
            for form in forms:
                assert SPACE.canonical(form) == SPACE.canonical(architecture)
        assert SPACE.canonical(architecture) == expected
        assert SPACE.canonical(expected) == expected
    assert several > 20


def test_canonical_tells_other_cells_apart():
    # None of the neighbours of these five is a renumbering, which changes more than one edge as a rule.
    for architecture in sampled(5):
        assert all(SPACE.canonical(other) != SPACE.canonical(architecture) for other in SPACE.neighbours(architecture))


def test_canonical_follows_up_ties():
    # Nodes 2 and 3 are alike, so which of them comes first is decided by what follows.
    one = "normal: a(0) a(1) | a(0) a(1) | b(0) a(2) | a(1) a(3)"
    other = "normal: a(0) a(1) | a(0) a(1) | a(1) a(2) | b(0) a(3)"
    rest = " ; " + GENOTYPES["DARTS_V2"].split(" ; ")[1]
    forms = [SPACE.parse(t.replace("a(", "sep_conv_3x3(").replace("b(", "skip_connect(") + rest) for t in (one, other)]
    assert forms[0] != forms[1]
    assert SPACE.canonical(forms[0]) == SPACE.canonical(forms[1])


def test_equal_forms_are_the_same_function_up_to_the_order_of_channels():
    order = {0: 0, 1: 1, 2: 3, 3: 2, 4: 5, 5: 4}
    first = SPACE.parse(
        "normal: sep_conv_3x3(0) max_pool_3x3(1) | dil_conv_5x5(0) skip_connect(1) | "
        "sep_conv_5x5(2) skip_connect(3) | avg_pool_3x3(0) dil_conv_3x3(3) ; " + SPACE.format(V2).split(" ; ")[1]
    )
    second = renumbered(first, (order, NUMBERINGS[0]))
    assert second != first
    one, other = (build(lambda a=a: DARTS(1, 4).network(a, DIGITS), 0).eval() for a in (first, second))
    weights = {}
    for name, value in one.state_dict().items():
        parts = name.split(".")
        if "edges" in parts:
            source, target = map(int, parts[3].split("-"))
            parts[3] = f"{order[source]}-{order[target]}"
        weights[".".join(parts)] = value
    blocks = list(one.head[1].weight.split(4, dim=1))
    weights["head.1.weight"] = torch.cat([blocks[node] for node in (1, 0, 3, 2)], dim=1)
    other.load_state_dict(weights)
    torch.testing.assert_close(one(pictures(2, 1, 8, 8)), other(pictures(2, 1, 8, 8)))
