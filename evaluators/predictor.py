"""A learned predictor: some architectures are labelled by another evaluator, all others judged by a model of these.

References: White, Neiswanger & Savani, "BANANAS", AAAI 2021; Wen et al., "Neural predictor for neural architecture
search", ECCV 2020; and, for zero-cost scores as further inputs, White et al., "How powerful are performance predictors
in neural architecture search?", NeurIPS 2021. The models are those of ``archsearch.models``.

The labels are drawn before the search, evaluated by its workers, and billed as set-up, as are fitting the model and
the zero-cost scores of the labels. How well the model ranks architectures that it was not fitted to is measured by
cross-validation among the labels, and reported.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from archsearch import models
from archsearch.basics.checks import at_least_one, whole_number
from archsearch.basics.seeding import stream
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluator import Evaluator, Trained
from archsearch.evaluators.labels import Labels, check_run, labels_of, searched
from archsearch.evaluators.tabular import Tabular
from archsearch.executors.evaluating import evaluate_batch_safely, evaluate_safely, prepare_below
from archsearch.files.notes import read_note, tell_damage, write_note
from archsearch.model import Features, Model, Prediction, load_model
from archsearch.ranking import Interval, bootstrap, kendall_tau
from archsearch.space import Space
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation, Query, Trial
from archsearch.wrapping import AroundSeveral, answers

FILE, LABELS = "predictor.safetensors", "labels"
"""What is kept: the fitted model with its labels, and the run that evaluated them."""

MIN_LABELS = 10

BLOCK = 64
"""Architectures that are predicted at a time, always as many, by models that do not round alike: matrix products do so
only if their sizes agree, and a prediction must not depend on which others are asked for with it."""


class Predictor(AroundSeveral):
    """Predicts scores from those of some labelled architectures, which another evaluator scores before the search.

    The score is the model's expectation, on the scale of the labels; ``spread`` says how unsure the model is. Set-up:
    the evaluation of the labels, by the workers of the search, and fitting the model. Billed per architecture: the time
    to predict, and what its ``features`` cost.

    Args:
        evaluator: The evaluator that gives the labels; None: ``Tabular()``.
        labels: How many architectures are drawn and labelled, >= 10: from the ``architectures`` that the evaluator
            lists, if it does, else from the space. If one fails, another is drawn.
        model: The model that learns the labels, see ``archsearch list models``. None: ``GaussianProcess()``, with
            features ``Stack()``.
        features: Evaluators whose scores of an architecture are further inputs of the model, such as zero-cost scores.
        names: Label these architectures, in the space's own notation, instead of ``labels`` random ones.
        labelled: A run folder whose completed trials are the labels; their cost is billed as it was then.
        folds: Number of parts in the cross-validation, >= 2; 0: no cross-validation.
        refit: After each so many trials the ``relabels`` best of them are labelled, and the model is fitted again; 0:
            never.
        relabels: How many are labelled each time, see ``refit``; >= 1. They are evaluated one after another, in the
            process of the search.
        seed: Seed of the choice of labels, their evaluation, features and fitting, >= 0.

    Raises:
        UsageError: If a setting is out of range.
    """

    keeps_files = True
    weights_from: ClassVar[str] = "evaluator"

    def __init__(
        self,
        evaluator: Evaluator | None = None,
        labels: int = 200,
        model: Model | None = None,
        features: list[Evaluator] | None = None,
        names: list[str] | None = None,
        labelled: str | None = None,
        folds: int = 5,
        refit: int = 0,
        relabels: int = 10,
        seed: int = 0,
    ) -> None:
        self.evaluator = evaluator
        self.labels = whole_number("Predictor", "labels", labels, MIN_LABELS)
        self.model = model
        self.features = features
        self.names = names
        self.labelled = None if labelled is None else str(Path(labelled).absolute())
        self.folds = whole_number("Predictor", "folds", folds)
        self.refit = self.interval = whole_number("Predictor", "refit", refit)
        self.relabels = at_least_one("Predictor", "relabels", relabels)
        self.seed = whole_number("Predictor", "seed", seed)
        self._source = Tabular() if evaluator is None else evaluator
        self._feature_evaluators = list(features or ())
        # Labels of another run need nobody who gives labels, unless there will be more.
        givers = {LABELS: self._source} if labelled is None or refit else {}
        self.asked = givers | {f"feature {number}": each for number, each in enumerate(self._feature_evaluators, 1)}
        self._model = model or (models.Stack() if features else models.GaussianProcess())
        self._check_settings()
        self._forget()

    def _check_settings(self) -> None:
        if self.names is not None and self.labelled is not None:
            raise UsageError("Predictor: names and labelled are two ways to say what the labels are; give one")
        told = self.labels if self.names is None else len(set(self.names))
        if told < MIN_LABELS:
            raise UsageError(f"Predictor: names: expected {MIN_LABELS} or more different ones, got {told}")
        if self.folds == 1 or self.folds > told:
            raise UsageError(f"Predictor: folds: expected 0, or 2 up to the {told} labels, got {self.folds}")
        if self._feature_evaluators and not self._model.takes_features:
            raise UsageError(f"Predictor: features: {type(self._model).__name__} takes none; use a model such as Stack")
        for each in self.asked.values():
            if each.interval:
                raise UsageError(f"Predictor: {type(each).__name__} learns on during a search, as labels cannot")

    def _forget(self) -> None:
        self._fitted: Model | None = None

    # -- the evaluator contract ------------------------------------------------------------------

    def start(self, space: Space) -> None:
        """Binds all evaluators to a space; the labels of another one are forgotten."""
        super().start(space)
        self._check_count(space)
        self._wanted = None if self.names is None else list(dict.fromkeys(map(space.parse, self.names)))
        if self.labelled is not None:
            check_run(self.labelled, space)
        self._forget()

    def _check_count(self, space: Space) -> None:
        """Whether there is so much to label, as far as that is known before anything is spent."""
        if self.names is not None or self.labelled is not None:
            return
        known = self._source.architectures
        size = space.size() if known is None else len(known)
        if size is not None and size < self.labels:
            raise self._too_few(size)

    def _too_few(self, found: int) -> UsageError:
        return UsageError(
            f"Predictor: labels: {type(self._source).__name__} scores {found:,} different architectures of "
            f"{type(self.space).__name__} only, got {self.labels:,}"
        )

    def _folder_name(self, role: str) -> str | None:
        if role != LABELS:
            return super()._folder_name(role)
        # Where the run that labels had it.
        return f"{LABELS}/evaluator" if self.refit and self._fitted is not None else None

    def measure(self, architecture: Architecture) -> Mapping[str, float]:
        """As the evaluator of the labels does."""
        return self._source.measure(architecture) if self._source in self.asked.values() else {}

    def prepare(self) -> Cost:
        """Has the labels evaluated, and fits the model; in a run that goes on, what is left of that.

        Raises:
            UsageError: If there are too few labels in ``labelled``, or they are of another space.
        """
        cost = self._prepare_below(self._feature_evaluators, "features.json")
        if self._fitted is None and self.folder is not None and (self.folder / FILE).exists():
            self._fitted = self._read_model(self.folder / FILE)
        if self._fitted is None:
            least = max(MIN_LABELS, self.folds)
            labels, spent = self._new_labels() if self.labelled is None else labels_of(self.labelled, least)
            begun = time.process_time()
            labels, features, more = self._with_features(labels)
            tau = self._cross_validate(labels, features)
            self._fitted = self._fit(labels, features)
            spent += more + _rest(begun, more)
            notes = {"prepared": dataclasses.astuple(spent), "tau": tau, "judged": len(labels)}
            self._fitted.notes = {**notes, "sample": -1, "advanced": []}
            self._save()
        if self.refit:
            self.folder = self.folder  # with what was fitted, there is one for the evaluator of the labels, too
            again = self._prepare_below([self._source], "source.json")
            if self.labelled is not None:  # else the run that labelled has billed it
                cost += again
        return cost + Cost(*self._fitted.notes["prepared"])

    def _read_model(self, path: Path) -> Model | None:
        """The model of an earlier session; None if its file is damaged. The labels are in a run of their own."""
        try:
            return load_model(path, self.space, self._model)
        except UsageError as error:
            tell_damage(path, error, "the model is fitted anew")
            return None

    def _prepare_below(self, evaluators: Sequence[Evaluator], file: str) -> Cost:
        """Prepares evaluators; what that has cost in all sessions is kept in a file."""
        path = None if self.folder is None else self.folder / file
        lost = "what earlier sessions cost is not known"
        before = read_note(path, ("costs",), lost, old_list="costs", check=_check_costs)
        known = [Cost(*cost) for cost in before["costs"]] if before else [NO_COST] * len(evaluators)
        costs = [prepare_below(self, each, cost) for each, cost in zip(evaluators, known, strict=True)]
        if path is not None and evaluators:
            write_note(path, {"costs": [dataclasses.astuple(cost) for cost in costs]})
        return dataclasses.replace(sum(costs, NO_COST), wall_seconds=0.0)

    def advance(self, sample: Sequence[Trial]) -> Cost:
        """Has the best of the sample labelled, as far as they are not yet, and fits the model anew.

        What cannot be labelled is passed over.
        """
        if not sample or not self.interval:
            return NO_COST
        model, last = self._ready(), max(trial.id for trial in sample)
        if model.notes["sample"] != last:  # else a run that was killed had come so far
            begun = time.process_time()
            labels = self.labelled_scores
            best = dict.fromkeys(t.architecture for t in sorted(sample, key=lambda trial: trial.rank, reverse=True))
            known, rng = self._source.architectures, stream(self.seed, f"after trial {last}")
            possible = set(best if known is None else known)
            chosen = [each for each in best if each not in labels and each in possible][: self.relabels]
            outcomes = [evaluate_safely(self._source, Query(-1, each, int(rng.integers(2**63)))) for each in chosen]
            found = {a: o.evaluation for a, o in zip(chosen, outcomes, strict=True) if o.evaluation is not None}
            new, features, spent = self._with_features({a: evaluation.score for a, evaluation in found.items()})
            if features is not None and model.features is not None:
                features = np.concatenate([model.features, features])
            self._fitted = self._fit(labels | new, features)
            spent = sum((evaluation.cost for evaluation in found.values()), spent)
            spent += _rest(begun, spent)
            self._fitted.notes = {**model.notes, "sample": last, "advanced": dataclasses.astuple(spent)}
            self._save()
        return Cost(*self._ready().notes["advanced"])

    def evaluate_batch(self, queries: Sequence[Query]) -> list[Evaluation]:
        """Predicts the scores of several architectures together; what that costs is shared evenly.

        Raises:
            UsageError: If there is no model yet.
        """
        model, begun = self._ready(), time.process_time()
        architectures = [self.space.validate(query.architecture) for query in queries]
        if not architectures:
            return []
        features, spent = self._feature_scores(architectures)
        mean, spread = (
            model.predict(architectures, features) if model.rounds_alike else _in_blocks(model, architectures, features)
        )
        cost = (spent + _rest(begun, spent)) * (1 / len(queries))
        return [
            Evaluation(score, {"spread": unsure}, cost)
            for score, unsure in zip(mean.tolist(), spread.tolist(), strict=True)
        ]

    def trained(self, query: Query) -> Trained:
        """The network that the evaluator of the labels gives, such as a part of the super-network that labelled.

        Raises:
            MissingAbility: If it has none, or the labels are those of another run.
        """
        if self.labelled is not None:
            raise MissingAbility(
                f"Predictor: its labels are of {self.labelled}, so that nobody here has weights; give who has: "
                "--evaluator OneShot --evaluator.weights RUN/evaluator/super-network.safetensors, or a Training"
            )
        before = self._source.folder
        self._source.folder = self.folder_in(self.folder, f"{LABELS}/evaluator")
        prepare_below(self, self._source, NO_COST)
        found = self._source.trained(query)
        self._source.folder = before
        return found._replace(note=f"Its score in the search was predicted. {found.note}".rstrip())

    # -- labels and model --------------------------------------------------------------------------

    @property
    def labelled_scores(self) -> Labels:
        """The labelled architectures and their scores."""
        model = self._ready()
        return dict(zip(model.architectures, model.scores.tolist(), strict=True))

    @property
    def agreement(self) -> Interval | None:
        """Kendall's tau of labels and cross-validated predictions, with its 95 % interval; None without folds."""
        tau = self._ready().notes["tau"]
        return None if tau is None else Interval(*tau)

    @property
    def note(self) -> str:
        """See ``Evaluator``."""
        if self._fitted is None:
            return ""
        name, count = type(self._fitted).__name__, len(self._fitted.scores)
        text = f"{name} of {count:,} labels"
        if self.agreement is None:
            return text
        judged = self._fitted.notes["judged"]
        folds = f"{self.folds} folds" + (f" of the first {judged:,}" if judged < count else "")
        return f"{text}; Kendall's tau with labels that it did not know {self.agreement} ({folds})"

    def _ready(self) -> Model:
        if self._fitted is None:
            raise UsageError("Predictor: call prepare first, as a search does: there are no labels yet")
        return self._fitted

    def _new_labels(self) -> tuple[Labels, Cost]:
        wanted = self._draw() if self._wanted is None else self._wanted
        count = self.labels if self._wanted is None else len(wanted)
        folder = None if self.folder is None else self.folder / LABELS
        return searched(self, self._source, wanted, count, folder, self.seed, more=self._wanted is None)

    def _draw(self) -> list[Architecture]:
        """Different architectures to label, and as many again for those that fail, as far as there are."""
        drawn = self._source.draw(2 * self.labels, stream(self.seed, "labels"))
        if len(drawn) < self.labels:
            raise self._too_few(len(drawn))
        return drawn

    def _feature_scores(self, architectures: Sequence[Architecture]) -> tuple[Features | None, Cost]:
        """What the features say of architectures, shape (n, features), and what that cost together."""
        if not self._feature_evaluators:
            return None, NO_COST
        found = [answers(each, self._queries(architectures)) for each in self._feature_evaluators]
        scores = np.array([[evaluation.score for evaluation in column] for column in found], np.float64).T
        return scores, sum((evaluation.cost for column in found for evaluation in column), NO_COST)

    def _with_features(self, labels: Labels) -> tuple[Labels, Features | None, Cost]:
        """The labels whose features can be computed, with these, and what that cost.

        Raises:
            UsageError: If some cannot, and too few are left to begin with.
        """
        if not self._feature_evaluators or not labels:
            return dict(labels), None, NO_COST
        outcomes = [evaluate_batch_safely(each, self._queries(list(labels))) for each in self._feature_evaluators]
        sound = [i for i in range(len(labels)) if all(column[i].evaluation is not None for column in outcomes)]
        if len(sound) < MIN_LABELS and self._fitted is None:
            errors = [outcome.error for column in outcomes for outcome in column if outcome.failure]
            raise UsageError(
                f"Predictor: features: they could be computed for {len(sound)} of {len(labels)} labels, expected "
                f"{MIN_LABELS} or more. The first error: {errors[0].strip().splitlines()[-1]}"
            )
        evaluations = [[o.evaluation for o in column if o.evaluation is not None] for column in outcomes]
        cost = sum((each.cost for column in evaluations for each in column), NO_COST)
        found = [[o.evaluation.score for i in sound if (o := column[i]).evaluation is not None] for column in outcomes]
        names = list(labels)
        return {names[i]: labels[names[i]] for i in sound}, np.array(found, np.float64).T, cost

    def _queries(self, architectures: Sequence[Architecture]) -> list[Query]:
        """Of features: one seed for all, so that an architecture always has the same."""
        seed = int(stream(self.seed, "features").integers(2**63))
        return [Query(-1, architecture, seed) for architecture in architectures]

    def _cross_validate(self, labels: Labels, features: Features | None) -> tuple[float, float, float] | None:
        """Kendall's tau of the labels and of what models of the other folds expect of them, with its interval."""
        if not self.folds:
            return None
        architectures, scores = list(labels), np.array(list(labels.values()))
        expected = np.empty(len(scores))
        for fold in np.array_split(stream(self.seed, "folds").permutation(len(scores)), self.folds):
            others = np.setdiff1d(np.arange(len(scores)), fold)
            model = self._fit(
                {architectures[i]: scores[i] for i in others}, None if features is None else features[others]
            )
            held_out = None if features is None else features[fold]
            expected[fold] = model.predict_targets([architectures[i] for i in fold], held_out).mean
        tau = bootstrap(kendall_tau, [scores, expected])
        return tau.value, tau.low, tau.high

    def _fit(self, labels: Labels, features: Features | None) -> Model:
        model = self._model.clone()
        seed = int(stream(self.seed, "model").integers(2**32))
        model.fit(self.space, list(labels), list(labels.values()), seed, features)
        return model

    def _save(self) -> None:
        if self.folder is not None:
            self._ready().save(self.folder / FILE)


def _in_blocks(model: Model, architectures: Sequence[Architecture], features: Features | None) -> Prediction:
    """What a model predicts of always as many at a time; the last one fills up the last block."""
    means, spreads = [], []
    for begin in range(0, len(architectures), BLOCK):
        rows = np.minimum(np.arange(begin, begin + BLOCK), len(architectures) - 1)
        mean, spread = model.predict([architectures[row] for row in rows], None if features is None else features[rows])
        means.append(mean)
        spreads.append(spread)
    return Prediction(*(np.concatenate(parts)[: len(architectures)] for parts in (means, spreads)))


def _rest(begun: float, spent: Cost) -> Cost:
    """The processor time since ``begun`` (``time.process_time``) that is not part of what was spent."""
    return Cost(device_seconds=max(0.0, time.process_time() - begun - spent.device_seconds))


def _check_costs(facts: dict[str, Any]) -> None:
    for cost in facts["costs"]:
        Cost(*cost)
