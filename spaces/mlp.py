"""Multi-layer perceptrons for tables, whose depth and widths are decided.

The baseline that searches for tables begin with; see Kadra, Lindauer, Hutter & Grabocka, "Well-tuned simple nets excel
on tabular datasets", NeurIPS 2021, for how far it goes. One definition serves stand-alone training and weight sharing:
narrower layers are the leading units of the widest, as in Yu & Huang, "Universally slimmable networks", ICCV 2019.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, ClassVar

from archsearch.basics.checks import at_least_one
from archsearch.basics.kinds import TABLES
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.networks.network import InputShape, Network


class MLP(Space):
    """Perceptrons for tables: how many hidden layers there are, and how many units each of them has.

    Decisions: the depth, then a width for each layer that there is. Options of each rise, so that the last ones
    together are the largest network, of which all others are parts. Texts are the widths, such as ``64-16``; ``linear``
    is the network without hidden layers, if depth 0 is one of the ``depths``.

    Args:
        depths: Hidden layers that a network can have, rising, >= 0.
        widths: Units that a hidden layer can have, rising, >= 1.

    Raises:
        UsageError: If a setting is out of range.
    """

    kinds: ClassVar[tuple[str, ...]] = (TABLES,)

    def __init__(self, depths: Sequence[int] = (1, 2, 3), widths: Sequence[int] = (8, 16, 32, 64, 128)) -> None:
        self.depths = _rising("depths", depths, 0)
        self.widths = _rising("widths", widths, 1)
        super().__init__(max_length=1 + self.depths[-1], max_options=max(len(self.depths), len(self.widths)))

    # -- the tree ------------------------------------------------------------------------------

    def arity(self, prefix: Architecture) -> int:
        """Options of the next decision."""
        if not prefix:
            return len(self.depths)
        return len(self.widths) if len(prefix) <= self.depths[prefix[0]] else 0

    def dimension(self, prefix: Architecture) -> str:
        """See ``archsearch.abilities.Elastic``: depth or width."""
        return "width" if prefix else "depth"

    def label(self, prefix: Architecture) -> str:
        """The decision: ``depth``, or such as ``layer 0 width``."""
        return f"layer {len(prefix) - 1} width" if prefix else "depth"

    def subtree(self, prefix: Architecture) -> Hashable:
        """How many layers are still to be decided, and where."""
        return (len(prefix), self.depths[prefix[0]]) if prefix else ()

    # -- forms ---------------------------------------------------------------------------------

    def hidden(self, architecture: Architecture) -> tuple[int, ...]:
        """The widths of the hidden layers of an architecture."""
        return tuple(self.widths[option] for option in architecture[1:])

    def decode(self, architecture: Architecture) -> list[int]:
        """The widths of the hidden layers."""
        return list(self.hidden(architecture))

    def format(self, architecture: Architecture) -> str:
        """See the class."""
        return "-".join(map(str, self.hidden(architecture))) or "linear"

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is no architecture of this space.
        """
        text = text.strip()
        names = [] if text == "linear" else text.split("-")
        known = [str(width) for width in self.widths]
        if len(names) not in self.depths or not set(names) <= set(known):
            raise InvalidArchitecture(
                f"{text!r} is no architecture of MLP: expected {' or '.join(map(str, self.depths))} widths joined by "
                f"dashes, each one of {', '.join(known)}"
            )
        return (self.depths.index(len(names)), *(known.index(name) for name in names))

    # -- networks ------------------------------------------------------------------------------

    def network(self, architecture: Architecture, task: InputShape) -> Network:
        """The stand-alone network of an architecture, with layers of its own sizes."""
        return self._network(self.validate(architecture), task)

    def super_network(self, task: InputShape) -> Network:
        """The deepest network with the widest layers, which computes all others as parts of it."""
        return self._network(None, task)

    def _network(self, architecture: Architecture | None, task: InputShape) -> Network:
        from archsearch.spaces.networks.mlp import MLPNetwork

        return MLPNetwork(architecture, task, self)


def _rising(name: str, values: Sequence[int], least: int) -> list[int]:
    if not isinstance(values, (list, tuple)) or not values:
        raise UsageError(f"MLP: {name}: expected a list of numbers, got {values!r}")
    # A depth of 0 is a network without hidden layers.
    checked = [at_least_one("MLP", name, value) if value != 0 or least else 0 for value in values]
    if checked != sorted(set(checked)):
        raise UsageError(f"MLP: {name}: expected rising numbers, got {list(values)}")
    return checked
