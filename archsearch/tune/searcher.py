"""A controller as a searcher of Ray Tune."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher
from ray.tune.search.repeater import TRIAL_INDEX
from ray.tune.search.sample import Domain

from archsearch.basics.seeding import evaluation_seed, root_seed
from archsearch.components import describe, one_line
from archsearch.controller import Controller, without_budgets
from archsearch.errors import RunFolderError, UsageError
from archsearch.space import Space
from archsearch.trial import Architecture, Evaluation, Proposal, Trial

__all__ = ["ControllerSearch"]

RESERVED = ("architecture", "proposal", "parent", "seed")
"""Keys of a trial's configuration that are no decisions."""

LONGEST = 1_000
"""Lengths of training up to this are tried on an evaluator, to find those at which it can stop."""

FORMAT = 1
"""Of the files that ``ControllerSearch.save`` writes."""


class ControllerSearch(Searcher):
    """A searcher of Ray Tune that asks a controller.

    The configuration of a trial has every decision under its name (``Space.label``; ``decision_3`` where the space has
    none), with its value if the space decodes to named values, else its option; the space's own text for all of it
    under ``architecture``; and what ``trainable`` needs: ``proposal`` (its id), ``parent`` and the ``seed``. A
    ``param_space`` given to the tuner may add constants to it.

    The controller is told what was reported last, once Tune has done with a trial. A trial that raised an error, lacks
    the metric or reported NaN has failed; if Tune runs it again (``restart_errored`` or ``resume_errored`` of
    ``Tuner.restore``) and it is completed then, the controller is told so, and the failure is taken back. One that a
    scheduler stopped early is told with the score that it had reached, which may be after a shorter training than that
    of others.

    ``save`` and ``restore`` lose nothing, also inside a ``ConcurrencyLimiter``, whose own list of live trials is not
    saved: the limit is kept here (``batch=True`` of the limiter has therefore no effect). After ``Tuner.restore``
    unfinished trials go on under their ids, and their results are awaited. After ``restore``, as for a new experiment,
    what was pending is proposed again; should the old trial be completed first, its result counts.
    ``Tuner.restore(..., resume_unfinished=False)`` drops trials without telling anybody: they keep their places under a
    limit, here as in Tune's own limiter.

    Args:
        controller: Who proposes; it must not ask for budgets itself, since stopping early is what Tune's schedulers do.
        space: Where to search.
        seed: Root seed, >= 0. None draws one.
        metric: What a trainable reports as score. None: as the tuner says if it has a ``param_space`` (Tune does not
            hand it over otherwise), else ``score``.
        mode: ``max``, or ``min`` where lower is better. None: as the tuner says, on the same condition, else ``max``.

    Raises:
        UsageError: If an argument is none of these.
    """

    def __init__(
        self,
        controller: Controller,
        space: Space,
        seed: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
    ) -> None:
        if mode not in (None, "min", "max") or not isinstance(metric, (str, type(None))):
            raise UsageError(
                f"ControllerSearch: expected one metric by name and mode max or min, got {metric!r} and {mode!r}"
            )
        super().__init__(metric or "score", mode or "max")
        self.controller = without_budgets("ControllerSearch", controller)
        self.space = space
        self.seed = root_seed(seed)
        self._chosen = (metric, mode)
        self._made_of: dict[str, Any] = {
            "controller": describe(controller),
            "space": describe(space),
            "seed": self.seed,
        }
        self._live: dict[str, Proposal] = {}
        self._again: list[str] = []  # those of the live trials that will not come back
        self._reported: dict[str, Evaluation] = {}  # last report of each live trial
        self._failed: dict[int, Proposal] = {}  # told as failed; Tune may run them again
        self._max_concurrent: int | None = None
        controller.check(space)
        controller.start(space, self.seed)

    # -- what Tune calls -----------------------------------------------------------------------

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Takes metric and mode from the tuner; called only if that has a ``param_space``.

        Raises:
            UsageError: If they contradict those given here, or the ``param_space`` has more than constants.
        """
        for own, given, name in zip(self._chosen, (metric, mode), ("metric", "mode"), strict=True):
            if own and given and own != given:
                raise UsageError(f"ControllerSearch has {name}={own!r}, but the tuner {given!r}; give both the same")
        if searched := sorted(_searched(config)):
            raise UsageError(
                f"param_space: {', '.join(searched)}: the space of ControllerSearch is all that is searched; expected "
                "constants only"
            )
        self._metric, self._mode = self._chosen[0] or metric or "score", self._chosen[1] or mode or "max"
        return True

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Takes over the limit of a ``ConcurrencyLimiter``, since that forgets its live trials."""
        self._max_concurrent = max_concurrent
        return True

    def suggest(self, trial_id: str) -> Any:
        """The configuration of the next trial; None: not now; ``FINISHED``: the controller has no more to propose."""
        running = len({proposal.id for proposal in self._live.values()}) - len(self._again)
        if self._max_concurrent is not None and running >= self._max_concurrent:
            return None
        if self._again:
            proposal = self._live[self._again.pop(0)]
        else:
            proposals = [] if self.controller.finished else self.controller.ask()
            if not proposals:
                return Searcher.FINISHED
            (proposal,) = proposals
        self._live[trial_id] = proposal
        return self._configuration(proposal)

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Remembers the report: a trial that is stopped while it is paused is completed without a result."""
        if trial_id in self._live and (evaluation := self._evaluation(result)) is not None:
            self._reported[trial_id] = evaluation

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Tells the controller; passes over trials that it knows nothing of, or whose proposal was told already.

        A trial that was stopped before it reported anything has not been evaluated: it is proposed again.
        """
        proposal = self._live.get(trial_id) or self._restarted(result or {}) or self._mended(result or {}, error)
        if proposal is None:
            return
        if not result and not error and trial_id not in self._reported:
            self._again += [trial_id] if trial_id not in self._again else []
            return
        evaluation = None if error else self._evaluation(result) if result else self._reported[trial_id]
        for other in [other for other, same in self._live.items() if same.id == proposal.id]:
            self._forget(other)
        trial = Trial(proposal.id, proposal.architecture, proposal.parent, evaluation, self._seed_of(proposal))
        if evaluation is None:
            text = "the trainable raised an error" if error else f"no finite {self._metric} was reported"
            trial = trial._replace(failure="exception" if error else "invalid_score", error=text)
            self._failed[proposal.id] = proposal
        self.controller.tell([trial])

    def _restarted(self, result: Mapping[str, Any]) -> Proposal | None:
        """The pending proposal of a trial that Tune began again under a new id, by the configuration in its result."""
        id_ = result.get("config/proposal")
        return next((proposal for proposal in self._live.values() if proposal.id == id_), None)

    def _mended(self, result: Mapping[str, Any], error: bool) -> Proposal | None:
        """The proposal of a trial that had failed and was completed when Tune ran it again; its result is due anew."""
        id_ = result.get("config/proposal")
        if error or id_ not in self._failed or self._evaluation(result) is None:
            return None
        proposal = self._failed.pop(id_)
        self.controller.expect_again(proposal)
        return proposal

    def _forget(self, trial_id: str) -> None:
        del self._live[trial_id]
        self._reported.pop(trial_id, None)
        if trial_id in self._again:
            self._again.remove(trial_id)

    # -- files ---------------------------------------------------------------------------------

    def save(self, checkpoint_path: str) -> None:
        """Writes everything that is needed to go on, as JSON; Tune calls it at every snapshot of the experiment."""
        state = {
            "format": FORMAT,
            **self._made_of,
            "metric": self._metric,
            "mode": self._mode,
            "state": self.controller.state_dict(),
            "live": {id_: [p.id, list(p.architecture), p.parent] for id_, p in self._live.items()},
            "again": list(self._again),
            "reported": {id_: [e.score, dict(e.metrics)] for id_, e in self._reported.items()},
            "failed": [[p.id, list(p.architecture), p.parent] for p in self._failed.values()],
        }
        path = Path(checkpoint_path)
        aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        aside.write_text(json.dumps(state), encoding="utf-8")
        aside.replace(path)

    def restore(self, checkpoint_path: str) -> None:
        """Goes on from a file that ``save`` wrote, in a new experiment: what was pending is proposed again.

        Raises:
            RunFolderError: If there is no such file, or it is of another search.
        """
        self._load(Path(checkpoint_path))
        self.propose_again()

    def restore_from_dir(self, checkpoint_dir: str) -> None:
        """Goes on with an experiment, as ``Tuner.restore`` does: its unfinished trials are awaited.

        Those that have finished by the experiment's own records, but were not told (its files are not written at
        once, so that a killed process may leave some of them older), are proposed again.
        """
        super().restore_from_dir(checkpoint_dir)
        self._propose_again(_finished_trials(Path(checkpoint_dir)))

    def propose_again(self) -> None:
        """Proposes again all that is pending: its trials will not come back."""
        self._propose_again(set(self._live))

    def _propose_again(self, gone: set[str]) -> None:
        """Proposes again what no trial but these was given; something that was proposed again already has several."""
        trials: dict[int, list[str]] = {}
        for trial_id, proposal in self._live.items():
            trials.setdefault(proposal.id, []).append(trial_id)
        self._again = [ids[-1] for ids in trials.values() if gone.issuperset(ids)]

    def _load(self, path: Path) -> None:
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(
                f"{path} cannot be read ({error}); expected what ControllerSearch.save wrote"
            ) from None
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise RunFolderError(f"{path} is no file of ControllerSearch.save, or one of another version")
        for name in ("controller", "space"):
            if state[name] != json.loads(json.dumps(self._made_of[name])):
                raise RunFolderError(
                    f"{path}: its {name} is {one_line(state[name])}, not {one_line(self._made_of[name])}; restore it "
                    "into a ControllerSearch of the same one"
                )
        self.seed = self._made_of["seed"] = state["seed"]
        self.controller.start(self.space, self.seed)
        self.controller.load_state_dict(state["state"])
        self._metric, self._mode = state["metric"], state["mode"]
        self._live = {id_: Proposal(n, tuple(options), parent) for id_, (n, options, parent) in state["live"].items()}
        self._again = list(state["again"])
        self._reported = {id_: Evaluation(*reported) for id_, reported in state["reported"].items()}
        failed = state.get("failed", ())
        self._failed = {n: Proposal(n, tuple(options), parent) for n, options, parent in failed}

    # -- translation ---------------------------------------------------------------------------

    def _seed_of(self, proposal: Proposal) -> int:
        return evaluation_seed(self.seed, proposal.id)

    def _configuration(self, proposal: Proposal) -> dict[str, Any]:
        return {
            **_decisions(self.space, proposal.architecture),
            "architecture": self.space.format(proposal.architecture),
            "proposal": proposal.id,
            "parent": proposal.parent,
            "seed": self._seed_of(proposal),
        }

    def _evaluation(self, result: Mapping[str, Any]) -> Evaluation | None:
        """What a report says, in the form that controllers know; None if it has no finite score."""
        metrics = {name: float(value) for name, value in result.items() if _is_figure(name, value)}
        score = metrics.pop(self.metric, math.nan)
        if not math.isfinite(score):
            return None
        return Evaluation(-score if self._mode == "min" else score, metrics)


