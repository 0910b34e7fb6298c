"""REINFORCE: exact gradients, exact probabilities, learning, and results that come late, odd or never."""

import json
import math
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from common import Tree
from scipy import stats

from archsearch.components import build, describe
from archsearch.controllers import RandomSearch
from archsearch.controllers.policies import adam_step
from archsearch.controllers.reinforce import Reinforce
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Space
from archsearch.trial import Architecture, Evaluation, Proposal, Trial

POLICIES = ("lstm", "softmax")
FLAT = Space(arities=[5] * 6)
VALUES = np.array([np.random.default_rng(i).permutation(5) / 4 for i in range(6)])


class Words(Space):
    """Variable length: 0 ends a word, and so does the fifth letter."""

    def __init__(self) -> None:
        super().__init__(max_length=5, max_options=3)

    def arity(self, prefix: Architecture) -> int:
        return 0 if len(prefix) == 5 or prefix[-1:] == (0,) else 3


SPACES: tuple[Callable[[], Space], ...] = (lambda: FLAT, Tree, Words)


def separable(architecture: Architecture) -> float:
    """Mean over the decisions of a value 0, 1/4, 1/2, 3/4 or 1, permuted for each: 0.5 for a random one, at best 1."""
    return float(VALUES[np.arange(6), architecture].mean())


def result(proposal: Proposal, score: float | None) -> Trial:
    evaluation = None if score is None else Evaluation(score)
    return Trial(proposal.id, proposal.architecture, evaluation=evaluation, failure="" if evaluation else "exception")


def started(policy: str = "softmax", space: Space = FLAT, seed: int = 0, **settings: object) -> Reinforce:
    controller = Reinforce(policy, **settings)  # type: ignore[arg-type]
    controller.start(space, seed)
    return controller


def run(controller: RandomSearch | Reinforce, score: Callable[[Architecture], float], n: int) -> list[float]:
    scores = []
    for _ in range(n):
        proposal = controller.ask()[0]
        scores.append(score(proposal.architecture))
        controller.tell([result(proposal, scores[-1])])
    return scores


def proposals(controller: Reinforce, n: int) -> list[Proposal]:
    """What is proposed when the sum of an architecture's options is its score, with failures and late results."""
    asked: list[Proposal] = []
    for step in range(n):
        asked += controller.ask(1 + step % 3)
        for late in [proposal for proposal in asked if proposal.id in controller.pending][::-2]:
            controller.tell([result(late, float(sum(late.architecture)) if late.id % 5 else None)])
    return asked


def entropy(controller: Reinforce, space: Space) -> float:
    logs = controller.log_probabilities(list(space.enumerate()))
    return float(-(np.exp(logs) * logs).sum())


# -- learning ---------------------------------------------------------------------------------------------------


def test_softmax_policy_reaches_the_known_figures_on_a_separable_reward() -> None:
    late_entropies, late_rewards = [], []
    for seed in range(20):
        controller = started("softmax", seed=seed, learning_rate=0.01, baseline_decay=0.9)
        if seed == 0:
            assert entropy(controller, FLAT) == pytest.approx(6 * math.log(5), abs=1e-9)
        run(controller, separable, 1000)
        late_entropies.append(entropy(controller, FLAT))
        late_rewards.append(np.mean(run(controller, separable, 500)[-100:]))
    assert np.mean(late_entropies) <= 6.0
    assert np.mean(late_rewards) >= 0.95


@pytest.mark.parametrize("policy", POLICIES)
def test_learns_what_random_search_does_not(policy: str) -> None:
    for seed in range(3):
        learned = run(started(policy, seed=seed), separable, 700)
        baseline = RandomSearch()
        baseline.start(FLAT, seed)
        drawn = run(baseline, separable, 700)
        assert np.mean(learned[-100:]) > np.mean(drawn[-100:]) + 0.25


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("space", [Tree(), Words()], ids=["conditional", "variable length"])
def test_learns_on_spaces_whose_decisions_depend_on_each_other(policy: str, space: Space) -> None:
    best = {Tree: (1, 1, 2), Words: (2, 1, 0)}[type(space)]

    def score(architecture: Architecture) -> float:
        return sum(a == b for a, b in zip(architecture, best, strict=False)) - abs(len(architecture) - len(best))

    controller = started(policy, space, learning_rate=0.02)
    before = controller.log_probabilities([best])[0]
    run(controller, score, 600)
    assert before < math.log(0.1)
    assert controller.log_probabilities([best])[0] > math.log(0.6)


