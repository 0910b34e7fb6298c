"""The weights of an export: had from the evaluator, or trained once more."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.basics.words import say
from archsearch.bridges.exported import OWN_TASK, TEXT, Chosen, Weights
from archsearch.components import build, describe, installed, load
from archsearch.errors import RunFolderError, UnknownName, UsageError
from archsearch.evaluator import Evaluator, Trained
from archsearch.executors.evaluating import prepare
from archsearch.keeping.folder import RunFolder
from archsearch.showing.verified import Verification, verification_folder
from archsearch.space import Space
from archsearch.trial import NO_COST, Cost, Query, Trial

if TYPE_CHECKING:
    from archsearch.task import Task


# -- their weights -----------------------------------------------------------------------------


class Trainings:
    """Gives networks with weights, by the evaluators that scored them or another one.

    Args:
        folder: The run.
        space: Its space.
        verification: The newest.
        given: Trains instead of who scored.
        task: The run's, if that was made of arrays.
        trust: Whether evaluators that are not installed may be made.
    """

    def __init__(
        self,
        folder: RunFolder,
        space: Space,
        verification: Verification | None,
        given: Evaluator | None,
        task: Task | None,
        trust: bool,
    ) -> None:
        self._trust = trust
        self._run = folder
        self._space = space
        self._verification = verification
        self._given = given
        self._task = task
        self._stack = contextlib.ExitStack()
        self._ready: dict[Path | None, tuple[Evaluator, Cost]] = {}

    def __enter__(self) -> Trainings:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def why_none(self) -> str:
        """What to say where there are no weights."""
        path = self._run.config()["evaluator"]["class_path"]
        name, why = path.rpartition(".")[2], "scores no network of its own with weights"
        if not self._trust and installed(path, ("evaluators",)) is None:
            why = "is not installed, so that nothing is trained by it unless you say --trust"
        return f"{name} {why}; to train one: --evaluator Training --evaluator.task digits, or another task"

    def source(self, chosen: Chosen) -> RunFolder | Evaluator | None:
        """Whose weights there are: a run's whose evaluator has some, or those of the evaluator that was given."""
        if self._given is not None:
            return self._given
        runs = [self._run]
        if chosen.verified is not None and chosen.verified.score is not None and self._verification is not None:
            runs.insert(0, RunFolder(verification_folder(self._run, self._verification.number)))
        return next(
            (run for run in runs if (run.path / "config.yaml").exists() and _has_weights(run, self._trust)), None
        )

    def weights(self, chosen: Chosen) -> Weights | None:
        """The network of an architecture, trained; None if nobody has one."""
        source = self.source(chosen)
        if source is None:
            return None
        evaluator, set_up = self._prepared(source)
        say(f"weights   {chosen.place}-{chosen.trial}: by {type(evaluator).__name__}")  # it may take long
        if isinstance(source, Evaluator):
            seed = _trial(self._run, chosen.trial).seed
            trained = evaluator.trained(Query(chosen.trial, chosen.architecture, seed))
            return Weights(trained, describe(evaluator), "a training of its own", seed, None, set_up)
        in_run = source is self._run
        assert in_run or chosen.verified is not None
        # A verification scores in the order of the search.
        id_ = chosen.trial if in_run or chosen.verified is None else chosen.verified.rank - 1
        origin = f"trial {id_} of the run" if in_run else f"trial {id_} of verification {source.path.name}"
        trial = _trial(source, id_)
        trained = evaluator.trained(Query(trial.id, trial.architecture, trial.seed, trial.parent, trial.budget))
        predicted = bool(evaluator.weights_from)
        return Weights(trained, source.config()["evaluator"], origin, trial.seed, trial, NO_COST, predicted)

    def _prepared(self, source: RunFolder | Evaluator) -> tuple[Evaluator, Cost]:
        """The evaluator, ready to train, and what that took."""
        key = None if isinstance(source, Evaluator) else source.path
        if key not in self._ready:
            evaluator = source if isinstance(source, Evaluator) else self._of_run(source)
            if type(evaluator).trained is Evaluator.trained:
                evaluator.trained(Query(-1, (), 0))  # raises, before anything is spent
            evaluator.start(self._space)
            if key is not None and evaluator.keeps_files:
                evaluator.folder = (key / "evaluator").absolute()
                evaluator.folder.mkdir(exist_ok=True)
                self._stack.callback(setattr, evaluator, "folder", None)
            self._ready[key] = evaluator, prepare(evaluator)
        return self._ready[key]

    def _of_run(self, run: RunFolder) -> Evaluator:
        """The evaluator of a run, which must not be in progress: both would write to its files."""
        self._stack.callback(RunFolder.open(run.path).close)
        where = str(run.path / "config.yaml")
        stored = _with_task(run.config()["evaluator"], self._task)
        evaluator: Evaluator = build(stored, "evaluators", trust=self._trust, where=where)
        return evaluator


def _has_weights(run: RunFolder, trust: bool) -> bool:
    """Whether the evaluator of a run scores networks with weights; of one that is neither installed nor trusted, no."""
    try:
        described = run.config()["evaluator"]
        while True:
            path = described["class_path"]
            cls: Any = installed(path, ("evaluators",))
            if cls is None and not trust:
                warnings.warn(
                    f"{run.path}: its weights are passed over, since {path!r:.80} is not installed; if you made this "
                    "folder or trust who did: --trust (in Python trust=True)",
                    stacklevel=2,
                )
                return False
            cls = cls or load(path)
            if not cls.weights_from:
                break
            described = described["init_args"].get(cls.weights_from)  # it asks another one, which may be the default
            if described is None:
                return False
        return bool(cls.trained is not Evaluator.trained)
    except UnknownName:  # of a package that is not here
        return False
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        warnings.warn(
            f"{run.path}: its weights are passed over, since its config.yaml is damaged: {error}", stacklevel=2
        )
        return False


def _trial(run: RunFolder, id_: int) -> Trial:
    found = next((trial for trial in run.trials(run.config()["seed"]) if trial.id == id_), None)
    if found is None:
        raise RunFolderError(f"{run.path}: expected a trial {id_}, but it is gone: files of this run are damaged")
    return found


def _with_task(value: Any, task: Task | None) -> Any:
    """A description with the task itself, where a run folder can only note which one it was."""
    if isinstance(value, list):
        return [_with_task(each, task) for each in value]
    if not isinstance(value, Mapping):
        return value
    found = {name: _with_task(each, task) for name, each in value.items()}
    noted = found.get("task")
    own = OWN_TASK.fullmatch(noted) if isinstance(noted, str) else None
    if own is not None:
        if task is None or own["fingerprint"] != task.fingerprint:
            raise UsageError(
                f"the run was made with a task of your own, {own['fingerprint']}, which its folder does not "
                "store; give it in Python: export(..., task=...), or another evaluator"
            )
        found["task"] = task
    return found


def save_weights(path: Path, trained: Trained, genotype: Mapping[str, Any]) -> None:
    """Writes the weights with the genotype as their header."""
    from safetensors.torch import save_file

    tensors = {name: value.contiguous() for name, value in trained.network.state_dict().items()}
    facts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in genotype.items()}
    save_file(tensors, path, {**facts, "format": "pt"})
    path.chmod((path.parent / TEXT).stat().st_mode & 0o777)  # else it would be for its owner alone
