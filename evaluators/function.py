"""Any Python callable as an evaluator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from archsearch.basics.checks import at_least_one, number
from archsearch.components import import_object
from archsearch.errors import UsageError
from archsearch.evaluator import Evaluator
from archsearch.evaluators.answers import as_evaluation
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation, Query


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
    - EncoderDecoder: The text of the architecture.
    - EfficientNet: The text of the architecture.
    - EvoNet: The graph.
    - FBNet: The text of the architecture.
    - FairNAS: The text of the architecture.
    - GOLDNAS: The text of the architecture.
    - GPT: ``width``, ``bias``, and ``layers``: of each the ``ratio`` and the ``heads``.
    - LEMONADE: The graph.
    - MLP: The widths of the hidden layers.
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

    A function that trains yields such a score again and again (a generator function), or has a parameter ``progress``
    without a default and calls ``progress.report(step, score)``. Controllers with budgets (counted in reports) can then
    stop it and continue it. The curve is the score of each report, metrics are those of the last one, and costs, each
    since the report before, are added up. The global generators of Python, NumPy and PyTorch start from the seed, and
    are put back afterwards. What ``progress.keep`` is given, or what the function writes itself, is its checkpoint: see
    ``archsearch.evaluators.progress``. Without a checkpoint the function starts again when it should continue, and is
    billed again.

    Args:
        function: The callable, or its import path, such as ``my_lab.accuracy``.
        higher_is_better: Whether higher scores of the function are better; if not, as for a loss, the score is minus
            the function's.
        save_every: Seconds between checkpoints within a trial, >= 0; 0: after each report. In any case there is one at
            the end of a budget.
        keep: How many trainings keep their checkpoints, >= 1: those that were written or read last. Give at least the
            number of workers.

    Raises:
        UsageError: If the function is none, or a setting is out of range.
    """

    def __init__(
        self,
        function: Callable[..., Any] | str,
        higher_is_better: bool = True,
        save_every: float = 30.0,
        keep: int = 1_000,
    ) -> None:
        called = import_object(function) if isinstance(function, str) else function
        if not callable(called):
            raise UsageError(f"Function: expected a callable or its import path, got {function!r}")
        self.function = function
        self.higher_is_better = higher_is_better
        self.save_every = number("Function", "save_every", save_every, low=0)
        self.keep = at_least_one("Function", "keep", keep)
        self._call = called
        wanted = _parameters(called)
        self._wants_seed = "seed" in wanted
        self._wants_progress = "progress" in wanted and wanted["progress"].default is inspect.Parameter.empty
        self._trains = self._wants_progress or _yields(called)
        self.keeps_files = self._wants_progress

    def check_budgets(self, budgets: Sequence[int]) -> None:
        """Raises ``UsageError`` if there are budgets, and the function returns its score once."""
        if budgets and not self._trains:
            lengths = ", ".join(map(str, budgets))
            raise UsageError(
                f"Function: the function scores architectures in one go, it cannot stop at {lengths}; have it yield a "
                "score after each epoch, or use a controller without budgets"
            )

    def prepare(self) -> Cost:
        """Clears away what a killed process has left half-written."""
        for left in () if self.folder is None else self.folder.glob("*.tmp"):
            left.unlink(missing_ok=True)
        return NO_COST

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Calls the function; one that trains is followed to its end.

        Raises:
            TypeError: If it gives none of the accepted kinds.
        """
        return self._answer(
            Query(-1, architecture, seed)
        )  # not ``evaluate_query``: whoever overrides that may ask this

    def evaluate_query(self, query: Query) -> Evaluation:
        """Calls the function; one that trains as far as the budget goes, from its checkpoint if there is one.

        Raises:
            TypeError: If it gives none of the accepted kinds.
        """
        # As every evaluator's default, so that ``evaluate`` may be overridden.
        return self._answer(query) if self._trains else self.evaluate(query.architecture, query.seed)

    def _answer(self, query: Query) -> Evaluation:
        argument = self.space.decode(self.space.validate(query.architecture))
        named = {"seed": query.seed} if self._wants_seed else {}
        if self._trains:
            return self._train(query, argument, named)
        answer = self._call(argument, **named)
        if isinstance(answer, Iterator):  # it yields, although it does not look so
            return self._train(query, argument, named)
        return as_evaluation(answer, "the return value", self.higher_is_better)

    def _train(self, query: Query, argument: Any, named: dict[str, Any]) -> Evaluation:
        from archsearch.evaluators.progress import Progress, forget_all_but  # with PyTorch

        progress = Progress(query, self.folder, self.higher_is_better, self.save_every)
        if self._wants_progress:
            named = {**named, "progress": progress}
        evaluation = progress.follow(lambda: self._call(argument, **named))
        if self.folder is not None:
            forget_all_but(self.folder, self.keep)
        return evaluation


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except ValueError:  # some built-in functions have no signature
        return {}


def _yields(function: Callable[..., Any]) -> bool:
    """Whether calling it makes a generator; of an object, its ``__call__``."""
    inner = inspect.unwrap(function)
    return inspect.isgeneratorfunction(inner) or inspect.isgeneratorfunction(type(inner).__call__)
