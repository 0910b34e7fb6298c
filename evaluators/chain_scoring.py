"""Scores many architectures of a chain space with one super-network, and computes what they have in common once.

In a chain, ``head(layer(n - 1, ... layer(0, stem(images), option)))``, architectures that agree in their first
decisions compute the same up to there. The tree of their common beginnings is walked depth first; held are only the
activations on the way to the current node that other branches still need. Statistics of batch normalisation, too,
depend on nothing but the layers before, so that recomputing them is shared in the same way.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, get_args, runtime_checkable

import torch
from torch import nn
from torch.nn import functional

from archsearch.errors import UsageError
from archsearch.evaluators.chain_statistics import Normalisation, Statistics
from archsearch.evaluators.chain_tree import HEAD, IMAGES, STEM, Node, Piece, Size, by_last, level_peak, plan
from archsearch.networks.multiply_adds import MultiplyAddCounter
from archsearch.training.batches import evaluation_batches
from archsearch.trial import Architecture

GROUP = 2**23
"""Bytes inside a layer up to which beginnings go through it together: about what a processor's cache
holds."""


@runtime_checkable
class Chain(Protocol):
    """A super-network whose forward pass is ``head(layer(n - 1, ... layer(0, stem(images), option)))``.

    It is an ``nn.Module``. A layer's outputs have one shape whatever its option, and it shares its batch normalisations
    with no other layer.
    """

    def stem(self, images: torch.Tensor) -> torch.Tensor:
        """Images to the input of layer 0."""
        ...

    def layer(self, i: int, x: torch.Tensor, option: int) -> torch.Tensor:
        """Layer ``i``, counted from 0, with that option: its input, which stays as it is, to that of the next layer."""
        ...

    def head(self, x: torch.Tensor) -> torch.Tensor:
        """The output of the last layer to logits, shape (batch, classes)."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """See ``nn.Module``."""
        ...


class ChainScores(NamedTuple):
    """What ``score_chains`` found.

    Attributes:
        scores: Of each architecture, how many images were classified right, and the sum of their cross-entropies.
        computed: For each piece, how many images it was computed for, those of the statistics included.
        multiply_adds: Of all that was computed, as ``archsearch.networks.multiply_adds.multiply_adds`` counts them.
    """

    scores: list[tuple[int, float]]
    computed: Counter[Piece]
    multiply_adds: int


def score_chains(
    network: Chain,
    architectures: Sequence[Architecture],
    images: torch.Tensor,
    labels: torch.Tensor,
    statistics: Statistics,
    statistics_images: Sequence[torch.Tensor] = (),
    batch_size: int = 512,
    memory_limit: int | None = None,
) -> ChainScores:
    """Scores architectures as separate forward passes would, up to rounding.

    Statistics of batch normalisation are ``inherited`` (the network's running ones), those of each ``batch`` that is
    scored, or ``recomputed``: the cumulative average over the batches ``statistics_images``, for each architecture on
    its own. Apart from batch normalisation everything is in evaluation mode: nothing is dropped at random. The network
    is left as it was.

    Where memory is short, images are scored in smaller chunks; but not with the statistics of the batch, which depend
    on it. If that does not suffice, activations are held only at every 2nd, 4th, ... layer, so that the layers after
    these are computed again for each branch, and at last each architecture is computed on its own.

    Args:
        network: The super-network.
        architectures: May hold duplicates; they cost nothing.
        images: Shape (images, channels, height, width), on the device of the network.
        labels: Shape (images,).
        statistics: Where batch normalisation has its statistics from.
        statistics_images: Batches to recompute them from, each of shape (images, channels, height, width).
        batch_size: Images scored at a time, at most, >= 1; with the statistics of the batch one more, where a single
            image would be left over.
        memory_limit: Most bytes of activations at a time, those inside a layer included. Parameters, ``images``, and
            recomputed statistics (two numbers per channel and layer of the tree) come on top. None: no limit.

    Returns:
        The scores, in the order of the architectures, and what was computed.

    Raises:
        UsageError: If the memory does not suffice for one architecture, or there are no batches to recompute from.
    """
    if statistics not in get_args(Statistics):
        raise UsageError(f"score_chains: statistics: expected {', '.join(get_args(Statistics))}, got {statistics!r}")
    if statistics == "recomputed" and not statistics_images:
        raise UsageError("score_chains: statistics are to be recomputed, but statistics_images holds no batch")
    if not architectures:
        return ChainScores([], Counter(), 0)
    assert isinstance(network, nn.Module)
    with torch.inference_mode(), Normalisation(network, statistics) as normalisation:
        walker = _Walker(network, normalisation, statistics)
        walker.measure(architectures, images)
        if statistics == "recomputed":
            _gather(walker, architectures, statistics_images, memory_limit)
        scores = _scores(walker, architectures, images, labels, batch_size, memory_limit)
        total = sum(n * walker.sizes[piece].multiply_adds for piece, n in walker.computed.items())
        return ChainScores(scores, walker.computed, total)


def _scores(
    walker: _Walker,
    architectures: Sequence[Architecture],
    images: torch.Tensor,
    labels: torch.Tensor,
    batch_size: int,
    limit: int | None,
) -> list[tuple[int, float]]:
    """The scores of all architectures, as many images at a time as memory allows."""
    most = min(batch_size, max(1, len(labels)))
    whole = evaluation_batches(len(labels), batch_size)
    of_batch = walker.statistics == "batch"
    if of_batch:
        most = max(whole, default=most)
    tree, together = plan(architectures, walker.sizes, limit, most if of_batch else 1, most)
    scores = [(0, 0.0)] * len(architectures)
    sizes = whole if of_batch else together
    for chunk, targets in zip(torch.split(images, sizes), torch.split(labels, sizes), strict=True):
        walker.normalisation.batches = [len(chunk)] if of_batch else None
        for places, right, loss in _score(walker.walk(tree, chunk), targets):
            for k in places:
                scores[k] = (scores[k][0] + right, scores[k][1] + loss)
    return scores


def _gather(
    walker: _Walker, architectures: Sequence[Architecture], batches: Sequence[torch.Tensor], limit: int | None
) -> None:
    """Recomputes the statistics of all architectures: layer by layer, or, where memory is short, depth first."""
    sizes = [len(batch) for batch in batches]
    if limit is None or level_peak(architectures, walker.sizes) * sum(sizes) + 2 * GROUP <= limit:
        walker.normalisation.batches = sizes
        walker.levels(architectures, torch.cat(list(batches)))
        return
    tree, together = plan(architectures, walker.sizes, limit, max(sizes), sum(sizes))
    for group in _groups(batches, together):
        walker.normalisation.batches = [len(batch) for batch in group]
        for _ in walker.walk(tree, torch.cat(group)):
            pass


def _groups(batches: Sequence[torch.Tensor], together: int) -> Iterator[list[torch.Tensor]]:
    """The batches in their order, as many at a time as have no more than so many images."""
    group: list[torch.Tensor] = []
    for batch in batches:
        if group and sum(map(len, group)) + len(batch) > together:
            yield group
            group = []
        group.append(batch)
    yield group


def _score(
    results: Iterable[tuple[Sequence[int], torch.Tensor]], labels: torch.Tensor
) -> Iterator[tuple[Sequence[int], int, float]]:
    """Places of equal architectures, how many images are right, and the sum of the losses."""
    places, found = [], []
    for ends, logits in results:
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        places.append(ends)
        found.append(torch.stack([(logits.argmax(1) == labels).sum().float(), loss.float()]))
        del logits
    # Read at last, since reading makes an accelerator wait.
    for ends, (right, loss_sum) in zip(places, torch.stack(found).tolist(), strict=True):
        yield ends, round(right), loss_sum


class _Recorder(MultiplyAddCounter):  # type: ignore[no-untyped-call]
    """Notes the bytes of the results that are live, and multiply-adds, while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        results = super().__torch_dispatch__(func, types, args, kwargs)
        given = {x.untyped_storage().data_ptr() for x in args if isinstance(x, torch.Tensor)}
        for result in results if isinstance(results, (tuple, list)) else (results,):
            if isinstance(result, torch.Tensor) and result.untyped_storage().data_ptr() not in given:
                self.live += result.nbytes
                weakref.finalize(result, self._free, result.nbytes)
        self.peak = max(self.peak, self.live)
        return results

    def _free(self, size: int) -> None:
        self.live -= size


# -- the walk ----------------------------------------------------------------------------------


_SIZES: weakref.WeakKeyDictionary[Chain, dict[Any, dict[Piece, Size]]] = weakref.WeakKeyDictionary()
"""What was measured, of each network and kind of images."""


class _Walker:
    """Computes trees.

    Args:
        network: The super-network.
        normalisation: Of the network, entered.
        statistics: As ``score_chains`` takes them.

    Attributes:
        normalisation: As it was given.
        statistics: As they were given.
        computed: Images by piece.
        sizes: What pieces take.
    """

    def __init__(self, network: Chain, normalisation: Normalisation, statistics: Statistics) -> None:
        self.normalisation = normalisation
        self.statistics = statistics
        self.computed: Counter[Piece] = Counter()
        self.sizes: dict[Piece, Size] = {}
        self._network = network

    def walk(self, tree: Sequence[Node], images: torch.Tensor) -> Iterator[tuple[list[int], torch.Tensor]]:
        """The places of each architecture, and its logits."""
        # What the stack refers to is all that is held.
        stack = [(node, images) for node in tree]
        while stack:
            node, x = stack.pop()
            for end, piece in enumerate(node.pieces(), node.start + 1):
                (x,) = self._compute(piece, [node.prefix[:end]], [x])
            if node.ends:
                yield node.ends, self._compute(HEAD, [node.prefix], [x])[0]
            stack += [(child, x) for child in node.children]

    def levels(self, architectures: Sequence[Architecture], images: torch.Tensor) -> None:
        """Computes all that architectures have, layer by layer: beginnings with one last option go through it together.

        Small batches take hardly less time than large ones.
        """
        level: dict[Architecture, torch.Tensor] = {(): self._compute(STEM, [()], [images])[0]}
        for i in range(len(architectures[0])):
            following: dict[Architecture, torch.Tensor] = {}
            for option, prefixes in by_last(architectures, i + 1).items():
                for group in self._groups((i, option), prefixes, len(images)):
                    inputs = [level[prefix[:-1]] for prefix in group]
                    outputs = self._compute((i, option), group, inputs)
                    if not self.sizes[i, option].output:  # the inputs themselves, which a level must not hold
                        outputs = [output.clone() for output in outputs]
                    following |= zip(group, outputs, strict=True)
            level = following
        for group in self._groups(HEAD, list(level), len(images)):
            self._compute(HEAD, group, [level[prefix] for prefix in group])

    def _groups(self, piece: Piece, prefixes: Sequence[Architecture], images: int) -> Iterator[Sequence[Architecture]]:
        """The prefixes, as many at a time as a piece can take within a few megabytes."""
        most = max(1, int(GROUP / max(1, self.sizes[piece].peak * images)))
        return (prefixes[k : k + most] for k in range(0, len(prefixes), most))

    def measure(self, architectures: Sequence[Architecture], images: torch.Tensor) -> None:
        """Finds the sizes of all pieces that the architectures have, from a few images that are zeros."""
        kind = (self.statistics, images.shape[1:], images.dtype, images.device)
        self.sizes = _SIZES.setdefault(self._network, {}).setdefault(kind, {})
        if all((i, option) in self.sizes for each in set(architectures) for i, option in enumerate(each)):
            return
        with torch.inference_mode(False):
            x = images.new_zeros(4, *images.shape[1:])
        self.sizes[IMAGES] = Size(x.nbytes / 4, 0.0, 0)
        # Several batches take most, since their parts are put together.
        self.normalisation.batches = {"inherited": None, "batch": [4], "recomputed": [2, 2]}[self.statistics]
        self.normalisation.counting = True
        x = self._measure(STEM, x)
        for i, options in enumerate(zip(*architectures, strict=True)):
            for option in sorted(set(options)):
                output = self._measure((i, option), x)
            x = output
        self._measure(HEAD, x)
        self.normalisation.counting, self.normalisation.batches = False, None
        self.computed.clear()
        self.normalisation.forget()

    def _measure(self, piece: Piece, x: torch.Tensor) -> torch.Tensor:
        self.normalisation.forget()  # the pieces of a layer stand behind one prefix here, whatever their widths
        # In inference mode the recorder would see compound operations, whose insides it does not know.
        with torch.inference_mode(False), torch.no_grad(), _Recorder() as recorder:
            (output,) = self._compute(piece, [()], [x])
        own = output.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
        self.sizes[piece] = Size(0.0 if own else output.nbytes / 4, recorder.peak / 4, recorder.multiply_adds // 4)
        return output

    def _compute(
        self, piece: Piece, prefixes: Sequence[Architecture], inputs: Sequence[torch.Tensor]
    ) -> Sequence[torch.Tensor]:
        """The outputs of a piece after some prefixes, all with equally many images."""
        self.computed[piece] += sum(map(len, inputs))
        self.normalisation.prefixes = prefixes
        x = inputs[0] if len(inputs) == 1 else torch.cat(list(inputs))
        if isinstance(piece, tuple):
            x = self._network.layer(piece[0], x, piece[1])
        else:
            x = self._network.stem(x) if piece == STEM else self._network.head(x)
        return [x] if len(inputs) == 1 else torch.split(x, len(inputs[0]))