def test_entropy_bonus_pulls_the_lstm_to_uniform_decisions() -> None:
    controller = started("lstm", entropy_weight=1.0, learning_rate=0.01)
    before = entropy(controller, FLAT)
    run(controller, lambda _: 3.0, 160)
    assert before < entropy(controller, FLAT) <= 6 * math.log(5) + 1e-4


def test_an_entropy_bonus_keeps_a_policy_from_collapsing() -> None:
    with_bonus, without = (started(entropy_weight=w, learning_rate=0.1) for w in (0.5, 0.0))
    run(with_bonus, separable, 400)
    run(without, separable, 400)
    assert entropy(with_bonus, FLAT) > entropy(without, FLAT) + 1.0


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.95])
def test_baseline_is_the_moving_average_in_closed_form(decay: float) -> None:
    controller = started(baseline_decay=decay)
    rewards = run(controller, lambda a: float(sum(a)) - 7.0, 40)
    weights = decay ** np.arange(39.0, -1.0, -1.0)
    assert controller.baseline == pytest.approx(float(weights @ rewards / weights.sum()))


def test_equal_scores_teach_nothing() -> None:
    controller = started()
    run(controller, lambda _: 0.1 + 0.2, 50)
    assert controller.baseline == 0.1 + 0.2
    assert not np.any(controller.state_dict()["state"]["policy"]["table"])


@pytest.mark.parametrize("policy", POLICIES)
def test_scale_of_the_scores_does_not_matter(policy: str) -> None:
    small, large = started(policy, entropy_weight=0.1), started(policy, entropy_weight=0.1)
    run(small, separable, 60)
    run(large, lambda a: 2**20 * separable(a), 60)  # a power of two, so that rounding is the same
    assert small.state_dict()["state"]["policy"] == large.state_dict()["state"]["policy"]


def test_scaled_advantages_bound_outliers() -> None:
    controller = started(batch_size=1000, baseline_decay=0.9)
    run(controller, separable, 200)
    run(controller, lambda _: -1e9, 1)
    advantages = [advantage for _, advantage in controller.state_dict()["state"]["batch"]]
    assert advantages[0] == 0
    assert min(advantages) == advantages[-1] == pytest.approx(-1 / math.sqrt(0.1), rel=1e-6)
    assert 0.5 < np.std(advantages[100:200]) < 1.5


# -- probabilities and gradients --------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("make", SPACES[1:])
def test_probabilities_sum_to_one(policy: str, make: Callable[[], Space]) -> None:
    space = make()
    controller = started(policy, space, learning_rate=0.05)
    everything = list(space.enumerate())
    for _ in range(2):
        assert np.exp(controller.log_probabilities(everything)).sum() == pytest.approx(1, abs=1e-5)
        run(controller, lambda a: float(sum(a)), 40)
    one_by_one = [controller.log_probabilities([architecture])[0] for architecture in everything]
    assert controller.log_probabilities(everything) == pytest.approx(one_by_one, abs=1e-5)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("make", SPACES[1:])
