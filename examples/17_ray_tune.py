"""Ray Tune, both ways: a controller and an evaluator in a Tuner with ASHA, and Tune's Optuna as a controller.

The first part looks up cells of NAS-Bench-101 with up to 4 vertices, which EC-NAS trained for 4, 12, 36 and 108 epochs;
it reports after each, and ASHA stops those that fall behind. The second part needs: pip install optuna
"""

import importlib.util
from pathlib import Path

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import ConcurrencyLimiter

from archsearch import search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.evaluators import Tabular
from archsearch.spaces import NASBench101, NASBench201
from archsearch.tune import ControllerSearch, TuneSearch, trainable


def evolution_in_a_tuner() -> None:
    space = NASBench101(max_vertices=4)
    controller = ControllerSearch(RegularizedEvolution(population_size=6, tournament_size=3), space, seed=0)
    tuner = tune.Tuner(
        trainable(Tabular("ecnas_4v"), space),
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            search_alg=ConcurrencyLimiter(controller, max_concurrent=1),
            scheduler=ASHAScheduler(max_t=4, reduction_factor=2),
            num_samples=12,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(verbose=0, storage_path=str(Path("runs").absolute())),
    )
    results = tuner.fit()
    best = results.get_best_result()
    stopped = sum(result.metrics["length"] < 108 for result in results)
    print(f"regularized evolution in Tune: {best.metrics['score']:.2f} %  {best.config['architecture']}")
    print(f"{stopped} of {len(results)} trainings were stopped before 108 epochs")


def optuna_as_a_controller() -> None:
    space, settings = NASBench201(), {"trials": 200, "seed": 0}
    found = search(space, TuneSearch("ray.tune.search.optuna.OptunaSearch"), Tabular(), **settings)
    random = search(space, RandomSearch(), Tabular(), **settings)
    print(f"200 cells: Optuna's best {found.best.score:.2f} %, random search's {random.best.score:.2f} %")


if __name__ == "__main__":
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    evolution_in_a_tuner()
    if importlib.util.find_spec("optuna") is None:
        print("The second part uses Optuna, which is missing: pip install optuna")
    else:
        optuna_as_a_controller()
