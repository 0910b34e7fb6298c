"""An architecture built step by step: masks, rewards, failures, and what other libraries expect of an environment."""

import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from archsearch.bridges.environment import PATIENCE, ArchitectureEnv
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluator import Evaluator
from archsearch.space import Space
from archsearch.testing import ConditionalSpace, FixedSpace, OnePointSpace, VariableLengthSpace
from archsearch.trial import Cost, Evaluation

EXAMPLE = Path(__file__).parents[1] / "examples" / "05_stable_baselines3.py"
SPACES = [FixedSpace, ConditionalSpace, VariableLengthSpace, OnePointSpace]


class Noisy(Evaluator):
    """Scores the sum of the options plus noise from the seed; counts how often it was made ready."""

    def __init__(self, noise: float = 1.0) -> None:
        self.noise = noise
        self.prepared = 0

    def prepare(self) -> Cost:
        self.prepared += 1
        return Cost(device_seconds=7)

    def evaluate(self, architecture: tuple[int, ...], seed: int) -> Evaluation:
        noise = self.noise * np.random.default_rng(seed).random()
        return Evaluation(sum(architecture) + noise, {"length": len(architecture)}, Cost(examples=10))


class Broken(Evaluator):
    """Fails, or scores NaN, for architectures that begin with an odd option; else scores 5."""

    def __init__(self, error: bool) -> None:
        self.error = error

    def evaluate(self, architecture: tuple[int, ...], seed: int) -> Evaluation:
        if architecture[0] % 2 == 0:
            return Evaluation(5.0)
        if self.error:
            raise RuntimeError("on purpose")
        return Evaluation(math.nan)


class Picky(Evaluator):
    def check(self, space: Space) -> None:
        raise MissingAbility("needs more")


class UnevenSpace(Space):
    """Three decisions with 2, 4 and 3 options."""

    def __init__(self) -> None:
        super().__init__(arities=(2, 4, 3))


def build(env: ArchitectureEnv, architecture: tuple[int, ...], seed: int | None = None) -> list[tuple]:
    env.reset(seed=seed)
    return [env.step(option) for option in architecture]


@pytest.mark.parametrize("make_space", [ConditionalSpace, VariableLengthSpace, UnevenSpace])
def test_every_architecture_takes_one_step_per_decision_and_no_other_can_be_built(make_space):
    space = make_space()
    env = ArchitectureEnv(space, Noisy(noise=0))
    built = set()
    stack: list[tuple[int, ...]] = [()]
    while stack:  # every path that the masks allow
        prefix = stack.pop()
        steps = build(env, prefix)
        mask = steps[-1][4]["action_mask"] if steps else env.reset()[1]["action_mask"]
        np.testing.assert_array_equal(mask, env.action_masks())
        assert mask.shape == (space.max_options,)
        assert mask.dtype == bool
        assert not any(terminated for _, _, terminated, _, _ in steps[:-1])
        assert not steps or steps[-1][2] == (not mask.any())
        if not mask.any():
            built.add(prefix)
        stack += [(*prefix, int(option)) for option in np.flatnonzero(mask)]
    assert built == set(space.enumerate())


def test_the_last_reward_is_the_evaluators_score_and_the_others_are_zero():
    space = ConditionalSpace()
    env = ArchitectureEnv(space, Noisy())
    for architecture in space.enumerate():
        *before, (_, reward, terminated, truncated, info) = build(env, architecture)
        assert all(step[1] == 0 and "evaluation" not in step[4] for step in before)
        assert (terminated, truncated, info["architecture"]) == (True, False, architecture)
        evaluation = info["evaluation"]
        assert reward == evaluation.score
        assert sum(architecture) <= reward < sum(architecture) + 1
        assert evaluation.metrics == {"length": len(architecture)}
        assert evaluation.cost == Cost(examples=10)


def test_observations_show_the_decisions_so_far():
    env = ArchitectureEnv(ConditionalSpace(), Noisy())
    observations = [env.reset()[0]] + [step[0] for step in build(env, (1, 1, 2))]
    assert [list(observation) for observation in observations] == [
        [0, 0, 0, 0, 0, 0],
        [2, 0, 0, 0, 0, 0],
        [2, 2, 0, 0, 0, 0],
        [2, 2, 3, 0, 0, 0],
    ]
    assert all(observation in env.observation_space for observation in observations)
    assert list(ArchitectureEnv(UnevenSpace(), Noisy()).observation_space.nvec) == [3, 5, 4]


def test_invalid_actions_decide_nothing_and_end_in_truncation():
    env = ArchitectureEnv(UnevenSpace(), Noisy())
    env.reset(seed=0)
    for step in range(1, PATIENCE * 3 + 1):
        observation, reward, terminated, truncated, info = env.step(3)  # the first decision has two options
        assert not observation.any()
        assert (reward, terminated, truncated) == (0, False, step == PATIENCE * 3)
        assert list(info["action_mask"]) == [True, True, False, False]
    assert env.evaluations == 0
    with pytest.raises(UsageError, match="call reset"):
        env.step(0)


