"""FairNAS (Chu et al., ICCV 2021): every candidate of every layer is trained equally often, or only so on average."""

from archsearch import search
from archsearch.controllers import ElitistEvolution
from archsearch.evaluators import OneShot, Training
from archsearch.spaces import MobileNet

# All layers need equally many candidates, so none can be left out. The paper: 19 layers with 6 candidates each.
space = MobileNet(stages=[(24, 2, 1), (40, 2, 2)], candidates=[(3, 3), (3, 6), (5, 3)], identity="never")

# An update of the fair sampler adds up the gradients of 3 paths: as many examples as 3 epochs of the uniform one.
for sampler, epochs in (("uniform", 24), ("fair", 8)):
    evaluator = OneShot(training=Training("digits", train_examples=400), epochs=epochs, sampler=sampler)
    # The paper searches by NSGA-II, for accuracy, multiply-adds and parameters at once.
    evolution = ElitistEvolution(population_size=10, mutations=5, crossovers=5, parents=5)
    result = search(space, evolution, evaluator, trials=30, seed=0, batch=10, duplicates="reuse")
    print(
        f"{sampler:<7} {result.setup_cost.updates:,.0f} updates, {result.setup_cost.examples:,.0f} examples:", end=" "
    )
    print(f"{evaluator.curve[-1]['accuracy']:.1f} % on average, best {result.best.score:.1f} % ({result.best_name})")
