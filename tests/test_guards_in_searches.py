"""Guards that go back, wipe candidates out, drop skips or punish entropy, in small searches."""

import pytest
import torch
from differentiable_search_lab import SPACE, Killed, kill_after, learnt, make, prepared, same, started, untimed

from archsearch.differentiable.costs import candidate_costs
from archsearch.differentiable.guards import (
    AdaptiveDecay,
    EntropyPenalty,
    Guard,
    OperationDropout,
    Retry,
    StableRanking,
)
from archsearch.differentiable.optimisations import OneLevel
from archsearch.differentiable.relaxations import PartialChannels
from archsearch.errors import UsageError
from archsearch.evaluators.search_records import drop_by_discretisation

# -- going back ----------------------------------------------------------------------------------------


class Back(Guard):
    """Goes back once, from the fourth epoch to the second."""

    keeps = 2

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.asked: list[float] = []

    def retry(self, records, decay):
        self.asked.append(decay)
        return Retry(2, decay * self.factor) if len(records) == 4 and len(self.asked) == 4 else None


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
def test_a_search_that_goes_back_repeats_what_it_did(tmp_path, on_disk):
    plain = prepared(epochs=4)
    evaluator = started(folder=tmp_path if on_disk else None, epochs=4, guards=[Back(1.0)])
    files = []
    evaluator.on_progress = lambda *_: files.append(sorted(p.name for p in tmp_path.glob("super-network-*")))
    cost = evaluator.prepare()
    (values, strengths, records), (others, theirs, first) = learnt(evaluator), learnt(plain)
    assert all(torch.equal(value, others[name]) for name, value in values.items())
    assert strengths == theirs
    assert [{k: v for k, v in record.items() if k != "weight_decay"} for record in records] == first
    assert cost.updates == 6 * 4  # what was spent on the two epochs is spent
    assert "taken back from epoch 4 to 2 with weight decay" in evaluator.note
    assert len(evaluator.curve) == 4
    assert max(map(len, files)) == (2 if on_disk else 0)
    assert not list(tmp_path.glob("super-network-*"))  # at the end none is left
    assert not evaluator._shared._earlier._memory


def test_it_goes_on_with_the_greater_decay():
    plain, evaluator = prepared(epochs=4), prepared(epochs=4, guards=[Back(100.0)])
    decay = plain.trainer.recipe.weight_decay
    assert evaluator._shared.retries == [(4, 2, 100 * decay)]
    assert [record["weight_decay"] for record in evaluator.records] == [decay, decay, 100 * decay, 100 * decay]
    assert [r["train_loss"] for r in evaluator.records[:2]] == [r["train_loss"] for r in plain.records[:2]]
    norms = [
        sum(v.square().sum() for n, v in each._shared.values().items() if "weight" in n) for each in (evaluator, plain)
    ]
    assert norms[0] < norms[1]


RISING = {"ratio": 1.0001, "window": 1, "lag": 1, "first": 2, "factor": 3.0, "most": 4e-3}


@pytest.mark.parametrize("epoch", [1, 2])
def test_adaptive_decay_that_is_killed_goes_on_to_the_same_result(tmp_path, epoch):
    whole = started(epochs=4, guards=[AdaptiveDecay(**RISING)], architecture_rate=0.1)
    cost = whole.prepare()
    assert whole._shared.retries, "a search in which the eigenvalue rises, or this test shows nothing"
    settings = {"epochs": 4, "guards": [AdaptiveDecay(**RISING)], "architecture_rate": 0.1, "folder": tmp_path}
    killed = started(**settings)
    kill_after(killed, epoch)
    with pytest.raises(Killed):
        killed.prepare()
    again = started(**settings)
    assert untimed(again.prepare()) == untimed(cost)
    assert same(whole, again)
    assert whole._shared.retries == again._shared.retries


def test_a_state_that_is_damaged_is_said_and_the_search_goes_on(tmp_path):
    evaluator = started(folder=tmp_path, epochs=4, guards=[Back(3.0)])

    def spoil(what, done, total):
        if done == 3:
            (tmp_path / "super-network-2.safetensors").write_bytes(b"nothing")

    evaluator.on_progress = spoil
    with pytest.warns(UserWarning, match="super-network-2.*the search does not go back"):
        evaluator.prepare()
    assert [each[:2] for each in evaluator._shared.retries] == [(4, 4)]
    assert len(evaluator.records) == 4


