"""Progressive dynamic hurdles: who is above the mean of those before is trained longer, and so on.

Reference: So, Liang & Le, "The evolved transformer", ICML 2019, section 4 and appendix A. All models are trained to a
first length. When ``models`` of them are done, the mean of their scores becomes the first hurdle: of the models that
come after, those above it are trained to the next length. When another ``models`` are done, the mean of those that got
there becomes the next hurdle. What evolution hears of a model is its newest score, whatever the length.

Where we differ:

- Proposals never wait: a hurdle stands as soon as results are there, and trainings that go on come before new ones.
- The mean is that of the newest ``models`` results of a length; the paper's is that of the present population.
- A training that fails when it goes on keeps the score that it had.
"""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar, NamedTuple

from archsearch.basics.checks import at_least_one
from archsearch.controller import Answer, Controller, Order, without_budgets
from archsearch.controllers.regularized_evolution import RegularizedEvolution
from archsearch.controllers.trial_ids import TrialIds, comparable
from archsearch.errors import UsageError
from archsearch.trial import Architecture, Budget, Evaluation, Trial

PARENTS = 1000
"""Newest proposals of the inner controller whose trials can be named as parents; older parents are left out."""


class ProgressiveDynamicHurdles(Controller):
    """Progressive dynamic hurdles: models above the mean of earlier ones are trained longer (So et al. 2019).

    The inner controller hears of a model when its training ends, with its last score. If scores rise with the length, a
    good model that is trained longer therefore counts for more, as the paper intends.

    Args:
        controller: The controller that proposes architectures; it must not ask for budgets. None:
            ``RegularizedEvolution()``.
        lengths: Lengths of training, rising, two or more, in the evaluator's unit (epochs for ``Training``), each >= 1.
            None: 1, 3, 9.
        models: How many models are trained between one hurdle and the next, >= 1.

    Attributes:
        learns: As the inner controller has it.
        hurdles: The hurdles so far (after ``start``): what a score at each length must exceed for the training to
            continue.

    Raises:
        UsageError: If a setting is out of range, or the inner controller has budgets.
    """

    order: ClassVar[Order] = "inner"

    def __init__(
        self, controller: Controller | None = None, lengths: list[int] | None = None, models: int = 50
    ) -> None:
        name = "ProgressiveDynamicHurdles"
        self.controller = controller
        self.lengths = [1, 3, 9] if lengths is None else lengths
        if not isinstance(self.lengths, (list, tuple)) or len(self.lengths) < 2:
            raise UsageError(f"{name}: lengths: expected a list of two or more, got {lengths!r}")
        self.budgets = tuple(at_least_one(name, f"lengths[{i}]", length) for i, length in enumerate(self.lengths))
        if list(self.budgets) != sorted(set(self.budgets)):
            raise UsageError(f"{name}: lengths: expected rising numbers, got {lengths!r}")
        self.models = at_least_one(name, "models", models)
        self._inner = without_budgets(name, RegularizedEvolution() if controller is None else controller)
        self.learns = self._inner.learns

    def _start(self) -> None:
        self.begin(self._inner)
        self._asked = 0
        self._running: dict[int, _Model] = {}
        self._waiting: deque[_Model] = deque()  # those that go on, the oldest first
        self._trial_ids = TrialIds(proposals=PARENTS)
        self.hurdles: list[float] = []
        self._done = 0  # models since the last hurdle
        self._scores: list[deque[float]] = [
            deque(maxlen=self.models) for _ in self.budgets
        ]  # the newest of each length

    # -- asking ----------------------------------------------------------------------------------

    def _ask(self) -> Answer:
        id_ = self._asked
        self._asked += 1
        if self._waiting:
            model = self._waiting.popleft()
            self._running[id_] = model
            start, stop = self.budgets[model.stage - 1 : model.stage + 1]
            return model.architecture, model.trial, Budget(stop, start, model.origin)
        (proposal,) = self._inner.ask()
        self._trial_ids.add(proposal.id, id_)
        self._running[id_] = _Model(proposal.architecture, 0, id_, id_, proposal.id, proposal.parent)
        return proposal.architecture, self._trial_ids.of(proposal.parent), Budget(self.budgets[0])

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, trial: Trial) -> None:
        model = self._running.pop(trial.id)
        if trial.evaluation is None:
            self._end(model, trial)
            return
        score = trial.evaluation.score
        self._scores[model.stage].append(score)
        model = model._replace(trial=trial.id, score=score, metrics=dict(trial.metrics))
        if model.stage < len(self.hurdles) and score > self.hurdles[model.stage]:
            self._waiting.append(model._replace(stage=model.stage + 1))
        else:
            self._end(model, trial)
        # A hurdle for the longest length that is trained, unless that is the last one.
        last = len(self.hurdles)
        if self._done >= self.models and last < len(self.budgets) - 1 and self._scores[last]:
            self.hurdles.append(sum(self._scores[last]) / len(self._scores[last]))
            self._done = 0

    def _hear(self, trial: Trial) -> None:
        self._inner.hear([comparable(trial, self.budgets[0])])

    def _end(self, model: _Model, trial: Trial) -> None:
        """Tells the inner controller of a model whose training has ended."""
        if trial.evaluation is None and model.score is not None:
            trial = trial._replace(evaluation=Evaluation(model.score, model.metrics or {}), failure="", error="")
        self._done += trial.evaluation is not None
        self._inner.tell([trial._replace(id=model.inner_id, parent=model.inner_parent)])

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        return {
            "inner": self._inner.state_dict(),
            "asked": self._asked,
            "running": [[id_, *model] for id_, model in self._running.items()],
            "waiting": [list(model) for model in self._waiting],
            "firsts": self._trial_ids.state(),
            "hurdles": list(self.hurdles),
            "done": self._done,
            "scores": [list(scores) for scores in self._scores],
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self._inner.load_state_dict(state["inner"])
        self._asked, self._done = state["asked"], state["done"]
        self._running = {id_: _model(fields) for id_, *fields in state["running"]}
        self._waiting = deque(map(_model, state["waiting"]))
        self._trial_ids = TrialIds(state["firsts"], proposals=PARENTS)
        self.hurdles = list(state["hurdles"])
        self._scores = [deque(scores, maxlen=self.models) for scores in state["scores"]]


class _Model(NamedTuple):
    """An architecture in training, or waiting to go on.

    Attributes:
        architecture: Its decisions.
        stage: Number of the length that it is trained to.
        origin: Trial that began the training.
        trial: The last trial of it.
        inner_id: What the inner controller calls it.
        inner_parent: What that calls its parent.
        score: Of the last length that is done.
        metrics: Likewise.
    """

    architecture: Architecture
    stage: int
    origin: int
    trial: int
    inner_id: int
    inner_parent: int | None = None
    score: float | None = None
    metrics: dict[str, float] | None = None


def _model(fields: Any) -> _Model:
    architecture, *rest = fields
    return _Model(tuple(architecture), *rest)
