"""REINFORCE: results that come late, odd or never, and runs that go on."""

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from reinforce_lab import POLICIES, SPACES, proposals, result, run, started

from archsearch.space import Space
from archsearch.trial import Architecture

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
from reinforce_lab import proposals, started
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
