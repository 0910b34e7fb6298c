"""FairNAS (Chu et al., ICCV 2021): every candidate of every layer is trained equally often, or only so on average."""

from archsearch import search
from archsearch.controllers import NSGA2
from archsearch.evaluators import OneShot, Training
from archsearch.spaces import MobileNet

# All layers need equally many candidates, so none can be left out. The paper: 19 layers with 6 candidates each.
space = MobileNet(stages=[(24, 2, 1), (40, 2, 2)], candidates=[(3, 3), (3, 6), (5, 3)], identity="never")

# An update of the fair sampler adds up the gradients of 3 paths: as many examples as 3 epochs of the uniform one.
for sampler, epochs in (("uniform", 24), ("fair", 8)):
    evaluator = OneShot(training=Training("digits", train_examples=400), epochs=epochs, sampler=sampler)
    # For accuracy, few multiply-adds, and many parameters, which stand for capacity.
    evolution = NSGA2({"score": "max", "flops": "min", "params": "max"}, population_size=10)
    result = search(space, evolution, evaluator, trials=30, seed=0, batch=10, duplicates="reuse")
    print(
        f"{sampler:<7} {result.setup_cost.updates:,.0f} updates, {result.setup_cost.examples:,.0f} examples:", end=" "
    )
    print(f"{evaluator.curve[-1]['accuracy']:.1f} % on average, best {result.best.score:.1f} % ({result.best_name})")
    front = sorted(evolution.pareto_front, key=lambda each: each.objectives["flops"])
    cheapest, dearest = front[0].objectives, front[-1].objectives
    print(
        f"        {len(front)} compromises, from {cheapest['score']:.1f} % with {cheapest['flops']:,.0f} multiply-adds "
        f"to {dearest['score']:.1f} % with {dearest['flops']:,.0f}"
    )
