"""SPOS (Guo et al., ECCV 2020): a super-network trained by uniform paths, then evolution under a limit on its cost."""

from archsearch import search
from archsearch.controllers import ElitistEvolution
from archsearch.evaluators import OneShot, Training
from archsearch.spaces import MobileNet

# 6 layers with 3 candidates each. The paper: 20 layers with 4 each, and at most 330e6 multiply-adds.
space = MobileNet(stages=[(24, 3, 1), (40, 3, 2)], candidates=[(3, 3), (3, 6), (5, 3)], identity="never")
limits = {"flops": 240e3}

training = Training("digits", label_smoothing=0.1, weight_decay=4e-5)
evaluator = OneShot(training=training, epochs=16, sampler="uniform", statistics="recomputed")
# The paper: 20 generations of 50, the first of them random, then 25 mutations and 25 crossovers of the 10 best.
evolution = ElitistEvolution(population_size=20, mutations=10, crossovers=10, parents=5)
result = search(space, evolution, evaluator, trials=60, seed=0, limits=limits, batch=20, duplicates="reuse")

scores = [trial.score for trial in result.history]
for begin in range(0, 60, 20):
    generation = scores[begin : begin + 20]
    print(f"trials {begin:>2} to {begin + 19}: mean {sum(generation) / 20:.1f} %, best {max(generation):.1f} %")
print(f"{result.rejected} proposals were beyond the limit")
print(f"best {result.best_name}, {result.best.metrics['flops']:,.0f} multiply-adds")
