"""The evaluator contract: who scores.

An author writes ``evaluate``: from an architecture and a seed to an ``Evaluation`` (score, higher is
better; named metrics; cost). Everything else has a default. An evaluator says what it needs from a space in
``check``, which the search calls before anything is spent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from archsearch.basics.descriptions import Described
from archsearch.errors import MissingAbility, UsageError
from archsearch.space import Space
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation, Query, Trial

if TYPE_CHECKING:
    import numpy as np

    from archsearch.networks.network import Network
    from archsearch.task import Task


__all__ = ["Built", "Evaluator", "Trained"]

MAX_DRAWS = 100
"""Draws for each different architecture that is wanted."""


class Trained(NamedTuple):
    """The network that an evaluation scores, and what is needed to use it.

    Attributes:
        network: A stand-alone one with its weights; in evaluation mode, on the processor.
        evaluation: What the evaluator says of it.
        task: What it was trained on; its images are normalised as the network expects them.
        skeleton: The settings of the network around the searched part that the space was given, by name.
        note: What there is to know of these weights, in sentences for people; empty if nothing.
    """

    network: Network
    evaluation: Evaluation
    task: Task
    skeleton: Mapping[str, int]
    note: str = ""


class Built(NamedTuple):
    """How an evaluator builds the networks that it scores.

    Attributes:
        input_shape: Of one example.
        classes: Number of classes; of tokens, the size of the vocabulary.
        skeleton: The settings of the network around the searched part, by name.
    """

    input_shape: tuple[int, ...]
    classes: int
    skeleton: Mapping[str, int]


class Workers(Protocol):
    """What an evaluator may do with the ``Executor`` of its search while it prepares."""

    batch: int
    timeout: float | None

    def start(self, evaluator: Evaluator, clock: float, timeout: float | None, log: Callable[[str], None]) -> None:
        """Gets ready to evaluate by this evaluator."""

    def room(self, remaining: int | None) -> int:
        """How many jobs it would take now."""

    def submit(self, job: Any) -> None:
        """Takes a job."""

    def wait(self, until: float) -> list[Trial]:
        """Finished trials."""

    def stop(self) -> None:
        """Frees what ``start`` took."""


class Evaluator(Described):
    """Base class of all evaluators.

    Arguments of ``__init__`` are typed, documented and kept as attributes of the same name: the command
    line and run folders are made from them. An evaluator must survive pickling, since it is sent to workers.

    Attributes:
        space: The space whose architectures are scored (after ``start``).
        keeps_files: Whether it writes files; it is then given a ``folder``.
        folder: Where to keep files between evaluations, such as checkpoints: in the run folder, so that a resumed run
            finds them again, or else a temporary one. All workers must be able to see it. None before the search runs.
        weights_from: Name of the argument with the evaluator whose networks ``trained`` gives; empty: its own.
        interval: Finished trials between two calls of ``advance``; 0: it is never called.
        comparable: Whether scores from before an ``advance`` can be compared with those after it. If not, the best
            trial is that of the newest scores, and repeats are not answered with older ones.
        instant: Whether an evaluation takes well below a millisecond, as a look-up does: a controller that is left to
            choose then need not think long about each.
        executor: Where one-off evaluations, such as those of labels, can be done in parallel, by a search of their
            own: the ``Executor`` of the search, which is not running yet. None but while ``prepare`` runs.
        score_label: What an axis of scores says, with unit and data, such as ``validation accuracy, % (cifar10)``;
            empty: "score", with what the settings tell.
        on_progress: Told how far one-off work is: what is done, steps done, steps in all. None: nobody listens.
    """

    keeps_files: bool = False
    comparable: ClassVar[bool] = False
    instant: ClassVar[bool] = False
    weights_from: ClassVar[str] = ""
    score_label: str = ""

    space: Space
    folder: Path | None = None
    interval: int = 0
    executor: Workers | None = None
    on_progress: Callable[[str, int, int], None] | None = None

    @property
    def architectures(self) -> list[Architecture] | None:
        """The only architectures that it can score, such as those of a table (after ``start``); None: any."""
        return None

    @property
    def score_noise(self) -> float | None:
        """Standard deviation of a score under other seeds, where that is known: 0 if the seed changes nothing.

        A search that is asked for ``certainty`` repeats nothing where it is 0. None: it is to be measured.
        """
        return None

    @property
    def note(self) -> str:
        """What the one-off work came to, in one line, for people; empty if there is nothing to say."""
        return ""

    @property
    def built(self) -> Built | None:
        """How it builds networks (after ``start``); None: it builds none, or does not say."""
        return None

    @property
    def priced(self) -> bool:
        """Whether what it bills is what its answers cost (after ``start``).

        False of a table whose rows have no seconds: what they cost is not known, and looking them up costs nothing.
        """
        return True

    @staticmethod
    def folder_in(folder: Path | None, name: str) -> Path | None:
        """A folder for an evaluator that this one asks, inside its own; made if need be. None where there is none."""
        if folder is None:
            return None
        (folder / name).mkdir(parents=True, exist_ok=True)
        return folder / name

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility``, naming both sides, if this evaluator cannot score that space."""

    def start(self, space: Space) -> None:
        """Binds the evaluator to a space; called once, before ``prepare``."""
        self.check(space)
        self.space = space

    def refusal(self, architecture: Architecture) -> str:
        """Why it can never score an architecture, such as one that its table lacks; empty: it may be able to.

        A search does not ask for what is refused: the controller hears of a failure, free of charge, and there is no
        trial. By default nothing is refused.

        Args:
            architecture: A member of ``self.space``.
        """
        return ""

    def draw(self, n: int, rng: np.random.Generator) -> list[Architecture]:
        """Up to ``n`` different architectures that it can score, at random: fewer if there are not as many."""
        known = self.architectures
        if known is not None:
            return [known[i] for i in rng.permutation(len(known))[:n]]
        drawn: dict[Architecture, None] = {}
        for _ in range(MAX_DRAWS * n):
            if len(drawn) == n:
                break
            drawn[self.space.sample(rng, "architectures")] = None
        return list(drawn)

    def prepare(self) -> Cost:
        """One-off work before the first evaluation (training a super-network, fitting a predictor).

        Called again when a run is resumed; an evaluator that ``keeps_files`` finds in its folder what was done before.

        Returns:
            Its cost, which is billed apart, as set-up: of all that was done for this run, earlier sessions included, if
            the evaluator keeps files, else of this call.
        """
        return NO_COST

    def measure(self, architecture: Architecture) -> Mapping[str, float]:
        """What is known of an architecture without scoring it, by name: what a search can set limits on.

        Such as ``params``, ``flops`` (multiply-adds of one image) and ``latency_seconds``; NaN where one is not known.
        By default nothing.

        Args:
            architecture: A member of ``self.space``.
        """
        return {}

    def fingerprints(self) -> Mapping[str, str]:
        """What this evaluator reads from outside: the setting that names a file to the fingerprint of its content.

        See ``archsearch.files.fingerprints``. A run is not resumed where one has changed. By default nothing.
        """
        return {}

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Scores one architecture.

        Args:
            architecture: A member of ``self.space``.
            seed: The only source of randomness, 0 <= seed < 2**63. Equal seeds give equal results.
        """
        raise NotImplementedError

    def check_budgets(self, budgets: Sequence[int]) -> None:
        """Raises ``UsageError`` if this evaluator cannot stop a training at these lengths, and go on from there."""
        if budgets:
            lengths = ", ".join(map(str, budgets))
            raise UsageError(
                f"{type(self).__name__} scores architectures in one go, it cannot stop at {lengths}; use an "
                "evaluator that trains, such as Training, or a controller without budgets"
            )

    def evaluate_query(self, query: Query) -> Evaluation:
        """Scores one trial; override it, next to ``evaluate``, to use the trial's id, parent or budget.

        Args:
            query: What is asked.
        """
        return self.evaluate(query.architecture, query.seed)

    def evaluate_batch(self, queries: Sequence[Query]) -> list[Evaluation]:
        """Scores several trials, in their order, as ``evaluate_query`` does each; override it where that is cheaper."""
        return [self.evaluate_query(query) for query in queries]

    def trained(self, query: Query) -> Trained:
        """The network that such an evaluation scores, with its weights; override it if there is one, for ``export``.

        Called after ``prepare``. It leaves the evaluator's files as they are, so that the run can go on.

        Args:
            query: What was asked.

        Raises:
            MissingAbility: If this evaluator has no such network.
        """
        raise MissingAbility(
            f"{type(self).__name__} scores no network of its own with weights to export; give an evaluator that "
            "trains, such as Training"
        )

    def advance(self, sample: Sequence[Trial]) -> Cost:
        """Learns on, under the controller's own distribution (ENAS); called after every ``interval`` finished trials.

        No trial is pending then, and all workers are given what this evaluator has become. A run that was killed may
        call it again with the same sample: an evaluator that finds in its folder that this was done says what it cost.

        Args:
            sample: The completed trials since the last call, by id.

        Returns:
            What it cost, which is billed as set-up.
        """
        return NO_COST
