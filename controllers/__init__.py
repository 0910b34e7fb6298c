"""Controllers: who proposes.

Classes are loaded on first use: importing this package loads neither torch nor any class that is not asked for.
"""

from typing import TYPE_CHECKING

from archsearch.basics.classes import lazy_classes

if TYPE_CHECKING:
    from archsearch.controllers.advised import Advised as Advised
    from archsearch.controllers.auto import Auto as Auto
    from archsearch.controllers.bananas import Bananas as Bananas
    from archsearch.controllers.bayesian_optimization import BayesianOptimization as BayesianOptimization
    from archsearch.controllers.coevolution import CoEvolution as CoEvolution
    from archsearch.controllers.deap_toolbox import DeapToolbox as DeapToolbox
    from archsearch.controllers.derived import Derived as Derived
    from archsearch.controllers.elitist_evolution import ElitistEvolution as ElitistEvolution
    from archsearch.controllers.finalists import Finalists as Finalists
    from archsearch.controllers.greedy_growth import GreedyGrowth as GreedyGrowth
    from archsearch.controllers.hill_climbing import HillClimbing as HillClimbing
    from archsearch.controllers.hypervolume_improvement import HypervolumeImprovement as HypervolumeImprovement
    from archsearch.controllers.lanas import LaNAS as LaNAS
    from archsearch.controllers.lemonade import Lemonade as Lemonade
    from archsearch.controllers.local_search import LocalSearch as LocalSearch
    from archsearch.controllers.mobster import MOBSTER as MOBSTER
    from archsearch.controllers.mobster import MultiFidelityBayesianOptimization as MultiFidelityBayesianOptimization
    from archsearch.controllers.move_policy import MovePolicy as MovePolicy
    from archsearch.controllers.nao import NAO as NAO
    from archsearch.controllers.nsga2 import NSGA2 as NSGA2
    from archsearch.controllers.one_plus_lambda import OnePlusLambda as OnePlusLambda
    from archsearch.controllers.pair_tournament import PairTournament as PairTournament
    from archsearch.controllers.ppo import PPO as PPO
    from archsearch.controllers.progressive import Progressive as Progressive
    from archsearch.controllers.progressive_hurdles import ProgressiveDynamicHurdles as ProgressiveDynamicHurdles
    from archsearch.controllers.q_learning import QLearning as QLearning
    from archsearch.controllers.random_search import RandomSearch as RandomSearch
    from archsearch.controllers.regularized_evolution import RegularizedEvolution as RegularizedEvolution
    from archsearch.controllers.reinforce import Reinforce as Reinforce
    from archsearch.controllers.successive_halving import Hyperband as Hyperband
    from archsearch.controllers.successive_halving import SuccessiveHalving as SuccessiveHalving
    from archsearch.controllers.tree_search import TreeSearch as TreeSearch

_MODULES = {
    "Advised": "advised",
    "Auto": "auto",
    "Bananas": "bananas",
    "BayesianOptimization": "bayesian_optimization",
    "CoEvolution": "coevolution",
    "DeapToolbox": "deap_toolbox",
    "Derived": "derived",
    "ElitistEvolution": "elitist_evolution",
    "Finalists": "finalists",
    "GreedyGrowth": "greedy_growth",
    "HillClimbing": "hill_climbing",
    "Hyperband": "successive_halving",
    "HypervolumeImprovement": "hypervolume_improvement",
    "LaNAS": "lanas",
    "Lemonade": "lemonade",
    "LocalSearch": "local_search",
    "MOBSTER": "mobster",
    "MovePolicy": "move_policy",
    "MultiFidelityBayesianOptimization": "mobster",
    "NAO": "nao",
    "NSGA2": "nsga2",
    "OnePlusLambda": "one_plus_lambda",
    "PPO": "ppo",
    "PairTournament": "pair_tournament",
    "Progressive": "progressive",
    "ProgressiveDynamicHurdles": "progressive_hurdles",
    "QLearning": "q_learning",
    "RandomSearch": "random_search",
    "RegularizedEvolution": "regularized_evolution",
    "Reinforce": "reinforce",
    "SuccessiveHalving": "successive_halving",
    "TreeSearch": "tree_search",
}
ALL = tuple(_MODULES)
__all__ = ["ALL", *_MODULES]  # noqa: PLE0604
__getattr__ = lazy_classes(__name__, _MODULES)