@pytest.mark.parametrize("at_once", [1, 500])
def test_proposals_have_the_probabilities_of_the_policy(policy: str, make: Callable[[], Space], at_once: int) -> None:
    space = make()
    controller = started(policy, space, learning_rate=0.02)
    run(controller, lambda a: float(sum(a)), 40)
    everything = list(space.enumerate())
    n = 1500
    counts = Counter(p.architecture for _ in range(n // at_once) for p in controller.ask(at_once))
    expected = np.exp(controller.log_probabilities(everything)) * n
    observed = np.array([counts[architecture] for architecture in everything])
    assert observed.sum() == n
    rare = expected < 5
    groups = [
        (observed[~rare], expected[~rare]),
        (observed[rare].sum(keepdims=True), expected[rare].sum(keepdims=True)),
    ]
    seen, due = (np.concatenate(each) for each in zip(*groups, strict=True))
    statistic = float(((seen - due) ** 2 / np.maximum(due, 1e-9)).sum())
    assert stats.chi2.sf(statistic, len(seen) - 1) > 1e-3


@pytest.mark.parametrize("bonus", [0.0, 0.3])
def test_softmax_updates_equal_autograd_and_torch_adam(bonus: float) -> None:
    arities = (5, 2, 3, 5)
    space = Space(arities=arities)
    controller = started(
        "softmax", space, entropy_weight=bonus, batch_size=3, learning_rate=0.05, scale_advantage=False
    )
    controller.ask()  # the rows of the table are made when a decision is first met
    logits = torch.zeros(4, 5, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([logits], lr=0.05)
    for _ in range(25):
        asked = controller.ask(3)
        batch = []
        for proposal in asked:
            score = float(np.sin(np.arange(1, 5) @ proposal.architecture))
            batch.append((proposal.architecture, score - controller.baseline if proposal.id > 1 else 0.0))
            controller.tell([result(proposal, score)])
        rows = [row[:n] for row, n in zip(logits, arities, strict=True)]
        logs = torch.stack(
            [
                sum(row.log_softmax(0)[option] for row, option in zip(rows, architecture, strict=True))
                for architecture, _ in batch
            ]
        )
        entropies = sum(torch.distributions.Categorical(logits=row).entropy() for row in rows)
        advantages = torch.tensor([advantage for _, advantage in batch], dtype=torch.float64)
        loss = -(advantages * logs).mean() - bonus * entropies
        adam.zero_grad()
        loss.backward()
        adam.step()
    table = np.array(controller.state_dict()["state"]["policy"]["table"])
    np.testing.assert_allclose(table[0], logits.detach().numpy(), atol=1e-12)


def test_adam_on_tensors_equals_torch_adam() -> None:
    ours, theirs = torch.ones(7), torch.ones(7, requires_grad=True)
    mean, square = torch.zeros(7), torch.zeros(7)
    adam = torch.optim.Adam([theirs], lr=0.01)
    for step in range(1, 30):
        gradient = torch.sin(torch.arange(7.0) * step)
        adam_step(ours, gradient, mean, square, step, 0.01)
        theirs.grad = gradient
        adam.step()
    torch.testing.assert_close(ours, theirs.detach())


def test_a_decision_met_late_starts_as_fast_as_any_other() -> None:
    controller = started("softmax", Tree(), learning_rate=0.01)
    asked = controller.ask(200)
    short = [proposal for proposal in asked if proposal.architecture == (0,)]
    long = [proposal for proposal in asked if len(proposal.architecture) == 3]
    for i, proposal in enumerate(short):
        controller.tell([result(proposal, float(i % 2))])
    controller.tell([result(long[0], 5.0)])
    policy = controller.state_dict()["state"]["policy"]
    shape = np.array(policy["table"])[0, policy["labels"].index("shape")]
    taken = long[0].architecture[2]
    assert shape[taken] == pytest.approx(0.01)
    assert shape[:3].sum() == pytest.approx(-0.01)
    assert shape[3] == 0


# -- asynchronous results ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("make", SPACES)
def test_asks_far_ahead_and_takes_results_in_any_order(policy: str, make: Callable[[], Space]) -> None:
    space = make()
    controller = started(policy, space)
    asked = [*controller.ask(150), *(controller.ask()[0] for _ in range(150))]
    assert all(proposal.architecture in space for proposal in asked)
    order = np.random.default_rng(1).permutation(300)[:200]
    scores = (None, math.nan, math.inf, -1e30, 1e30, 0.0, 55.5)
    for position in order:
        controller.tell([result(asked[position], scores[position % len(scores)])])
    assert len(controller.pending) == 100
    assert all(proposal.architecture in space for proposal in controller.ask(20))
    assert np.isfinite(controller.log_probabilities([p.architecture for p in controller.ask(20)])).all()


@pytest.mark.parametrize("policy", POLICIES)
def test_failed_trials_change_nothing(policy: str) -> None:
    controller, untouched = started(policy), started(policy)
    asked = controller.ask(40)
    untouched.ask(40)
    controller.tell([result(proposal, math.nan if proposal.id % 2 else None) for proposal in asked])
    assert controller.state_dict()["state"] == untouched.state_dict()["state"]
    assert controller.ask(5) == untouched.ask(5)


def test_learns_only_when_a_batch_is_full() -> None:
    controller = started("lstm", batch_size=4)
    asked = controller.ask(4)
    start = controller.state_dict()["state"]["policy"]
    controller.tell([result(proposal, float(sum(proposal.architecture))) for proposal in asked[:3]])
    assert controller.state_dict()["state"]["policy"] == start
    controller.tell([result(asked[3], 9.0)])
    state = controller.state_dict()["state"]
    assert state["policy"] != start
    assert state["batch"] == []


@pytest.mark.parametrize("policy", POLICIES)
def test_smallest_spaces(policy: str) -> None:
    class Nothing(Space):
        def arity(self, prefix: Architecture) -> int:
            return 0

    for space, only in ((Space(arities=[1]), (0,)), (Nothing(max_length=1, max_options=1), ())):
        controller = started(policy, space, batch_size=2)
        run(controller, lambda _: random.Random(0).random(), 6)
        assert [proposal.architecture for proposal in controller.ask(2)] == [only] * 2
        assert controller.log_probabilities([only, only]) == pytest.approx([0, 0])


# -- reproducibility --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("make", SPACES)
def test_restored_run_equals_the_uninterrupted_one(policy: str, make: Callable[[], Space]) -> None:
    space = make()
    controller = started(policy, space, batch_size=7, entropy_weight=0.05)
    proposals(controller, 35)
    state = json.loads(json.dumps(controller.state_dict()))
    assert state["state"]["batch"]
    restored = started(policy, space, seed=99, batch_size=7, entropy_weight=0.05)
    proposals(restored, 5)
    restored.load_state_dict(state)
    assert restored.pending == controller.pending != {}
    assert restored.state_dict() == controller.state_dict()
    assert proposals(restored, 35) == proposals(controller, 35)
    assert restored.state_dict() == controller.state_dict()


SCRIPT = """
import json, sys
sys.path.insert(0, {folder!r})
from test_reinforce import proposals, started
state = json.load(sys.stdin)
fresh = {{policy: started(policy, seed=7) for policy in state}}
before = {{policy: proposals(fresh[policy], 40) for policy in state}}
for policy in state:
    fresh[policy].load_state_dict(state[policy])
print(json.dumps([before, {{policy: proposals(fresh[policy], 20) for policy in state}}]))
"""


def test_fresh_process_makes_the_same_proposals_and_can_take_over() -> None:
    controllers = {policy: started(policy, seed=7) for policy in POLICIES}
    before = {policy: proposals(controllers[policy], 40) for policy in POLICIES}
    state = json.dumps({policy: controllers[policy].state_dict() for policy in POLICIES})
    after = {policy: proposals(controllers[policy], 20) for policy in POLICIES}
    script = SCRIPT.format(folder=os.path.dirname(__file__))
    environment = os.environ | {"PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script]
    answer = subprocess.run(command, input=state, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout) == json.loads(json.dumps([before, after]))
    assert before["lstm"] != [*proposals(started("lstm", seed=8), 40)]


@pytest.mark.parametrize("policy", POLICIES)
def test_no_global_generator_is_read_or_written(policy: str) -> None:
    def globals_state() -> tuple[object, ...]:
        name, keys, *rest = np.random.get_state()  # noqa: NPY002
        return random.getstate(), (name, keys.tolist(), rest), torch.get_rng_state().tolist()

    before = globals_state()
    first = proposals(started(policy), 30)
    assert globals_state() == before
    random.random(), np.random.random(), torch.rand(3)  # noqa: NPY002
    assert proposals(started(policy), 30) == first
    assert proposals(started(policy, seed=1), 30) != first


# -- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"policy": "transformer"},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"entropy_weight": -0.1},
        {"baseline_decay": 1.0},
        {"batch_size": 0},
        {"hidden_size": 0},
        {"layers": 0},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(settings))}.*got"):
        Reinforce(**settings)  # type: ignore[arg-type]


def test_settings_survive_as_plain_data() -> None:
    description = json.loads(json.dumps(describe(Reinforce("softmax", learning_rate=0.1))))
    assert describe(build(description, trust=True)) == description
    assert description["init_args"]["batch_size"] is None


def test_log_probabilities_of_a_stranger_are_refused() -> None:
    with pytest.raises(InvalidArchitecture):
        started().log_probabilities([(5, 0, 0, 0, 0, 0)])
