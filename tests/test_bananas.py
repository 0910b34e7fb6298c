"""``Bananas`` and ``BayesianOptimization``: rounds, draws, results that are due, no repeats, bounded labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from archsearch import Evaluation, Space, Trial, search
from archsearch.controllers import Bananas, BayesianOptimization, RandomSearch
from archsearch.controllers import bayesian_optimization as module
from archsearch.errors import UsageError
from archsearch.evaluators import Tabular
from archsearch.model import Features, Model, Prediction
from archsearch.models import GaussianProcess
from archsearch.spaces import NASBench201
from archsearch.testing import ConditionalSpace, FixedSpace, OnePointSpace, SeparableSpace, VariableLengthSpace
from archsearch.trial import Architecture, Proposal

BOTH = pytest.mark.parametrize("kind", [Bananas, BayesianOptimization])


class Share(Model):
    """Expects what the share of threes says, with a spread that it is given; counts what it is fitted to."""

    def __init__(self, spread: float = 0.0) -> None:
        self.spread = spread
        self.fits: list[tuple[list[Architecture], npt.NDArray[np.float64], int]] = []

    def _fit(self, rng: np.random.Generator) -> None:
        self.fits.append((self.architectures, self.scores, self._seed))

    def _predict(self, architectures: Sequence[Architecture], features: Features | None) -> Prediction:
        return Prediction(np.array([share(a) for a in architectures]), np.full(len(architectures), self.spread))


def share(architecture: Architecture) -> float:
    return sum(option == 3 for option in architecture) / len(architecture)


def started(kind: Callable[..., BayesianOptimization], space: Space | None = None, seed: int = 0, **changes: object):
    controller = kind(**{"model": Share(), "initial": 10, "batch": 10, **changes})
    controller.start(FixedSpace() if space is None else space, seed)
    return controller


def result(proposal: Proposal, score: float | None = None, failed: bool = False) -> Trial:
    evaluation = None if failed else Evaluation(share(proposal.architecture) if score is None else score)
    return Trial(proposal.id, proposal.architecture, proposal.parent, evaluation, failure="timeout" if failed else "")


def run(controller: BayesianOptimization, n: int) -> list[Proposal]:
    proposals: list[Proposal] = []
    for _ in range(n):
        proposals += controller.ask()
        controller.tell([result(proposals[-1])])
    return proposals


def fits(controller: BayesianOptimization) -> list[tuple[list[Architecture], npt.NDArray[np.float64], int]]:
    assert isinstance(controller._model, Share)
    return controller._model.fits


# -- settings ----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "settings",
    [
        {"initial": 1},
        {"batch": 0},
        {"candidates": 0},
        {"parents": 0},
        {"labels": 5},
        {"labels": 2.5},
        {"more_mutations": 1.0},
        {"more_mutations": -0.1},
        {"more_mutations": "often"},
        {"model": "GaussianProcess"},
    ],
)
def test_wrong_settings(kind: type[BayesianOptimization], settings: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"{kind.__name__}: {next(iter(settings))}"):
        kind(**settings)  # type: ignore[arg-type]


@BOTH
def test_the_model_of_the_caller_is_left_alone(kind: type[BayesianOptimization]) -> None:
    model = GaussianProcess()
    run(started(kind, model=model, candidates=20), 30)
    with pytest.raises(UsageError, match="call fit before predict"):
        model.predict([(0,) * 6])


# -- rounds ------------------------------------------------------------------------------------------


def test_bayesian_optimization_fits_after_six_results_and_every_three() -> None:
    controller = started(
        BayesianOptimization, initial=BayesianOptimization().initial, batch=BayesianOptimization().batch
    )
    run(controller, 20)
    assert [len(architectures) for architectures, _, _ in fits(controller)] == [6, 9, 12, 15, 18]


def test_lengths_are_kept_until_there_are_more_results_by_an_eighth(monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: list[int] = []
    learn = GaussianProcess._learn

    def counted(self: GaussianProcess, groups: Any, rng: np.random.Generator) -> Any:
        learnt.append(len(self.targets))
        return learn(self, groups, rng)

    monkeypatch.setattr(GaussianProcess, "_learn", counted)
    controller = started(BayesianOptimization, model=GaussianProcess(), initial=6, batch=3, candidates=20)
    run(controller, 60)
    assert learnt == [6, 9, 12, 15, 18, 21, 27, 33, 39, 45, 54]
    restored = started(BayesianOptimization, model=GaussianProcess(), initial=6, batch=3, candidates=20)
    restored.load_state_dict(controller.state_dict())
    assert [p.architecture for p in run(restored, 9)] == [p.architecture for p in run(controller, 9)]


@BOTH
def test_ten_random_ones_then_fourteen_rounds_of_ten(kind: type[BayesianOptimization]) -> None:
    controller = started(kind)
    proposals = run(controller, 150)
    assert [len(architectures) for architectures, _, _ in fits(controller)] == list(range(10, 150, 10))
    assert {p.parent for p in proposals[:10]} == {None}
    for number, (architectures, scores, _) in enumerate(fits(controller)):
        assert architectures == [p.architecture for p in proposals[: 10 * number + 10]]
        assert scores.tolist() == [share(a) for a in architectures]
    assert len({seed for _, _, seed in fits(controller)}) == 14


def test_bananas_mutates_the_best() -> None:
    proposals = run(started(Bananas, parents=3, more_mutations=0.0), 60)
    for first in range(10, 60, 10):
        before = sorted(proposals[:first], key=lambda p: (-share(p.architecture), p.id))
        for proposal in proposals[first : first + 10]:
            parent = next(p for p in before[:3] if p.id == proposal.parent)
            assert proposal.architecture != parent.architecture


@pytest.mark.parametrize(("more", "expected"), [(0.0, 1.0), (0.5, 2.0), (0.75, 4.0)])
def test_number_of_mutations(more: float, expected: float) -> None:
    """In a space this wide no decision is mutated twice, so the distance counts them."""
    controller = started(Bananas, Space(arities=[1000] * 400), parents=1, more_mutations=more)
    (first, *_) = sorted(run(controller, 10), key=lambda p: (-share(p.architecture), p.id))
    children = [each.architecture for each in controller._mutations(1000)]
    changed = [sum(a != b for a, b in zip(child, first.architecture, strict=True)) for child in children]
    assert np.mean(changed) == pytest.approx(expected, abs=0.45)  # four standard errors


def test_a_mutation_that_is_known_is_mutated_on() -> None:
    controller = started(Bananas, Space(arities=(2, 2, 2, 2)), parents=1, more_mutations=0.0, initial=11)
    known = {p.architecture for p in run(controller, 8)} | {p.architecture for p in controller.ask(3)}
    assert len(known) == 11
    assert not {each.architecture for each in controller._mutations(200)} & known


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_bananas_draws_scores_independently(spread: float) -> None:
    controller = started(Bananas)
    mean = np.linspace(-1, 1, 20_000)
    draws = controller._worth(Prediction(mean, np.full(20_000, spread)))
    assert (draws - mean).std() == pytest.approx(spread, rel=0.03)
    assert (draws - mean).mean() == pytest.approx(0.0, abs=0.02)


def test_expected_improvement_is_the_integral() -> None:
    controller = started(BayesianOptimization)
    run(controller, 10)
    controller._fit()
    best = max(share(label.architecture) for label in controller._labels)
    mean, spread = np.array([-1.0, 0.2, 0.5, 2.0, 2.0]), np.array([1.0, 0.5, 2.0, 0.3, 0.0])
    found = controller._worth(Prediction(mean, spread))
    for m, s, value in zip(mean[:4], spread[:4], found[:4], strict=True):
        integral, _ = quad(lambda y, m=m, s=s: (y - best) * norm.pdf(y, m, s), best, m + 12 * s)
        assert value == pytest.approx(integral, abs=1e-6)
    assert found[4] == pytest.approx(2.0 - best)


def test_a_small_space_is_looked_at_as_a_whole() -> None:
    space = Space(arities=(4,) * 4)
    controller = started(BayesianOptimization, space, candidates=256, batch=1)
    assert [each.architecture for each in controller._candidates()] == list(space.enumerate())
    *known, chosen = (p.architecture for p in run(controller, 11))
    assert share(chosen) == max(share(architecture) for architecture in set(space.enumerate()) - set(known))


# -- results that are due, failures --------------------------------------------------------------------


@BOTH
def test_thirty_without_results_are_thirty_random_ones(kind: type[BayesianOptimization]) -> None:
    controller = started(kind)
    proposals = controller.ask(30)
    assert len({p.architecture for p in proposals}) == 30
    assert {p.parent for p in proposals} == {None}
    assert not fits(controller)


@BOTH
def test_what_is_due_is_fitted_with_what_the_model_expects(kind: type[BayesianOptimization]) -> None:
    controller = started(kind)
    told = run(controller, 10)
    due = controller.ask(30)
    later = controller.ask()
    assert len({p.architecture for p in [*told, *due, *later]}) == 41
    last, believing = fits(controller)[-2:]
    assert last[0] == [p.architecture for p in told]
    assert believing[0] == [p.architecture for p in [*told, *due]]
    assert believing[1][:10].tolist() == last[1].tolist()
    model = Share()
    model.fit(FixedSpace(), last[0], last[1])
    assert believing[1][10:] == pytest.approx(model.predict([p.architecture for p in due]).mean)
    assert last[2] == believing[2]


@BOTH
def test_only_the_newest_that_are_due_are_believed(
    kind: type[BayesianOptimization], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BELIEVED", 7)
    controller = started(kind)
    run(controller, 10)
    due = controller.ask(20)
    controller.ask()
    assert fits(controller)[-1][0][10:] == [p.architecture for p in due[-7:]]


def test_a_gaussian_process_looks_elsewhere_than_where_results_are_due() -> None:
    controller = started(BayesianOptimization, model=GaussianProcess(), candidates=50)
    run(controller, 30)
    due = [p.architecture for p in controller.ask(10)]
    controller._fit()
    believing = controller._model.predict_targets(due).spread
    controller._pending = {}
    controller._fit()
    assert (believing < 0.9 * controller._model.predict_targets(due).spread).all()


@BOTH
def test_failures_are_no_labels_and_are_not_proposed_again(kind: type[BayesianOptimization]) -> None:
    controller = started(kind)
    failed = controller.ask(40)
    controller.tell([result(p, failed=True) for p in failed])
    assert {p.parent for p in run(controller, 10)} == {None}  # still none to learn from
    later = run(controller, 100)
    assert not {p.architecture for p in failed} & {p.architecture for p in later}
    assert all(p.parent is None or p.parent >= 40 for p in later)


# -- no repeats ----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("space", [FixedSpace(), VariableLengthSpace(), NASBench201()])
def test_no_network_is_proposed_twice(kind: type[BayesianOptimization], space: Space) -> None:
    proposals = run(started(kind, space), 300)
    assert len({space.canonical(p.architecture) for p in proposals}) == 300


@BOTH
@pytest.mark.parametrize("space", [OnePointSpace(), Space(arities=(3, 4))])
def test_a_small_space_is_exhausted_then_repeated(kind: type[BayesianOptimization], space: Space) -> None:
    controller = started(kind, space)
    proposals = run(controller, 60)
    assert {p.architecture for p in proposals[: space.size()]} == set(space.enumerate())
    assert len(fits(controller)) == (1 if space.size() > 10 else 0)  # none where nothing is left to choose


# -- labels --------------------------------------------------------------------------------------------


@BOTH
def test_the_newest_and_the_best_labels_are_kept(kind: type[BayesianOptimization]) -> None:
    controller = started(kind, SeparableSpace(), labels=40)
    scores = np.random.default_rng(0).random(200).tolist()
    for score in scores:
        (proposal,) = controller.ask()
        controller.tell([result(proposal, score)])
        assert min(proposal.id + 1, 30) <= len(controller._labels) <= 40
    ids = [label.id for label in controller._labels]
    assert 30 <= len(ids) <= 40  # several are forgotten at once
    assert ids == sorted(ids)
    assert set(range(180, 200)) <= set(ids)
    older = [id_ for id_ in ids if id_ < 180]
    assert set(np.argsort(scores[:180])[-10:].tolist()) <= set(older)


# -- state, quality ------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("space", [FixedSpace(), ConditionalSpace(), VariableLengthSpace()])
@pytest.mark.parametrize("trials", [4, 10, 33])
def test_restored_in_the_middle_of_a_round_it_goes_on_exactly(
    kind: type[BayesianOptimization], space: Space, trials: int
) -> None:
    controller, restored = (started(kind, space, seed, model=GaussianProcess(), candidates=40) for seed in (0, 9))
    run(controller, trials)
    due = controller.ask(6)
    restored.load_state_dict(json.loads(json.dumps(controller.state_dict())))
    for each in (controller, restored):
        each.tell([result(p) for p in due[:4]])
    assert run(restored, 40) == run(controller, 40)


@BOTH
def test_beats_random_search_on_a_separable_landscape(kind: type[BayesianOptimization]) -> None:
    """100 trials among 244 million: the best share of threes, of which twelve make 1."""
    space = SeparableSpace()
    ours = [max(share(p.architecture) for p in run(started(kind, space, s, model=None), 100)) for s in range(5)]
    rng = np.random.default_rng(0)
    theirs = [max(share(space.sample(rng)) for _ in range(100)) for _ in range(5)]
    assert np.mean(ours) - np.mean(theirs) > 0.25
    assert min(ours) > max(theirs)


@BOTH
def test_finds_clearly_better_cells_than_random_search(kind: type[BayesianOptimization]) -> None:
    """NAS-Bench-201, validation accuracy on CIFAR-10, 100 evaluations: over 100 other seeds it is ahead by 0.5."""
    space, table = NASBench201(), Tabular()

    def best(controller, seed: int) -> float:
        found = search(space, controller, table, trials=100, seed=seed).best
        assert found is not None
        return found.score

    ours = np.array([best(kind(), seed) for seed in range(10)])
    theirs = np.array([best(RandomSearch(), seed) for seed in range(10)])
    assert ours.mean() - theirs.mean() > 0.25
    assert (ours >= theirs).sum() >= 9