def test_a_training_without_decay_has_nothing_to_multiply():
    with pytest.raises(UsageError, match="AdaptiveDecay: expected a training with a weight_decay above 0"):
        started(training={"weight_decay": 0.0}, guards=[AdaptiveDecay()])


# -- wiping out ----------------------------------------------------------------------------------------


class Wipe(Guard):
    """Wipes candidates out after the first epoch, and tries to bring all back after the second."""

    def __init__(self, gone: list) -> None:
        self.gone = gone

    def prune(self, parameters, now, records):
        if len(records) == 1:
            for alive in parameters.by_choice(parameters.alive):
                alive[self.gone] = False
        else:
            parameters.alive[:] = True


def test_candidates_that_are_wiped_out_do_not_return_nor_run_nor_cost():
    evaluator = started(epochs=3, guards=[Wipe([0, 3])])
    bills = []
    evaluator.on_progress = lambda *_: bills.append(evaluator._shared._facts["prepared"][4])
    evaluator.prepare()
    assert [record["candidates"] for record in evaluator.records] == [5, 3, 3]
    assert not {0, 3} & set(evaluator.derived())
    assert all(evaluator._shared._facts["strengths"][i][j] == 0 for i in range(6) for j in (0, 3))
    assert all(evaluator.probabilities((1,) * i)[j] == 0 for i in range(6) for j in (0, 3))
    costs = candidate_costs(evaluator.trainer.begin(None, 0).network, SPACE.relaxed_choices(), (1, 8, 8))
    living = costs.of([{1: 1.0, 2: 1.0, 4: 1.0}] * 6)
    derived = costs.of(SPACE.selected(tuple(evaluator.records[2]["derived"])))
    # Halves of 64 images, for the weights and for the parameters; then both networks on 256 images.
    assert bills[2] - bills[1] == 2 * (3 * 64 * living + 256 * (living + derived))


def test_wiped_candidates_are_still_gone_when_a_search_goes_on(tmp_path):
    settings = {"epochs": 3, "guards": [Wipe([0, 3])]}
    whole = prepared(**settings)
    killed = started(folder=tmp_path, **settings)
    kill_after(killed, 1)
    with pytest.raises(Killed):
        killed.prepare()
    again = started(folder=tmp_path, **settings)
    again.prepare()
    assert same(whole, again)


def test_one_candidate_must_be_left():
    with pytest.raises(UsageError, match=r"Wipe.prune: expected a candidate of each choice to be left"):
        prepared(epochs=1, guards=[Wipe([0, 1, 2, 3, 4])])


# -- in a search -----------------------------------------------------------------------------------------


def test_entropy_falls_lower_with_its_penalty():
    for relaxation in (None, PartialChannels(2)):
        settings = {"relaxation": relaxation, "epochs": 5, "architecture_rate": 0.3}
        plain, pushed = prepared(**settings), prepared(**settings, guards=[EntropyPenalty(last=5.0)])
        assert pushed.records[-1]["entropy"] < 0.8 * plain.records[-1]["entropy"]


@pytest.mark.slow
def test_less_is_lost_by_discretisation_with_the_penalty_on_entropy():
    """Seeds 0 to 2: 29, 27 and 42 points without, 3, 2 and 6 with it; the margin is 10 points for seed 0."""
    training = {"train_examples": 300, "batch_size": 30, "learning_rate": 0.1}
    settings = {"training": training, "epochs": 12, "architecture_rate": 0.1}
    plain, pushed = prepared(**settings), prepared(**settings, guards=[EntropyPenalty(last=1.0)])
    assert pushed.records[-1]["entropy"] < 0.5 < plain.records[-1]["entropy"]
    assert drop_by_discretisation(pushed.records) < drop_by_discretisation(plain.records) - 10


def test_operation_dropout_is_in_all_passes_and_leaves_watching_alone():
    rates = {"first": [], "all": []}

    class Noted(OperationDropout):
        def perturbed(self, weights, now, loss):
            rates["all"].append(now.searching)
            return super().perturbed(weights, now, loss)

    evaluator = prepared(epochs=2, guards=[Noted(0.5)])
    assert sorted(rates["all"]) == [False] * 4 + [True] * 4
    assert evaluator.derived() in SPACE
    make(guards=[OperationDropout()], optimisation=OneLevel())  # it is for both at once


def test_a_ranking_that_stays_stops_a_search():
    evaluator = prepared(epochs=6, frozen=2, guards=[StableRanking(epochs=2)], architecture_rate=1e-6)
    assert evaluator._shared.stopped == 5
