"""Q-learning: the schedule of epsilon, the table's updates, replay, rewards."""

import itertools
import json
import math

import pytest

from archsearch import Space, search
from archsearch.controllers import QLearning
from archsearch.errors import UsageError
from archsearch.evaluators import Function
from archsearch.spaces import BlockQNN, MetaQNN
from archsearch.trial import Evaluation, Trial


class Two(Space):
    """Two decisions of two options; a decision's options do not depend on the first."""

    def __init__(self):
        super().__init__(arities=[2, 2])


class Wide(Space):
    """So many architectures that none is drawn twice."""

    def __init__(self):
        super().__init__(arities=[10] * 12)


def started(space, **settings):
    controller = QLearning(**settings)
    controller.start(space, 0)
    return controller


def tell(controller, architecture, score, metrics=None):
    (proposal,) = controller.ask()
    controller.tell([Trial(proposal.id, architecture, None, Evaluation(score, metrics or {}))])


def values(controller, prefix):
    """What the table has for the options behind a prefix."""
    return controller._table[controller._rows[controller._key(prefix)]]


@pytest.mark.parametrize(("models", "scale"), [(2700, 1), (270, 10)])
def test_epsilon_falls_as_in_the_paper_over_2700_new_models(models, scale):
    controller = started(Wide(), models=models)
    seen = []
    for _ in range(models):
        seen.append(controller.epsilon)
        controller.ask()
    lengths = {epsilon: len(list(group)) for epsilon, group in itertools.groupby(seen)}
    expected = {1.0: 1500, 0.9: 100, 0.8: 100, 0.7: 100, 0.6: 150, 0.5: 150, 0.4: 150, 0.3: 150, 0.2: 150, 0.1: 150}
    assert lengths == {epsilon: length / scale for epsilon, length in expected.items()}
    assert sum(expected.values()) == 2700
    assert controller.epsilon == 0.1  # it stays


def test_only_new_models_count():
    controller = started(Two(), models=8)
    controller.ask(100)
    assert controller._new == 4
    assert controller.epsilon == 1.0


def test_an_update_is_that_of_the_paper():
    controller = started(Two(), learning_rate=0.1, replay=0)
    tell(controller, (0, 1), 1.0)
    assert values(controller, (0,)) == [0.5, pytest.approx(0.5 + 0.1 * (1.0 - 0.5))]
    # The decision before it is rewarded with nothing of its own, and with the best that follows.
    assert values(controller, ()) == [pytest.approx(0.5 + 0.1 * (0.55 - 0.5)), 0.5]
    tell(controller, (0, 0), 0.0)
    assert values(controller, (0,)) == [pytest.approx(0.45), pytest.approx(0.55)]
    assert values(controller, ())[0] == pytest.approx(0.505 + 0.1 * (0.55 - 0.505))


def test_shaped_rewards_are_spread_over_the_decisions():
    controller = started(Two(), learning_rate=1.0, replay=0, shaped=True, initial=0.0)
    tell(controller, (1, 1), 0.8)
    assert values(controller, (1,)) == [0.0, pytest.approx(0.4)]
    assert values(controller, ()) == [0.0, pytest.approx(0.4 + 0.4)]


def test_each_result_is_learnt_with_128_from_the_memory(monkeypatch):
    controller = started(Wide())
    learnt = []
    monkeypatch.setattr(controller, "_learn", learnt.append)
    for number in range(3):
        tell(controller, (number,) * 12, 0.5)
    assert [len(learnt[i * 129 : (i + 1) * 129]) for i in range(3)] == [129] * 3
    assert {result.architecture for result in learnt[258:]} == {(number,) * 12 for number in range(3)}
    assert learnt[258].architecture == (2,) * 12  # the new one comes first


def test_scores_in_percent_are_brought_to_shares():
    controller = started(Two(), learning_rate=1.0, replay=0)
    tell(controller, (0, 0), 80.0)
    tell(controller, (0, 1), 60.0)
    assert values(controller, (0,)) == [pytest.approx(1.0), pytest.approx(0.75)]
    tell(controller, (1, 0), -20.0)
    assert values(controller, (1,))[0] == 0.0


