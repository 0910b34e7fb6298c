"""Predicts all cells of NAS-Bench-201 from 100 labels and two published zero-cost scores, and says how well."""

from archsearch.evaluators import Predictor, Tabular
from archsearch.ranking import kendall_tau
from archsearch.spaces import NASBench201
from archsearch.trial import Query

space = NASBench201()
truth = Tabular()
predictor = Predictor(truth, labels=100, features=[Tabular(zero_cost="nwot"), Tabular(zero_cost="jacov")])
predictor.start(space)
cost = predictor.prepare()
print(f"{cost.recorded_seconds / 86_400:.1f} days of recorded training for 100 labels; {predictor.note}")

cells = truth.architectures
predictions = predictor.evaluate_batch([Query(i, cell, 0) for i, cell in enumerate(cells)])
expected = [prediction.score for prediction in predictions]
tested = [truth.evaluate(cell, 0).metrics["test_accuracy"] for cell in cells]
print(f"Kendall's tau with the test accuracy of all {len(cells):,} cells: {kendall_tau(tested, expected):.3f}")

best = max(range(len(cells)), key=expected.__getitem__)
print(f"the best one as predicted: {tested[best]:.2f} % on the test images; the best there is: {max(tested):.2f} %")
