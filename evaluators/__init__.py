"""Evaluators: who scores.

Classes are loaded on first use: importing this package loads neither torch nor any class that is not asked for.
"""

from typing import TYPE_CHECKING

from archsearch.basics.classes import lazy_classes

if TYPE_CHECKING:
    from archsearch.evaluators.cascade import Cascade as Cascade
    from archsearch.evaluators.differentiable import Differentiable as Differentiable
    from archsearch.evaluators.function import Function as Function
    from archsearch.evaluators.inherit import Inherit as Inherit
    from archsearch.evaluators.learning_curve import LearningCurve as LearningCurve
    from archsearch.evaluators.on_device import OnDevice as OnDevice
    from archsearch.evaluators.one_shot import OneShot as OneShot
    from archsearch.evaluators.predictor import Predictor as Predictor
    from archsearch.evaluators.surrogate import Surrogate as Surrogate
    from archsearch.evaluators.tabular import Tabular as Tabular
    from archsearch.evaluators.training import Training as Training
    from archsearch.evaluators.zero_cost import ZeroCost as ZeroCost
    from archsearch.evaluators.zero_cost_ensemble import ZeroCostEnsemble as ZeroCostEnsemble

_MODULES = {
    "Cascade": "cascade",
    "Differentiable": "differentiable",
    "Function": "function",
    "Inherit": "inherit",
    "LearningCurve": "learning_curve",
    "OnDevice": "on_device",
    "OneShot": "one_shot",
    "Predictor": "predictor",
    "Surrogate": "surrogate",
    "Tabular": "tabular",
    "Training": "training",
    "ZeroCost": "zero_cost",
    "ZeroCostEnsemble": "zero_cost_ensemble",
}
ALL = tuple(_MODULES)
__all__ = ["ALL", *_MODULES]  # noqa: PLE0604
__getattr__ = lazy_classes(__name__, _MODULES)
