"""Models that predict scores; see ``archsearch.model`` for their contract.

Classes are imported on first use, so that listing them loads no library.
"""

from typing import TYPE_CHECKING

from archsearch.basics.classes import lazy_classes

if TYPE_CHECKING:
    from archsearch.models.gaussian_process import GaussianProcess as GaussianProcess
    from archsearch.models.graph_network import GraphNetwork as GraphNetwork
    from archsearch.models.lstm import LSTM as LSTM
    from archsearch.models.mlp_ensemble import MLPEnsemble as MLPEnsemble
    from archsearch.models.stack import Stack as Stack
    from archsearch.models.trees import GradientBoosting as GradientBoosting
    from archsearch.models.trees import RandomForest as RandomForest

_MODULES = {
    "GaussianProcess": "gaussian_process",
    "GradientBoosting": "trees",
    "GraphNetwork": "graph_network",
    "LSTM": "lstm",
    "MLPEnsemble": "mlp_ensemble",
    "RandomForest": "trees",
    "Stack": "stack",
}
ALL = tuple(_MODULES)
__all__ = [*_MODULES]  # noqa: PLE0604
__getattr__ = lazy_classes(__name__, _MODULES)
