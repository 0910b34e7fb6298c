"""A third-party agent as controller: MaskablePPO of sb3-contrib builds NAS-Bench-201 cells, decision by decision.

    pip install "archsearch[rl]"
    python examples/05_stable_baselines3.py --steps 4800

An episode is one cell: six steps, then its accuracy in the table as the reward. Random search gets as many evaluations.
"""

import argparse

import gymnasium

from archsearch import ArchitectureEnv, search
from archsearch.controllers import RandomSearch
from archsearch.evaluators import Tabular
from archsearch.spaces import NASBench201


def reward(accuracy: float) -> float:
    """Maps 90 to 92 percent, where good cells lie, to -1 ... 1; a cell that learns nothing is just a bad one."""
    return max(accuracy - 91.0, -2.0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train MaskablePPO to build NAS-Bench-201 cells.")
    parser.add_argument("--steps", type=int, default=4800, help="decisions to take; six make a cell")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        import torch
        from sb3_contrib import MaskablePPO
    except ImportError:
        print('This example trains an agent of sb3-contrib, which is missing: pip install "archsearch[rl]"')
        return
    torch.set_num_threads(1)  # the network is tiny

    env = ArchitectureEnv(NASBench201(), Tabular())
    agent = MaskablePPO(
        "MlpPolicy",
        gymnasium.wrappers.TransformReward(env, reward),
        learning_rate=1e-3,
        n_steps=240,  # 40 cells per update
        batch_size=60,
        gamma=1.0,
        ent_coef=0.02,
        seed=arguments.seed,
        device="cpu",
    )
    agent.learn(arguments.steps)
    random = search(NASBench201(), RandomSearch(), Tabular(), trials=env.evaluations, seed=arguments.seed)

    print(f"{env.evaluations} evaluations each, best validation accuracy")
    for name, best in (("MaskablePPO", env.best), ("random search", random.best)):
        print(f"{name:<13}  {best.score:.2f} %  {env.space.format(best.architecture)}")


if __name__ == "__main__":
    main()
