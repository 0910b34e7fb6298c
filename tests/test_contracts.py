"""Every component on the shelves keeps its contract, and the contract suites find what they are there to find."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys

import broken_controllers
import broken_evaluators
import broken_models
import broken_networks
import broken_spaces
import pytest
from contract_factories import FACTORIES, LEARNERS, SPACES
from golden import renew
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from archsearch import search, testing
from archsearch.abilities import Distribution
from archsearch.components import KINDS, entry_points, load
from archsearch.controller import Controller
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluator import Evaluator
from archsearch.model import Model
from archsearch.space import Space
from archsearch.trial import Evaluation, Trial

BASES = {"controllers": Controller, "evaluators": Evaluator, "models": Model, "spaces": Space}


def factory(kind, name):
    return FACTORIES.get(name) or load(name, kind)


def shelf(kind) -> list[str]:
    """Names of the components that this project brings; other packages' plug-ins are not ours to test."""
    return [name for name, point in entry_points(kind).items() if point.value.startswith(f"archsearch.{kind}.")]


@functools.cache
def space_for(evaluator_name) -> Space:
    """The first space on the shelf that the evaluator accepts."""
    for name in (SPACES[evaluator_name],) if evaluator_name in SPACES else shelf("spaces"):
        space = factory("spaces", name)()
        try:
            factory("evaluators", evaluator_name)().check(space)
        except MissingAbility:
            continue
        return space
    raise AssertionError(f"no space on the shelf suits {evaluator_name}")


SLOW = {
    ("Differentiable", "default_settings_evaluate"),
    ("OneShot", "default_settings_evaluate"),
    ("NAO", "beats_random_search"),
    ("NAO", "cost_stays_flat"),
    ("PPO", "beats_random_search"),
    ("Reinforce", "beats_random_search"),
}
"""Super-networks trained for as many epochs as by default: all but the length of this, ``test_presets.py`` runs too.
The default policy, an LSTM: ``test_reinforce.py`` and ``test_ppo.py`` show that it learns, and the quick policy is
checked below. Networks that are trained for long: see ``test_nao.py``."""


def pairs(kind, checks):
    return [
        pytest.param(name, check, id=f"{name}-{check}", marks=pytest.mark.slow if (name, check) in SLOW else ())
        for name in shelf(kind)
        for check in checks
    ]


