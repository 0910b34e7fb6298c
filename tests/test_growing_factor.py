"""A factor that grows is that of LAPACK, and to the last bit the same however its rows came; so are searches."""

from __future__ import annotations

import json

import numpy as np
import pytest

from archsearch import Evaluation, Space, Trial
from archsearch.controllers import BayesianOptimization
from archsearch.models import GaussianProcess
from archsearch.models.growing_factor import BLOCK, GrowingFactor
from archsearch.spaces import NASBench201
from archsearch.testing import ConditionalSpace

ROWS = 3 * BLOCK + 7


def covariance(seed: int = 0) -> np.ndarray:
    inputs = np.random.default_rng(seed).normal(size=(ROWS, 5))
    return np.exp(-np.square(inputs[:, None] - inputs[None]).sum(2) / 4) + 0.01 * np.eye(ROWS)


def grown(matrix: np.ndarray, *sizes: int) -> GrowingFactor:
    factor = GrowingFactor()
    for rows in sizes:
        factor.extend(rows, lambda begin, end: matrix[begin:end, :end])
    return factor


def parts(factor: GrowingFactor) -> list[bytes]:
    return [part.tobytes() for part in (*factor._below, *factor._inverses)]


def test_it_solves_what_lapack_solves() -> None:
    matrix, right = covariance(), np.random.default_rng(1).normal(size=(ROWS, 4))
    factor, lower = grown(matrix, ROWS), np.linalg.cholesky(matrix)
    np.testing.assert_allclose(factor.forward(right), np.linalg.solve(lower, right), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        factor.backward(right[:, 0]), np.linalg.solve(lower.T, right[:, 0]), rtol=1e-8, atol=1e-8
    )
    single = factor.forward_single(right.astype(np.float32))
    np.testing.assert_allclose(single, factor.forward(right), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "sizes", [(1, ROWS), (BLOCK, 2 * BLOCK, ROWS), tuple(range(1, ROWS + 1, 3)), (BLOCK + 1, BLOCK + 1, ROWS)]
)
def test_it_is_the_same_however_rows_came(sizes: tuple[int, ...]) -> None:
    matrix = covariance()
    assert parts(grown(matrix, *sizes, ROWS)) == parts(grown(matrix, ROWS))


@pytest.mark.parametrize("kept", [0, 5, BLOCK, BLOCK + 3, 3 * BLOCK + 1, ROWS])
def test_rows_that_are_taken_back_leave_no_trace(kept: int) -> None:
    first, other = covariance(), covariance(1)
    mixed = other.copy()
    mixed[:kept, :kept] = first[:kept, :kept]
    factor = grown(first, ROWS)
    factor.keep(kept)
    factor.extend(ROWS, lambda begin, end: other[begin:end, :end] if kept == 0 else first[begin:end, :end])
    assert parts(factor) == parts(grown(other if kept == 0 else first, ROWS))


def test_no_factor_of_what_is_not_positive_definite() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        grown(-np.eye(ROWS), ROWS)


@pytest.mark.parametrize("space", [NASBench201(), ConditionalSpace(), Space(arities=[3] * 12)])
def test_a_model_that_grew_is_the_one_that_was_fitted_at_once(space: Space) -> None:
    rng = np.random.default_rng(0)
    drawn = list(dict.fromkeys(space.sample(rng) for _ in range(400)))
    labels, asked = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
    scores = rng.normal(size=len(labels))
    model, other = GaussianProcess(), GaussianProcess()
    model.quick = other.quick = True
    model.fit(space, labels[:8], scores[:8])
    learnt = model.learnt
    for n in (*range(9, len(labels), 5), len(labels)):
        model.fit(space, [*labels[:n], *asked[:4]], [*scores[:n], *[0.5] * 4], learnt=learnt)  # some are due
        model.fit(space, labels[:n], scores[:n], learnt=learnt)
    other.fit(space, labels, scores, learnt=learnt)
    assert model.learnt == other.learnt == learnt
    for found, expected in zip(model.predict_targets(asked), other.predict_targets(asked), strict=True):
        assert found.tobytes() == expected.tobytes()
    slow = GaussianProcess()
    slow.fit(space, labels, scores, learnt=learnt)
    np.testing.assert_allclose(slow.predict_targets(asked), other.predict_targets(asked), atol=2e-3)


def test_the_shortlist_has_what_is_worth_most() -> None:
    space, rng = Space(arities=[4] * 10), np.random.default_rng(0)
    drawn = list(dict.fromkeys(space.sample(rng) for _ in range(700)))
    scores = [sum(option == 1 for option in each) for each in drawn[:350]]
    model = GaussianProcess()
    model.quick = True
    model.fit(space, drawn[:40], scores[:40])
    assert model.shortlist(drawn, 10) == list(range(len(drawn)))  # with few labels: all
    model.fit(space, drawn[:350], scores)
    listed = model.shortlist(drawn[350:], 40)
    assert len(set(listed)) == 40
    mean, spread = model.predict_targets(drawn[350:])
    assert set(np.argsort(-mean - spread)[:10].tolist()) <= set(listed)


def test_states_of_before_are_read() -> None:
    """Lengths were in units that depended on the labels: they are learnt anew."""
    space = Space(arities=[3] * 12)
    controller, restored = BayesianOptimization(candidates=40), BayesianOptimization(candidates=40)
    controller.start(space, 0)
    for _ in range(20):
        (proposal,) = controller.ask()
        controller.tell(
            [Trial(proposal.id, proposal.architecture, None, Evaluation(float(sum(proposal.architecture))))]
        )
    state = json.loads(json.dumps(controller.state_dict()))
    state["state"]["learnt"] = state["state"].pop("lengths")
    restored.start(space, 1)
    restored.load_state_dict(state)
    assert restored._learnt == []
    assert restored._told == 20
    assert len({p.architecture for p in restored.ask(12)}) == 12