def test_an_architecture_completed_in_the_last_possible_step_counts():
    env = ArchitectureEnv(UnevenSpace(), Noisy())
    env.reset()
    for action in [3] * (PATIENCE * 3 - 3) + [0, 0]:
        env.step(action)
    assert env.step(0)[2:4] == (True, False)


@pytest.mark.parametrize("action", [-1, 4, 1.0, None])
def test_an_action_outside_the_action_space_is_an_error(action):
    env = ArchitectureEnv(UnevenSpace(), Noisy())
    env.reset()
    with pytest.raises(UsageError, match="from 0 to 3"):
        env.step(action)


def test_stepping_without_a_reset_is_an_error():
    env = ArchitectureEnv(OnePointSpace(), Noisy())
    with pytest.raises(UsageError, match="call reset"):
        env.step(0)
    build(env, (0, 0, 0))
    with pytest.raises(UsageError, match="call reset"):
        env.step(0)


def test_an_unsuitable_evaluator_is_refused_at_once():
    with pytest.raises(MissingAbility, match="needs more"):
        ArchitectureEnv(FixedSpace(), Picky())


def test_the_same_seed_and_actions_give_the_same_results():
    first, second, other = (ArchitectureEnv(FixedSpace(), Noisy()) for _ in range(3))
    architectures = [(0, 1, 2, 3, 4, 0)] * 3

    def rewards(env: ArchitectureEnv, seed: int) -> list[float]:
        env.reset(seed=seed)
        return [build(env, architecture)[-1][1] for architecture in architectures]

    expected = rewards(first, 5)
    assert len(set(expected)) == 3  # each evaluation has its own seed
    assert rewards(second, 5) == expected
    assert rewards(first, 5) == expected  # also after other episodes
    assert rewards(other, 6) != expected


@pytest.mark.parametrize(("error", "kind"), [(True, "exception"), (False, "invalid_score")])
def test_a_failing_evaluation_gives_the_failure_reward(error, kind):
    env = ArchitectureEnv(UnevenSpace(), Broken(error), failure_reward=-2.5)
    _, reward, terminated, _, info = build(env, (1, 0, 0))[-1]
    assert (reward, terminated, info["failure"], info["architecture"]) == (-2.5, True, kind, (1, 0, 0))
    assert "evaluation" not in info
    assert ("on purpose" in info["error"]) == error
    assert (env.best, env.evaluations) == (None, 1)
    assert build(env, (0, 0, 0))[-1][1] == 5.0
    assert ArchitectureEnv(UnevenSpace(), Broken(error)).failure_reward == 0.0


def test_costs_and_the_best_are_kept_and_the_evaluator_is_made_ready_once():
    evaluator = Noisy(noise=0)
    env = ArchitectureEnv(UnevenSpace(), evaluator)
    assert evaluator.prepared == 0
    for architecture in [(0, 1, 0), (1, 3, 2), (0, 0, 0), (1, 3, 2)]:
        build(env, architecture, seed=0)
    assert (evaluator.prepared, env.evaluations) == (1, 4)
    assert (env.best.architecture, env.best.score, env.best.id) == ((1, 3, 2), 6.0, 1)
    assert (env.setup_cost.device_seconds, env.cost.examples, env.cost.device_seconds) == (7, 40, 0)
    assert env.cost.wall_seconds > 0


@pytest.mark.parametrize("make_space", SPACES)
def test_gymnasiums_own_checks_pass(make_space):
    spec = EnvSpec("Architecture-v0", ArchitectureEnv, kwargs={"space": make_space(), "evaluator": Noisy()})
    check_env(gymnasium.make(spec).unwrapped)  # a warning would be an error


def spawned(makers):
    return gymnasium.vector.AsyncVectorEnv(makers, context="spawn")


@pytest.mark.parametrize("make_vector", [gymnasium.vector.SyncVectorEnv, spawned])
def test_vectorised_environments_work(make_vector):
    vector = make_vector([lambda: ArchitectureEnv(ConditionalSpace(), Noisy())] * 2)
    try:
        _, infos = vector.reset(seed=3)
        rng = np.random.default_rng(0)
        finished = []
        for _ in range(40):
            # An environment whose episode is over has no valid action, and ignores the one it gets.
            actions = [rng.choice(np.flatnonzero(mask)) if mask.any() else 0 for mask in infos["action_mask"]]
            _, rewards, terminated, _, infos = vector.step(np.array(actions))
            for i in np.flatnonzero(terminated):
                assert infos["evaluation"][i].score == rewards[i]
                finished.append(infos["architecture"][i])
        assert len(finished) > 10
        assert all(architecture in ConditionalSpace() for architecture in finished)
    finally:
        vector.close()


def run_example(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("sb3_contrib") is None, reason="needs the extra rl")
def test_the_example_runs():
    output = run_example(str(EXAMPLE), "--steps", "300").stdout
    assert "80 evaluations each" in output  # 300 steps are rounded up to two updates of 40 cells
    assert output.count(" %  |") == 2  # an accuracy and a cell, for the agent and for random search


def test_the_example_says_how_to_install_what_is_missing():
    code = (
        f"import runpy, sys; sys.modules['sb3_contrib'] = None; runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    )
    output = run_example("-c", code).stdout
    assert "pip install" in output
    assert len(output.splitlines()) == 1
