"""archsearch: neural architecture search with interchangeable controllers, evaluators and spaces.

Importing this package loads neither torch nor ray; names are imported on first use.
"""

from typing import TYPE_CHECKING

from archsearch.basics.classes import lazy_classes

if TYPE_CHECKING:
    from archsearch.bridges.environment import ArchitectureEnv as ArchitectureEnv
    from archsearch.bridges.export import export as export
    from archsearch.bridges.load_network import load_network as load_network
    from archsearch.bridges.mlflow import MLflowLogger as MLflowLogger
    from archsearch.bridges.tensorboard import TensorBoardLogger as TensorBoardLogger
    from archsearch.bridges.wandb import WandbLogger as WandbLogger
    from archsearch.contests.controller_comparison import compare_controllers as compare_controllers
    from archsearch.controller import Controller as Controller
    from archsearch.evaluator import Evaluator as Evaluator
    from archsearch.executors.local import LocalExecutor as LocalExecutor
    from archsearch.executors.ray.executor import RayExecutor as RayExecutor
    from archsearch.executors.simulated import SimulatedExecutor as SimulatedExecutor
    from archsearch.judging.comparison import Comparison as Comparison
    from archsearch.judging.comparison import compare as compare
    from archsearch.judging.verification import verify as verify
    from archsearch.plot.frames import frames as frames
    from archsearch.racing.certainty import Certainty as Certainty
    from archsearch.running.result import Result as Result
    from archsearch.running.search import resume as resume
    from archsearch.running.search import search as search
    from archsearch.running.settings import Settings as Settings
    from archsearch.space import Space as Space
    from archsearch.steering.client import control as control
    from archsearch.trial import Architecture as Architecture
    from archsearch.trial import Budget as Budget
    from archsearch.trial import Cost as Cost
    from archsearch.trial import Evaluation as Evaluation
    from archsearch.trial import Proposal as Proposal
    from archsearch.trial import Query as Query
    from archsearch.trial import Trial as Trial

_MODULES = {
    "ArchitectureEnv": "bridges.environment",
    "Architecture": "trial",
    "Budget": "trial",
    "Certainty": "racing.certainty",
    "Comparison": "judging.comparison",
    "Controller": "controller",
    "Cost": "trial",
    "Evaluation": "trial",
    "Evaluator": "evaluator",
    "LocalExecutor": "executors.local",
    "MLflowLogger": "bridges.mlflow",
    "Proposal": "trial",
    "Query": "trial",
    "RayExecutor": "executors.ray.executor",
    "Result": "running.result",
    "Settings": "running.settings",
    "SimulatedExecutor": "executors.simulated",
    "Space": "space",
    "TensorBoardLogger": "bridges.tensorboard",
    "Trial": "trial",
    "WandbLogger": "bridges.wandb",
    "compare": "judging.comparison",
    "compare_controllers": "contests.controller_comparison",
    "control": "steering.client",
    "export": "bridges.export",
    "frames": "plot.frames",
    "load_network": "bridges.load_network",
    "resume": "running.search",
    "search": "running.search",
    "verify": "judging.verification",
}
__version__ = "0.1.0"
__all__ = ["__version__", *_MODULES]  # noqa: PLE0604
__getattr__ = lazy_classes(__name__, _MODULES)