def test_the_reward_of_a_stopped_training_is_corrected_by_cost_and_density():
    space = BlockQNN(layers=4)
    architecture = space.parse("1,1,3,0,0 2,1,3,1,0 3,5,0,2,0 4,7,0,0,0")
    (proposal,) = started(space).ask()
    trial = Trial(proposal.id, architecture, None, Evaluation(90.0, {"flops": 1000.0}))
    controller = started(space, flops_weight=2.0, density_weight=8.0)
    density = 5 / 5  # 0-1, 1-2, 2-3, 0-3, and the way out; input, three layers and the output
    assert controller._reward(trial) == pytest.approx(90 - 2 * math.log(1000) - 8 * math.log(density))
    assert started(space)._reward(trial) == 90.0
    denser = space.parse("1,1,3,0,0 2,5,0,1,0 3,5,0,2,1 4,5,0,3,2 5,7,0,0,0")
    cost = controller._reward(trial) - controller._reward(trial._replace(architecture=denser))
    assert cost == pytest.approx(8 * math.log(8 / 6))


def test_a_state_is_what_may_follow_and_the_last_layer():
    controller = started(MetaQNN())

    def key(text):
        space = controller.space
        return controller._key(space.parse(text + ", SM")[:-1])

    one = key("C(64,3,1), C(128,5,1), C(256,3,1)")
    assert one == key("C(512,1,1), C(64,1,1), C(256,3,1)")
    assert one != key("C(512,1,1), C(64,1,1), C(256,5,1)")
    assert one != key("C(64,1,1), C(256,3,1)")  # the depth counts
    assert one != key("C(64,3,1), P(2,2), C(256,3,1)")  # so does the size of the maps


def test_all_workers_share_one_table_whatever_order_results_come_in():
    space = Two()
    one, other = (started(space, learning_rate=0.5, replay=0) for _ in range(2))
    for controller, order in ((one, (0, 1, 2)), (other, (2, 0, 1))):
        proposals = controller.ask(3)
        trials = [Trial(proposals[i].id, (1, i % 2), None, Evaluation(1.0)) for i in order]
        controller.tell(trials)
    assert one._rows == other._rows
    assert values(one, (1,)) == values(other, (1,))


def test_a_search_on_the_toy_of_layers_finds_what_it_rewards():
    """Five layers, of which the score wants 3x3 convolutions, a pooling and average pooling at the end."""
    space = MetaQNN(layers=5, image=8, filters=[8, 16], units=[16])

    def reward(layers):
        wanted = ["C(16,3,1)", "C(16,3,1)", "P(2,2)", "C(16,3,1)", "GAP"]
        hits = sum(str(layer) == want for layer, want in zip(layers, wanted, strict=False))
        return hits / 5 - 0.05 * abs(len(layers) - 5)

    best = (
        search(space, QLearning(models=400), Function(reward), trials=400, seed=0).history.table()["score"].to_pylist()
    )
    assert max(best[300:]) >= 0.8
    assert sum(best[300:]) / 100 > sum(best[:200]) / 200 + 0.2


def test_the_state_is_json_and_goes_on_alike():
    controller = started(MetaQNN(layers=5, image=8), models=40)
    for number, proposal in enumerate(controller.ask(40)):
        controller.tell([Trial(*proposal[:3], Evaluation(number / 40))])
    again = started(MetaQNN(layers=5, image=8), models=40)
    again.load_state_dict(json.loads(json.dumps(controller.state_dict())))
    assert again.ask(10) == controller.ask(10)
    assert again._table == controller._table


@pytest.mark.parametrize(
    "settings",
    [
        {"models": 0},
        {"learning_rate": 0.0},
        {"discount": 1.1},
        {"replay": -1},
        {"remembered": -1},
        {"flops_weight": -1},
    ],
)
def test_settings_out_of_range_are_named(settings):
    (name,) = settings
    with pytest.raises(UsageError, match=f"QLearning: {name}"):
        QLearning(**settings)
