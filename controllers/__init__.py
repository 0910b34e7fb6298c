"""Controllers: who proposes.

Classes are loaded on first use: importing this package loads neither torch nor any class that is not asked for.
"""

from typing import TYPE_CHECKING

from archsearch.basics.classes import lazy_classes

if TYPE_CHECKING:
    from archsearch.controllers.auto import Auto as Auto
    from archsearch.controllers.bananas import Bananas as Bananas
    from archsearch.controllers.bayesian_optimization import BayesianOptimization as BayesianOptimization
    from archsearch.controllers.deap_toolbox import DeapToolbox as DeapToolbox
    from archsearch.controllers.derived import Derived as Derived
    from archsearch.controllers.elitist_evolution import ElitistEvolution as ElitistEvolution
    from archsearch.controllers.finalists import Finalists as Finalists
    from archsearch.controllers.local_search import LocalSearch as LocalSearch
    from archsearch.controllers.nsga2 import NSGA2 as NSGA2
    from archsearch.controllers.progressive import Progressive as Progressive
    from archsearch.controllers.random_search import RandomSearch as RandomSearch
    from archsearch.controllers.regularized_evolution import RegularizedEvolution as RegularizedEvolution
    from archsearch.controllers.reinforce import Reinforce as Reinforce
    from archsearch.controllers.successive_halving import Hyperband as Hyperband
    from archsearch.controllers.successive_halving import SuccessiveHalving as SuccessiveHalving

_MODULES = {
    "Auto": "auto",
    "Bananas": "bananas",
    "BayesianOptimization": "bayesian_optimization",
    "DeapToolbox": "deap_toolbox",
    "Derived": "derived",
    "ElitistEvolution": "elitist_evolution",
    "Finalists": "finalists",
    "Hyperband": "successive_halving",
    "LocalSearch": "local_search",
    "NSGA2": "nsga2",
    "Progressive": "progressive",
    "RandomSearch": "random_search",
    "RegularizedEvolution": "regularized_evolution",
    "Reinforce": "reinforce",
    "SuccessiveHalving": "successive_halving",
}
ALL = tuple(_MODULES)
__all__ = ["ALL", *_MODULES]  # noqa: PLE0604
__getattr__ = lazy_classes(__name__, _MODULES)