# -- the shelves -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_no_class_on_a_shelf_is_forgotten(kind):
    package = importlib.import_module(f"archsearch.{kind}")
    defined = set()
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"archsearch.{kind}.{info.name}")
        for name, cls in inspect.getmembers(module, inspect.isclass):
            if not issubclass(cls, BASES[kind]) or inspect.isabstract(cls):  # a base of some of them
                continue
            if cls.__module__ == module.__name__ and not name.startswith("_"):
                defined.add(name)
    assert defined == set(package.ALL), f"ALL in {kind}/__init__.py does not list what the modules define"
    assert defined == set(shelf(kind)), (
        f"the entry points in pyproject.toml do not list what {kind}/ defines; they count once the package is "
        "installed again: python -m pip install --no-deps -e ."
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_can_be_made_for_the_suites(kind):
    for name in shelf(kind):
        assert isinstance(factory(kind, name)(), BASES[kind])


@pytest.mark.parametrize(("name", "check"), pairs("controllers", testing.CONTROLLER_CHECKS))
def test_controller(name, check):
    learner = LEARNERS.get(name) if check == "beats_random_search" else None
    testing.CONTROLLER_CHECKS[check](learner or factory("controllers", name))


@pytest.mark.parametrize(("name", "settings_"), [("Reinforce", {}), ("PPO", {"learning_rate": 0.05})])
def test_the_quick_policy_learns_from_late_lost_and_shuffled_results(name, settings_):
    testing.CONTROLLER_CHECKS["beats_random_search"](lambda: load(name)("softmax", **settings_))


@pytest.mark.parametrize(("name", "check"), pairs("evaluators", testing.EVALUATOR_CHECKS))
def test_evaluator(name, check):
    testing.EVALUATOR_CHECKS[check](factory("evaluators", name), space_for(name))


@pytest.mark.parametrize("name", shelf("evaluators"))
def test_derived_and_an_evaluator_without_a_distribution_are_refused_by_name(name, tmp_path, monkeypatch):
    evaluator, space = factory("evaluators", name)(), space_for(name)
    monkeypatch.setattr(type(evaluator), "prepare", lambda self: pytest.fail("it was prepared"))
    if name == "Differentiable":
        assert isinstance(evaluator, Distribution)
        return
    with pytest.raises(MissingAbility, match=rf"Derived .* {name} has none; use .* or search the scores of this one"):
        search(space, load("Derived")(), evaluator, trials=3, seed=0, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(("name", "check"), pairs("models", testing.MODEL_CHECKS))
def test_model(name, check):
    testing.MODEL_CHECKS[check](factory("models", name))


@pytest.mark.parametrize(("name", "check"), pairs("spaces", testing.SPACE_CHECKS))
def test_space(name, check):
    testing.SPACE_CHECKS[check](factory("spaces", name))


class Mixture(RuleBasedStateMachine):
    """Asks, results in any order, failures and restarts in any mixture: as if there had been no restart."""

    make = Controller

    def __init__(self):
        super().__init__()
        self.space = testing.VariableLengthSpace()
        self.steady, self.restarted = self.new(), self.new()
        self.due, self.asked = {}, 0

    def new(self):
        controller = self.make()
        controller.start(self.space, 0)
        return controller

    @rule(n=st.sampled_from((1, 2, 60)))
    def ask(self, n):
        proposals = self.steady.ask(n)
        assert self.restarted.ask(n) == proposals
        for proposal in proposals:
            assert proposal.id == self.asked
            assert proposal.architecture in self.space
            self.due[proposal.id] = proposal
            self.asked += 1

    @precondition(lambda self: self.due)
    @rule(data=st.data(), score=st.sampled_from((0.0, 0.5, 1.0, None, float("nan"))))
    def tell(self, data, score):
        proposal = self.due.pop(data.draw(st.sampled_from(sorted(self.due))))
        evaluation = None if score is None else Evaluation(score)
        for controller in (self.steady, self.restarted):
            controller.tell([Trial(*proposal[:3], evaluation, budget=proposal.budget)])

    @rule()
    def restart(self):
        state = json.dumps(self.restarted.state_dict())
        self.restarted = self.new()
        self.restarted.load_state_dict(json.loads(state))

    @invariant()
    def nothing_is_lost(self):
        for controller in (self.steady, self.restarted):
            assert controller.pending == {id_: proposal.architecture for id_, proposal in self.due.items()}


@pytest.mark.parametrize("name", shelf("controllers"))
def test_any_mixture_of_asking_telling_and_restarting(name):
    machine = type("Machine", (Mixture,), {"make": staticmethod(factory("controllers", name))})
    examples = 6 if name in ("NAO", "PPO", "Reinforce") else 15  # they take gradient steps for every few trials
    quick = settings(max_examples=examples, stateful_step_count=30, deadline=None, derandomize=True, database=None)
    run_state_machine_as_test(machine, settings=quick)


@pytest.mark.parametrize("name", shelf("controllers"))
def test_controller_proposes_what_is_recorded(name):
    # A difference means that the same seed gives users another search; see the module for how to renew.
    if not renew.path(name).exists():
        pytest.fail(f"golden {name}: nothing is recorded yet; python tests/golden/renew.py does so", pytrace=False)
    recorded = json.loads(renew.path(name).read_text())
    if line := renew.difference(name, recorded, renew.record(name)):
        pytest.fail(line, pytrace=False)


def edited(change):
    recorded = {
        "FixedSpace": {"0": [[1, 2], None], "1": [[1, 3], 0, [9, None]], "2": [[2, 2], None]},
        "ConditionalSpace": {"0": [[4], None]},
    }
    got = json.loads(json.dumps(recorded))
    change(got)
    return renew.difference("Mine", recorded, got)


def test_one_line_says_what_differs_from_a_recording():
    meant = "; if that is meant: python tests/golden/renew.py, and a line in CHANGELOG.md"
    fixed = "golden Mine in FixedSpace: proposal"
    assert edited(lambda got: None) is None
    line = edited(lambda got: got["FixedSpace"].update({"1": [[1, 4], 0, [9, None]], "2": [[2, 1], None]}))
    assert line == f"{fixed} 1: architecture [1, 3] -> [1, 4] (first of 2 of 4){meant}"
    line = edited(lambda got: got["FixedSpace"]["1"].__setitem__(slice(1, None), [None]))
    assert line == f"{fixed} 1: parent 0 -> None, budget [9, None] -> None (first of 1 of 4){meant}"
    line = edited(lambda got: got["FixedSpace"].pop("2"))
    assert line == f"{fixed} 2: no longer there (first of 1 of 4){meant}"
    line = edited(lambda got: got["ConditionalSpace"].update({"7": [[0], None]}))
    assert line == f"golden Mine in ConditionalSpace: proposal 7: not recorded before (first of 1 of 5){meant}"
    line = edited(lambda got: got.pop("ConditionalSpace"))
    assert line == f"golden Mine: spaces FixedSpace, ConditionalSpace -> FixedSpace{meant}"


@pytest.mark.parametrize("name", ["RegularizedEvolution", "Hyperband"])
def test_another_seed_differs_from_the_recording_and_a_failed_test_says_only_that(name, monkeypatch):
    monkeypatch.setattr(renew, "SEED", renew.SEED + 1)
    with pytest.raises(pytest.fail.Exception) as caught:
        test_controller_proposes_what_is_recorded(name)
    assert re.fullmatch(
        rf"golden {name} in FixedSpace: proposal 0: architecture \[.+\] -> \[.+\] \(first of \d+ of 120\); if that .*",
        str(caught.value),
    )
    assert not caught.value.pytrace  # so that pytest shows this line and nothing else


def test_one_line_says_that_nothing_is_recorded_of_a_new_controller():
    with pytest.raises(
        pytest.fail.Exception, match=r"^golden Unrecorded: nothing is recorded yet; python tests/golden/"
    ):
        test_controller_proposes_what_is_recorded("Unrecorded")


def test_no_recording_is_left_over():
    assert {path.stem for path in renew.FOLDER.glob("*.json")} == set(renew.names())


# -- the suites themselves -------------------------------------------------------------------------

SUITES = {
    "controllers": (testing.check_controller, testing.CONTROLLER_CHECKS, broken_controllers.CONTROLLERS),
    "evaluators": (
        functools.partial(testing.check_evaluator, space=testing.FixedSpace()),
        testing.EVALUATOR_CHECKS,
        broken_evaluators.EVALUATORS,
    ),
    "models": (testing.check_model, testing.MODEL_CHECKS, broken_models.MODELS),
    "spaces": (testing.check_space, testing.SPACE_CHECKS, [*broken_spaces.SPACES, *broken_networks.SPACES]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_has_a_component_that_it_finds(kind):
    _, checks, cases = SUITES[kind]
    assert {case.check for case in cases} == set(checks)


@pytest.mark.parametrize(
    ("kind", "case"),
    [
        pytest.param(kind, case, id=f"{case.check}-{type(case.make()).__name__}")
        for kind in KINDS
        for case in SUITES[kind][2]
    ],
)
def test_broken_component_fails_its_own_check_and_only_related_ones(kind, case):
    check_all = SUITES[kind][0]
    with pytest.raises(testing.ContractError) as caught:
        check_all(case.make)
    assert set(caught.value.failures) == {case.check, *case.related}, str(caught.value)
    for name in caught.value.failures:
        assert f"\n  {name}: " in str(caught.value)


@pytest.mark.parametrize(
    "space",
    [
        testing.FixedSpace,
        testing.ConditionalSpace,
        testing.VariableLengthSpace,
        testing.OnePointSpace,
        testing.SeparableSpace,
        broken_spaces.Small,
        broken_networks.Networked,
    ],
)
def test_spaces_of_the_suites_pass(space):
    testing.check_space(space)


@pytest.mark.parametrize(
    "space", [testing.FixedSpace(), testing.ConditionalSpace(), testing.VariableLengthSpace(), testing.OnePointSpace()]
)
def test_right_evaluator_passes(space):
    testing.check_evaluator(broken_evaluators.Toy, space)


def test_right_model_passes():
    testing.check_model(broken_models.Linear)


def test_skip_leaves_checks_out_and_names_must_exist():
    testing.check_controller(broken_controllers.NeverLearns, skip=["beats_random_search"])
    with pytest.raises(UsageError, match="no check is called beats_everyone"):
        testing.check_controller(broken_controllers.NeverLearns, skip=["beats_everyone"])


def test_factory_must_make_new_objects():
    shared = broken_spaces.Small()
    with pytest.raises(UsageError, match="new object"):
        testing.check_space(lambda: shared)


def test_every_check_says_what_it_promises():
    for _, checks, _ in SUITES.values():
        for name, check in checks.items():
            assert inspect.getdoc(check), name


def test_suites_need_no_test_runner_and_no_heavy_library():
    code = (
        "import sys, archsearch.testing\n"
        "heavy = {'pytest', 'torch', 'ray', 'scipy', 'networkx', 'archsearch.controllers', 'archsearch.evaluators',"
        " 'archsearch.spaces'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
