"""CoDeepNEAT: blueprints that are graphs of modules, and modules that are graphs of layers.

Reference: Miikkulainen et al., "Evolving deep neural networks", 2017 (arXiv 1703.00548). Each node of a blueprint
stands for a species of modules; a network is a blueprint in which each node is a module of its species. The controller
``CoEvolution`` is the paper's. Sizes and options are our own: small enough for 8x8 images.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, NoReturn

from archsearch.basics.checks import at_least_one
from archsearch.errors import InvalidArchitecture
from archsearch.graphs.graph import CONCAT, Graph, Node
from archsearch.graphs.keys import Key
from archsearch.spaces.choices import Choices
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.networks.network import InputShape, Network

_NODE = re.compile(r"(?P<what>[0-9]+)\((?P<source>[0-9]+)(?:,(?P<also>[0-9]+))?\)", re.ASCII)
_LAYER = re.compile(
    r"(?P<what>[0-9]+)k(?P<kernel>[0-9]+)(?P<pool>p?)\((?P<source>[0-9]+)(?:,(?P<also>[0-9]+))?\)", re.ASCII
)

NOTHING = -1
"""The second input of what has only one."""


class CoDeepNEAT(Choices):
    """Blueprints of modules, and the modules: a module is in the network as often as the blueprint names its species.

    Decisions are those of the blueprint, ``blueprint.size``, and of its nodes ``blueprint.1.species``,
    ``blueprint.1.from`` and ``blueprint.1.also``; then those of the module of each species, ``module.1.size``, and of
    its layers ``module.1.1.filters``, ``kernel``, ``pool`` (2x2 max-pooling after the convolution), ``from``, ``also``.
    Nodes and layers read what comes into blueprint or module, 0, or earlier ones; what no other reads is the output. In
    a network several inputs are concatenated, in depth, at the height and width of the first. Modules of species that
    the blueprint does not name change nothing (``canonical``). There is no super-network.

    Texts are blueprint and modules, each node with what it reads, such as ``1(0) 2(0,1) ; 8k3(0) ; 16k1p(0) 8k3(1)``:
    the module of species 1 is a convolution of 8 filters and kernel 3; ``p``: pooling.

    Args:
        species: Species of modules, >= 1.
        nodes: The most nodes of a blueprint, >= 1.
        layers: The most layers of a module, >= 1.
        filters: Channels that a layer can have. None: 8, 16, 32.
        kernels: Kernels that a layer can have. None: 1, 3.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self,
        species: int = 3,
        nodes: int = 4,
        layers: int = 3,
        filters: list[int] | None = None,
        kernels: list[int] | None = None,
    ) -> None:
        self.species = at_least_one("CoDeepNEAT", "species", species)
        self.nodes = at_least_one("CoDeepNEAT", "nodes", nodes)
        self.layers = at_least_one("CoDeepNEAT", "layers", layers)
        self.filters = [at_least_one("CoDeepNEAT", "filters", n) for n in ([8, 16, 32] if filters is None else filters)]
        self.kernels = [at_least_one("CoDeepNEAT", "kernels", n) for n in ([1, 3] if kernels is None else kernels)]
        layer: dict[str, list[Any]] = {"filters": self.filters, "kernel": self.kernels, "pool": [False, True]}
        decisions = _graph("blueprint", self.nodes, {"species": list(range(1, self.species + 1))})
        for k in range(1, self.species + 1):
            decisions |= _graph(f"module.{k}", self.layers, layer)
        self._graphs = ["blueprint", *(f"module.{k}" for k in range(1, self.species + 1))]
        super().__init__(decisions)

    # -- blueprints and modules --------------------------------------------------------------------

    @property
    def modules(self) -> int:
        """How many modules an architecture has; see ``archsearch.abilities.Modular``."""
        return self.species

    def module_of(self, label: str) -> tuple[int | None, str]:
        """The module that a decision belongs to, counted from 0, or None for the blueprint; and its name there."""
        kind, _, rest = label.partition(".")
        if kind == "blueprint":
            return None, rest
        number, _, rest = rest.partition(".")
        return int(number) - 1, rest

    def used_modules(self, architecture: Architecture) -> frozenset[int]:
        """The modules, counted from 0, that the blueprint names."""
        values = self.decode(architecture)
        size = values["blueprint.size"]
        return frozenset(values[f"blueprint.{node}.species"] - 1 for node in range(1, size + 1))

    def assembled(self, architecture: Architecture) -> Graph:
        """The graph of layers: each node of the blueprint is the module of its species."""
        values = self.decode(architecture)
        nodes: list[Node] = []
        outputs: list[tuple[int, ...]] = [
            (0,)
        ]  # of each node of the blueprint the layers, by their numbers, that are its output
        for node in range(1, values["blueprint.size"] + 1):
            begin = _read(values, f"blueprint.{node}", outputs)
            module = f"module.{values[f'blueprint.{node}.species']}"
            inner: list[tuple[int, ...]] = [begin]
            for layer in range(1, values[f"{module}.size"] + 1):
                own = f"{module}.{layer}"
                attributes = (("channels", values[f"{own}.filters"]), ("kernel", values[f"{own}.kernel"]))
                sources = _read(values, own, inner)
                nodes.append(Node("conv", attributes, sources, CONCAT if len(sources) > 1 else "add"))
                if values[f"{own}.pool"]:
                    nodes.append(Node("max_pool", (("size", 2),), (len(nodes),)))
                inner.append((len(nodes),))
            outputs.append(_loose(values, module, inner))
        return Graph(tuple(nodes))

    def format(self, architecture: Architecture) -> str:
        """The nodes of the blueprint and of the modules; see the class."""
        values = self.decode(architecture)
        parts = []
        for name in self._graphs:
            words = []
            for node in range(1, values[f"{name}.size"] + 1):
                own = f"{name}.{node}"
                also = "" if values[f"{own}.also"] == NOTHING else f",{values[f'{own}.also']}"
                if name == "blueprint":
                    what = str(values[f"{own}.species"])
                else:
                    what = f"{values[f'{own}.filters']}k{values[f'{own}.kernel']}{'p' * values[f'{own}.pool']}"
                words.append(f"{what}({values[f'{own}.from']}{also})")
            parts.append(" ".join(words))
        return " ; ".join(parts)

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is no architecture of this space.
        """
        parts, values = [part.split() for part in text.split(";")], {}
        if len(parts) != len(self._graphs):
            self._refuse(text, f"{len(parts)} parts between semicolons instead of {len(self._graphs)}")
        for name, words in zip(self._graphs, parts, strict=True):
            values[f"{name}.size"] = len(words)
            for node, word in enumerate(words, 1):
                match = (_NODE if name == "blueprint" else _LAYER).fullmatch(word)
                if match is None:
                    self._refuse(text, f"{word!r} is no node of a {name.partition('.')[0]}")
                what, source, also = match["what"], int(match["source"]), match["also"]
                own = {"from": source, "also": NOTHING if also is None else int(also)}
                if name == "blueprint":
                    own["species"] = int(what)
                else:
                    own |= {"filters": int(what), "kernel": int(match["kernel"]), "pool": match["pool"] == "p"}
                values |= {f"{name}.{node}.{key}": value for key, value in own.items()}
        return self.encode(values)

    def _refuse(self, text: str, why: str) -> NoReturn:
        example = self.format(next(self.enumerate()))
        raise InvalidArchitecture(
            f"{text!r:.200} is no architecture of CoDeepNEAT: {why}; expected a text such as {example!r}"
        )

    # -- what it stands for ------------------------------------------------------------------------

    def canonical(self, architecture: Architecture) -> Hashable:
        """The assembled graph, however its nodes are numbered."""
        return Key(self.assembled(architecture))

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """The assembled graph."""
        from archsearch.graphs.texts import drawing

        return drawing(self.assembled(architecture))

    def network(self, architecture: Architecture, task: InputShape) -> Network:
        """The network of the assembled graph; each use of a module has weights of its own."""
        from archsearch.graphs.network import GraphNetwork

        return GraphNetwork(architecture, self.assembled(self.validate(architecture)), task)


def _graph(name: str, most: int, each: dict[str, list[Any]]) -> dict[str, Any]:
    """The decisions of a graph: how many nodes, and of each what it is and one or two things that it reads."""
    sizes = list(range(1, most + 1))
    decisions: dict[str, Any] = {f"{name}.size": sizes}
    for node in sizes:
        when = {f"{name}.size": sizes[node - 1 :]}
        own = {**each, "from": list(range(node)), "also": [NOTHING, *range(node)]}
        decisions |= {f"{name}.{node}.{key}": {"options": options, "when": when} for key, options in own.items()}
    return decisions


def _read(values: dict[str, Any], name: str, outputs: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The layers that a node reads, each once; the outputs of what it reads by its own numbers."""
    also = values[f"{name}.also"]
    read = [*outputs[values[f"{name}.from"]], *(outputs[also] if also != NOTHING else ())]
    return tuple(dict.fromkeys(read))


def _loose(values: dict[str, Any], name: str, inner: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The layers of a module that no other of its layers reads."""
    numbers = range(1, len(inner))
    read = {values[f"{name}.{layer}.{key}"] for layer in numbers for key in ("from", "also")}
    return tuple(number for layer in numbers if layer not in read for number in inner[layer])
