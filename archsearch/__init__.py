"""archsearch: neural architecture search with interchangeable controllers, evaluators and spaces.

Importing this package loads neither torch nor ray; names are imported on first use.
"""

from typing import TYPE_CHECKING

from archsearch.components import lazy_classes

if TYPE_CHECKING:
    from archsearch.artefacts import export as export
    from archsearch.artefacts import load_network as load_network
    from archsearch.comparison import Comparison as Comparison
    from archsearch.comparison import compare as compare
    from archsearch.controller import Controller as Controller
    from archsearch.controller_comparison import compare_controllers as compare_controllers
    from archsearch.environment import ArchitectureEnv as ArchitectureEnv
    from archsearch.evaluator import Evaluator as Evaluator
    from archsearch.executor import SimulatedExecutor as SimulatedExecutor
    from archsearch.local_executor import LocalExecutor as LocalExecutor
    from archsearch.loggers import MLflowLogger as MLflowLogger
    from archsearch.loggers import TensorBoardLogger as TensorBoardLogger
    from archsearch.loop import Result as Result
    from archsearch.loop import resume as resume
    from archsearch.loop import search as search
    from archsearch.ray_executor import RayExecutor as RayExecutor
    from archsearch.settings import Settings as Settings
    from archsearch.space import Space as Space
    from archsearch.trial import Architecture as Architecture
    from archsearch.trial import Budget as Budget
    from archsearch.trial import Cost as Cost
    from archsearch.trial import Evaluation as Evaluation
    from archsearch.trial import Proposal as Proposal
    from archsearch.trial import Query as Query
    from archsearch.trial import Trial as Trial
    from archsearch.verification import verify as verify

_MODULES = {
    "ArchitectureEnv": "environment",
    "Architecture": "trial",
    "Budget": "trial",
    "Comparison": "comparison",
    "Controller": "controller",
    "Cost": "trial",
    "Evaluation": "trial",
    "Evaluator": "evaluator",
    "LocalExecutor": "local_executor",
    "MLflowLogger": "loggers",
    "Proposal": "trial",
    "Query": "trial",
    "RayExecutor": "ray_executor",
    "Result": "loop",
    "Settings": "settings",
    "SimulatedExecutor": "executor",
    "Space": "space",
    "TensorBoardLogger": "loggers",
    "Trial": "trial",
    "compare": "comparison",
    "compare_controllers": "controller_comparison",
    "export": "artefacts",
    "load_network": "artefacts",
    "resume": "loop",
    "search": "loop",
    "verify": "verification",
}
__version__ = "0.1.0"
__all__ = ["__version__", *_MODULES]  # noqa: PLE0604
__getattr__ = lazy_classes(__name__, _MODULES)
