"""Contract suites: does a controller, evaluator, model, space or task of yours keep the promises that others rely on?

One line in a test runs all checks and reports every failure at once, not only the first:

    from archsearch.testing import check_controller
    from my_lab import Annealing

    def test_annealing():
        check_controller(Annealing)

``check_controller``, ``check_evaluator``, ``check_model``, ``check_space`` and ``check_task`` take a factory: anything
that is called without arguments and gives a *new* object each time, such as the class itself or ``lambda:
Annealing(steps=5)``. Each check is a small function whose docstring is the promise; ``CONTROLLER_CHECKS``,
``EVALUATOR_CHECKS``, ``MODEL_CHECKS``, ``SPACE_CHECKS`` and ``TASK_CHECKS`` hold them by name, so that a test runner
can show each one apart. Nothing here needs a test runner.

One check starts a fresh Python process. A script that runs the suites needs the usual
``if __name__ == "__main__":`` guard.
"""

import archsearch.testing.hearing  # noqa: F401  which registers a check
from archsearch.testing.controllers import check_controller
from archsearch.testing.evaluators import check_evaluator
from archsearch.testing.models import check_model
from archsearch.testing.spaces import check_space
from archsearch.testing.suite import (
    CONTROLLER_CHECKS,
    EVALUATOR_CHECKS,
    MODEL_CHECKS,
    SPACE_CHECKS,
    TASK_CHECKS,
    ContractError,
)
from archsearch.testing.tasks import check_task
from archsearch.testing.toys import ConditionalSpace, FixedSpace, OnePointSpace, SeparableSpace, VariableLengthSpace

__all__ = [
    "CONTROLLER_CHECKS",
    "EVALUATOR_CHECKS",
    "MODEL_CHECKS",
    "SPACE_CHECKS",
    "TASK_CHECKS",
    "ConditionalSpace",
    "ContractError",
    "FixedSpace",
    "OnePointSpace",
    "SeparableSpace",
    "VariableLengthSpace",
    "check_controller",
    "check_evaluator",
    "check_model",
    "check_space",
    "check_task",
]
