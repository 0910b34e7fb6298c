"""Ray Tune: a controller as Tune's searcher, an evaluator as Tune's trainable, and Tune's searchers as controllers.

    search = ControllerSearch(RegularizedEvolution(), NASBench201(), seed=0)
    tuner = tune.Tuner(
        trainable(Tabular(), NASBench201()),
        tune_config=tune.TuneConfig(metric="score", mode="max", search_alg=search, num_samples=100),
    )
    best = tuner.fit().get_best_result()

Tune itself takes seconds for every trial, or with ``TuneConfig(reuse_actors=True)`` about 0.1 s: it suits trainings,
and those who use its schedulers. For evaluations that are cheaper than that take ``search`` with ``RayExecutor``.
"""

from archsearch.tune.controller import TuneSearch
from archsearch.tune.searcher import ControllerSearch
from archsearch.tune.trainables import trainable

__all__ = [
    "ControllerSearch",
    "TuneSearch",
    "trainable",
]