def _decisions(space: Space, architecture: Architecture) -> dict[str, Any]:
    """The decisions by name, each with its value or else its option."""
    named = space.decode(architecture)
    values: dict[str, Any] = {}
    for i, option in enumerate(architecture):
        label = space.label(architecture[:i])
        readable = isinstance(named, Mapping) and label in named
        values[key(space, architecture[:i])] = named[label] if readable else option
    return values


def key(space: Space, prefix: Architecture) -> str:
    """What a decision is called in a configuration."""
    label = space.label(prefix)
    name = f"decision_{label}" if label == str(len(prefix)) or label in (*RESERVED, TRIAL_INDEX) else label
    return name.replace("/", "|")  # which Tune takes for nesting


def _is_figure(name: str, value: object) -> bool:
    """Whether that is a number, NumPy's included, that was reported; Tune adds the configuration to each report."""
    is_number = hasattr(value, "__float__") and not isinstance(value, bool) and getattr(value, "shape", ()) == ()
    return is_number and not name.startswith("config/")


def _searched(config: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Names of what is to be searched in a ``param_space``."""
    for name, value in config.items():
        if isinstance(value, Domain) or name == "grid_search":
            yield where + name
        elif isinstance(value, Mapping):
            yield from _searched(value, f"{where}{name}/")


def _finished_trials(folder: Path) -> set[str]:
    """Trials that have finished by the newest state of an experiment; empty if it is written in a way unknown here.

    Those of a ``Repeater`` are left out: it tells of the first one when the last one has finished.
    """
    finished = set()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        newest = max(folder.glob("experiment_state-*.json"), key=lambda path: path.name)
        for text, _ in json.loads(newest.read_text(encoding="utf-8"))["trial_data"]:
            trial = json.loads(text)
            if trial["status"] in ("TERMINATED", "ERROR") and TRIAL_INDEX not in text:
                finished.add(str(trial["trial_id"]))
    return finished
