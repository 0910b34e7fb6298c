"""Three controllers on NAS-Bench-201, each with 12,000 recorded seconds of 12-epoch trainings."""

from archsearch import search
from archsearch.controllers import RandomSearch, RegularizedEvolution, Reinforce
from archsearch.evaluators import Tabular
from archsearch.spaces import NASBench201

evaluator = Tabular(epochs=12)
for controller in (RandomSearch(), RegularizedEvolution(20, 10), Reinforce(policy="softmax", learning_rate=0.1)):
    result = search(NASBench201(), controller, evaluator, max_cost=12_000, seed=0)
    print(
        f"{type(controller).__name__:<22}{result.completed:>4} cells  test {result.best.metrics['test_accuracy']:.2f} %"
    )
