"""Cartesian genetic programming: a grid of functions of earlier nodes; those that the output does not need are silent.

Reference: Suganuma, Shirakawa & Nagao, "A genetic programming approach to designing convolutional neural network
architectures", GECCO 2017, and the authors' code. The controller ``OnePlusLambda`` is the paper's.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn, get_args

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one, number, whole_number
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Over, Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.basics.operation_graphs import OperationGraphs
    from archsearch.networks.network import InputShape, Network

Block = Literal["conv", "res"]

IMAGE = -1
"""The source that stands for the image; nodes are counted from 0."""
JOINS = ("sum", "concat")
"""Functions of two inputs, whose order does not count."""
DRAWS = 10_000
"""Draws of a genome, until its active nodes are as many as they may be."""
_NODE = re.compile(r"(\w+)\((-?\d+),(-?\d+)\)")


class Gene(NamedTuple):
    """A node.

    Attributes:
        function: Its name, such as ``conv_3x3_32``.
        sources: The nodes that feed it, ``IMAGE`` or numbers below its own; functions of one input read the first.
    """

    function: str
    sources: tuple[int, int]

    @property
    def read(self) -> tuple[int, ...]:
        """The sources that count."""
        return self.sources if self.function in JOINS else self.sources[:1]


class CGP(Space):
    """Genomes of a grid of 5 x 30 nodes, most of which are silent: 10 functions, 10 to 50 active nodes.

    A node's decisions are its function and two sources: nodes of the ``level_back`` columns before its own, and the
    image where these reach back to it. The last decision is the node that is the output. A node is *active* if the
    output depends on it, a decision is *silent* if it changes nothing: all those of inactive nodes, and the second
    source of a function that has one input. Functions are blocks of each number of filters and kernel, ``max_pool`` and
    ``avg_pool`` (2x2, halving; maps of one pixel are left as they are), ``sum`` (missing channels are zeros) and
    ``concat``; the larger of two maps is max-pooled until both are alike.

    Every genome is in the space. ``sample``, ``mutate`` and ``crossover`` draw again until ``least`` to ``most`` nodes
    are active, as the authors do. ``mutate`` changes each decision with a probability, at least one, and ``drift`` only
    silent ones. Texts hold the whole genome, ``function(source,source)`` column by column, the image being -1, and the
    output: ``max_pool(-1,-1) sum(-1,-1) | conv_3x3_32(0,1) sum(1,1) > 2``. There is no super-network.

    Args:
        rows: Rows of the grid, >= 1.
        columns: Columns of the grid, >= 1.
        level_back: How many columns a node may look back, >= 1; so may the output, from behind the last column.
        block: Convolution, batch normalisation, ReLU (``conv``, the paper's ConvSet), or two of them around which the
            input is added (``res``, its ResSet).
        filters: Channels that a block can have, each >= 1. None: 32, 64, 128.
        kernels: Kernels that a block can have, odd. None: 3, 5.
        least: The fewest active nodes of what is drawn, >= 0.
        most: The most active nodes of what is drawn, >= ``least``.
        mutation_rate: Probability with which ``mutate`` and ``drift`` change a decision, above 0 and up to 1.

    Raises:
        UsageError: If a setting is out of range; the message names it.
    """

    partial_sampling = True

    def __init__(
        self,
        rows: int = 5,
        columns: int = 30,
        level_back: int = 10,
        block: Block = "conv",
        filters: list[int] | None = None,
        kernels: list[int] | None = None,
        least: int = 10,
        most: int = 50,
        mutation_rate: float = 0.05,
    ) -> None:
        self.rows = at_least_one("CGP", "rows", rows)
        self.columns = at_least_one("CGP", "columns", columns)
        self.level_back = at_least_one("CGP", "level_back", level_back)
        if block not in get_args(Block):
            raise UsageError(f"CGP: block: expected one of {', '.join(get_args(Block))}, got {block!r}")
        self.block: Block = block
        self.filters = [at_least_one("CGP", "filters", n) for n in ([32, 64, 128] if filters is None else filters)]
        self.kernels = [at_least_one("CGP", "kernels", n) for n in ([3, 5] if kernels is None else kernels)]
        if even := [kernel for kernel in self.kernels if kernel % 2 == 0]:
            raise UsageError(f"CGP: kernels: expected odd numbers, got {even[0]}")
        self.nodes = self.rows * self.columns
        self.least = whole_number("CGP", "least", least, 0, self.nodes)
        self.most = whole_number("CGP", "most", most, self.least)
        self.mutation_rate = number("CGP", "mutation_rate", mutation_rate, above=0, high=1)
        blocks = [f"{block}_{kernel}x{kernel}_{n}" for n in self.filters for kernel in self.kernels]
        self.functions = (*blocks, "max_pool", "avg_pool", *JOINS)
        if len(set(self.functions)) < len(self.functions):
            raise UsageError("CGP: filters, kernels: expected different numbers, one is given twice")
        self._sources = [self._sources_of(column) for column in range(self.columns + 1)]
        arities: list[int] = []
        for node in range(self.nodes):
            there = len(self._sources[node // self.rows])
            arities += [len(self.functions), there, there]
        super().__init__(arities=[*arities, len(self._sources[-1])])

    def _sources_of(self, column: int) -> range:
        """What a node of a column, or the output behind the last one, may read."""
        first = column - self.level_back
        return range(first * self.rows if first >= 0 else IMAGE, column * self.rows)

    def label(self, prefix: Architecture) -> str:
        """Such as ``node 4 function``, ``node 4 first``, ``node 4 second``, ``output``."""
        node, gene = divmod(len(prefix), 3)
        return f"node {node} {('function', 'first', 'second')[gene]}" if node < self.nodes else "output"

    # -- genomes -----------------------------------------------------------------------------------

    def genes(self, architecture: Architecture) -> tuple[list[Gene], int]:
        """All nodes, and the node that is the output (``IMAGE``: none is)."""
        genes = []
        for node in range(self.nodes):
            function, first, second = architecture[3 * node : 3 * node + 3]
            sources = self._sources[node // self.rows]
            genes.append(Gene(self.functions[function], (sources[first], sources[second])))
        return genes, self._sources[-1][architecture[-1]]

    def active(self, architecture: Architecture) -> list[int]:
        """The nodes that the output depends on, rising."""
        joins = len(self.functions) - len(JOINS)
        found: set[int] = set()
        begun = [self._sources[-1][architecture[-1]]]
        while begun:
            node = begun.pop()
            if node >= 0 and node not in found:
                found.add(node)
                function, first, second = architecture[3 * node : 3 * node + 3]
                sources = self._sources[node // self.rows]
                begun.append(sources[first])
                if function >= joins:
                    begun.append(sources[second])
        return sorted(found)

    def decode(self, architecture: Architecture) -> dict[int, tuple[str, tuple[int, ...]]]:
        """The active nodes: number to function and sources, -1 or numbers; the last one is the output."""
        genes, _ = self.genes(architecture)
        return {node: (genes[node].function, genes[node].read) for node in self.active(architecture)}

    def silent(self, architecture: Architecture) -> list[int]:
        """The positions of the decisions that change nothing."""
        active, joins = set(self.active(architecture)), len(self.functions) - len(JOINS)
        found: list[int] = []
        for node in range(self.nodes):
            if node not in active:
                found += (3 * node, 3 * node + 1, 3 * node + 2)
            elif architecture[3 * node] < joins:
                found.append(3 * node + 2)
        return found

    def canonical(self, architecture: Architecture) -> Hashable:
        """The active nodes, numbered by their way to the output; places in the grid and silent decisions do not count.

        Nor does the order of the inputs of a sum or of a concatenation, but where these are two nodes of one form that
        later parts tell apart: then it may take two orders for two networks, never two networks for one.
        """
        nodes = self.decode(architecture)
        forms: dict[int, str] = {IMAGE: ""}
        for node, (function, sources) in nodes.items():
            forms[node] = f"{function}({','.join(sorted(forms[source] for source in sources))})"
            if len(forms[node]) > 200:  # as texts they may double from node to node
                forms[node] = _short(forms[node])
        numbers: dict[int, int] = {IMAGE: IMAGE}
        found: list[tuple[str, tuple[int, ...]]] = []

        def visit(node: int) -> int:
            if node not in numbers:
                function, sources = nodes[node]
                read = tuple([visit(source) for source in sorted(sources, key=forms.__getitem__)])
                numbers[node] = len(found)
                found.append((function, tuple(sorted(read))))
            return numbers[node]

        visit(max(nodes, default=IMAGE))
        return tuple(found)

    # -- drawing -----------------------------------------------------------------------------------

    def sample(self, rng: np.random.Generator, over: Over = "decisions") -> Architecture:
        """Uniform over the genomes with ``least`` to ``most`` active nodes; over all ``architectures`` if asked.

        Raises:
            UsageError: If there is none among ``DRAWS``.
        """
        for _ in range(DRAWS):
            architecture = super().sample(rng, over)
            if over == "architectures" or self._fits(architecture):
                return architecture
        raise UsageError(
            f"CGP: none of {DRAWS:,} genomes has {self.least} to {self.most} active nodes; set a smaller least, a "
            f"larger most, or another grid (rows={self.rows}, columns={self.columns}, level_back={self.level_back})"
        )

    def sample_batch(self, rng: np.random.Generator, n: int) -> npt.NDArray[np.int64]:
        """See ``sample``; shape (n, decisions)."""
        return np.array([self.sample(rng) for _ in range(n)], np.int64).reshape(n, self.max_length)

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Changes each decision with the probability ``mutation_rate``, until one or more are changed."""
        child = architecture
        for _ in range(DRAWS):
            child = self._changed(architecture, self._free, rng)
            if child != architecture and self._fits(child):
                break
        return child if child != architecture else super().mutate(architecture, rng)

    def drift(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Changes each silent decision with the probability ``mutation_rate``, perhaps none."""
        return self._changed(architecture, self.silent(architecture), rng)

    def crossover(self, first: Architecture, second: Architecture, rng: np.random.Generator) -> Architecture:
        """Uniform crossover; the first parent itself, if no child of a hundred has as many active nodes as it may."""
        for _ in range(100):
            child = super().crossover(first, second, rng)
            if self._fits(child):
                return child
        return first

    def _changed(self, architecture: Architecture, places: Sequence[int], rng: np.random.Generator) -> Architecture:
        changed = list(architecture)
        for i in (rng.random(len(places)) < self.mutation_rate).nonzero()[0].tolist():
            place = places[i]
            if (options := self._arity_array[place]) > 1:
                option = int(rng.random() * (options - 1))
                changed[place] = option + (option >= changed[place])
        return tuple(changed)

    def _fits(self, architecture: Architecture) -> bool:
        return self.least <= len(self.active(architecture)) <= self.most

    # -- texts and graphs --------------------------------------------------------------------------

    def format(self, architecture: Architecture) -> str:
        """The genome: see the class."""
        genes, output = self.genes(architecture)
        texts = [f"{gene.function}({gene.sources[0]},{gene.sources[1]})" for gene in genes]
        columns = [" ".join(texts[first : first + self.rows]) for first in range(0, self.nodes, self.rows)]
        return f"{' | '.join(columns)} > {output}"

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is no genome of this space.
        """
        body, _, output = text.partition(">")
        columns = [column.split() for column in body.split("|")]
        if [len(column) for column in columns] != [self.rows] * self.columns:
            self._refuse(text, f"it has no {self.columns} columns, with bars between them, of {self.rows} nodes each")
        options: list[int] = []
        for column, words in enumerate(columns):
            for word in words:
                match = _NODE.fullmatch(word)
                sources = [int(match[2]), int(match[3])] if match else []
                there = self._sources[column]
                if match is None or match[1] not in self.functions or not set(sources) <= set(there):
                    self._refuse(
                        text, f"{word!r} is no function with two sources from {there[0]} to {there[-1]} in parentheses"
                    )
                options += [self.functions.index(match[1]), *(there.index(source) for source in sources)]
        there = self._sources[-1]
        if output.strip() not in map(str, there):
            self._refuse(text, f"the output {output.strip()!r} is no number from {there[0]} to {there[-1]}")
        return (*options, there.index(int(output)))

    def _refuse(self, text: str, why: str) -> NoReturn:
        raise InvalidArchitecture(
            f"{text!r:.400} is no genome of CGP: {why}; expected a text such as "
            f"{self.format((0,) * self.max_length)!r:.200}, with the functions {', '.join(self.functions)}"
        )

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """The active nodes, from the image to the output."""
        import networkx

        graph = networkx.MultiDiGraph()
        graph.add_node("image", label="image")
        nodes = self.decode(architecture)
        for node, (function, sources) in nodes.items():
            graph.add_node(node, label=f"{node}: {function}")
            for source in sources:
                graph.add_edge("image" if source == IMAGE else source, node)
        graph.add_node("output", label="output")
        graph.add_edge(max(nodes, default="image"), "output")
        return graph

    def operation_graphs(self, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> OperationGraphs:
        """The graphs of active nodes, each at its place in the grid; at most as many in a row as there are columns."""
        from archsearch.basics.operation_graphs import OperationGraphs

        places = self.nodes + 2
        labels = np.full((len(architectures), places), -1)
        adjacency = np.zeros((len(architectures), places, places), bool)
        for row, options in enumerate(np.asarray(architectures, np.int64).tolist()):
            nodes = self.decode(tuple(options))
            for node, (function, sources) in nodes.items():
                labels[row, node + 1] = self.functions.index(function)
                for source in sources:
                    adjacency[row, source + 1, node + 1] = True
            adjacency[row, max(nodes, default=IMAGE) + 1, -1] = True
        return OperationGraphs(len(self.functions), labels, adjacency, self.columns)

    # -- networks ----------------------------------------------------------------------------------

    def network(self, architecture: Architecture, task: InputShape) -> Network:
        """The network of the active nodes, and a linear classifier of all that the output node gives."""
        from archsearch.spaces.networks.cgp import CGPNetwork

        return CGPNetwork(self, self.validate(architecture), task)


def _short(form: str) -> str:
    import hashlib

    return hashlib.blake2b(form.encode(), digest_size=16).hexdigest()
