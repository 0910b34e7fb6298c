"""The same controller under a cheap and a dear evaluator, and what each bills."""

from archsearch import search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import Tabular
from archsearch.spaces import NASBench201

for epochs in (12, 200):
    result = search(NASBench201(), RegularizedEvolution(20, 5), Tabular(epochs=epochs), trials=200, seed=0)
    hours = result.cost.recorded_seconds / 3600
    print(f"{epochs:>3} epochs: test {result.best.metrics['test_accuracy']:.2f} % for {hours:,.0f} recorded hours")
