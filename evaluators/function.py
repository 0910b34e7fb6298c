"""Any Python callable as an evaluator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from archsearch.basics.texts import shown
from archsearch.components import import_object
from archsearch.errors import UsageError
from archsearch.evaluator import Evaluator
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation


class Function(Evaluator):
    """A Python function as evaluator: from an architecture to a score, higher is better.

    The function receives what the space's ``decode`` makes of an architecture; unless the space says more, that is the
    tuple of its options:

    - AdaNet: The depths of the members.
    - AmoebaNet: For each kind of cell the two edges of each node, with operation names.
    - BlockQNN: The layers.
    - CGP: The active nodes: number to function and sources, -1 or numbers; the last one is the output.
    - Choices: The decisions by name, such as ``{"kernel": 3, "op.1": "conv"}``; other names (``same``) come last.
    - CoDeepNEAT: The decisions by name, such as ``{"kernel": 3, "op.1": "conv"}``; other names (``same``) come last.
    - ConvChain: The layers of each stage.
    - DARTS: The two cells as lists of edges with operation names.
    - DARTSCell: The nodes with names of activations.
    - EAS: The graph.
    - ENASCell: The nodes with names of activations.
    - ENASMacro: Of each layer the operation, and the layers, counted from 0, whose bits are set.
    - ENASMicro: For each kind of cell the two edges of each node, with operation names.
    - EfficientNet: The text of the architecture.
    - EvoNet: The graph.
    - FBNet: The text of the architecture.
    - FairNAS: The text of the architecture.
    - GOLDNAS: The text of the architecture.
    - LEMONADE: The graph.
    - Marked: The decisions by name, such as ``{"kernel": 3, "op.1": "conv"}``; other names (``same``) come last.
    - MetaQNN: The layers; the last one is the end, SM or GAP.
    - MixConv: The text of the architecture.
    - MnasNet: The text of the architecture.
    - MobileNet: The text of the architecture.
    - NASBOT: The graph.
    - NASBench101: Adjacency matrix (1 at row i, column j: an edge from i to j) and operations, from input to output.
    - NASBench201: The official string.
    - NASBenchMacro: The text of the architecture.
    - NASBenchNLP: The recipe.
    - NASH: The graph.
    - NASNet: For each kind of cell the two edges of each node, with operation names.
    - NASRLCell: The tree with names.
    - NB1Shot1: Adjacency matrix (1 at row i, column j: an edge from i to j) and operations, from input to output.
    - OnceForAll: ``resolution`` (None: as images come) and ``units``: of each the layers, (kernel, expansion).
    - PNAS: For each kind of cell the two edges of each node, with operation names.
    - PathLevel: The graph.
    - ProxylessNAS: The text of the architecture.
    - RDARTS: For each kind of cell the two edges of each node, with operation names.
    - RandWire: The decisions by name, such as ``{"kernel": 3, "op.1": "conv"}``; other names (``same``) come last.
    - SPOS: The text of the architecture.
    - SinglePath: The text of the architecture.

    If it has a parameter ``seed``, it is given the evaluation's seed there. It returns a number, or a mapping with
    ``score``, further metrics and, optionally, ``cost`` (seconds to bill), or an ``Evaluation``.

    Args:
        function: The callable, or its import path, such as ``my_lab.accuracy``.

    Raises:
        UsageError: If it is neither.
    """

    def __init__(self, function: Callable[..., Any] | str) -> None:
        called = import_object(function) if isinstance(function, str) else function
        if not callable(called):
            raise UsageError(f"Function: expected a callable or its import path, got {function!r}")
        self.function = function
        self._call = called
        self._wants_seed = _takes_seed(called)

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Calls the function.

        Raises:
            TypeError: If it returns none of the accepted kinds.
        """
        argument = self.space.decode(self.space.validate(architecture))
        answer = self._call(argument, seed=seed) if self._wants_seed else self._call(argument)
        if isinstance(answer, Evaluation):
            return answer
        if isinstance(answer, Mapping):
            return _from_mapping(answer)
        return Evaluation(_number(answer, "the return value"))


def _takes_seed(function: Callable[..., Any]) -> bool:
    try:
        return "seed" in inspect.signature(function).parameters
    except ValueError:  # some built-in functions have no signature
        return False


def _from_mapping(answer: Mapping[str, Any]) -> Evaluation:
    if "score" not in answer:
        raise TypeError(f"expected an entry 'score' in what the function returns, got {', '.join(map(str, answer))}")
    cost = Cost(device_seconds=_number(answer["cost"], "cost")) if "cost" in answer else NO_COST
    metrics = {name: _number(value, name) for name, value in answer.items() if name not in ("score", "cost")}
    return Evaluation(_number(answer["score"], "score"), metrics, cost)


def _number(value: Any, what: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(
            f"{what}: expected a number, a mapping with a number as 'score', or an Evaluation, "
            f"got {type(value).__name__} {shown(value)}"
        ) from None
