"""The settings of a search are written once: whoever takes them shows and takes the same."""

import dataclasses
import inspect
import typing

import pytest
import yaml

import archsearch
from archsearch import (
    LocalExecutor,
    RayExecutor,
    Settings,
    cli,
    compare,
    compare_controllers,
    export,
    resume,
    search,
    verify,
)
from archsearch.cli import options as cli_options
from archsearch.cli.option_parser import OptionParser
from archsearch.controllers import LocalSearch, RandomSearch
from archsearch.errors import RunFolderError, UsageError
from archsearch.evaluators import Function
from archsearch.judging.bench import ComparisonOptions, ComparisonSettings
from archsearch.running.settings import ENDS, EndOptions, SettingOptions, field_names, field_texts
from archsearch.showing.report import report
from archsearch.spaces import Choices

SPACE = Choices({"a": [0, 1, 2, 3], "b": [0, 1, 2, 3]})
TAKE = [
    (search, Settings, SettingOptions, {}),
    (compare, ComparisonSettings, ComparisonOptions, {}),
    (compare_controllers, Settings, EndOptions, {"trials": 150}),
]


def value(choice):
    return choice["a"] + choice["b"]


def half(choice):
    return choice["a"] / 2


def searched(**given):
    return search(SPACE, RandomSearch(), Function(value), seed=0, **given)


def compared(**given):
    return compare(SPACE, {"half": Function(half)}, Function(value), controller=RandomSearch(), seed=0, **given)


def controllers_compared(**given):
    return compare_controllers(SPACE, [LocalSearch()], [Function(value)], seeds=2, **given)


# -- one definition ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "options"), [(Settings, SettingOptions), (ComparisonSettings, ComparisonOptions)], ids=["search", "compare"]
)
def test_keywords_have_the_names_and_types_of_the_settings(cls, options):
    assert typing.get_type_hints(options) == typing.get_type_hints(cls)
    assert not options.__required_keys__


def test_a_part_of_the_keywords_is_a_part_of_the_settings():
    types = typing.get_type_hints(Settings)
    assert typing.get_type_hints(EndOptions).items() <= types.items()
    assert set(ENDS) <= types.keys()


@pytest.mark.parametrize(("function", "cls", "options", "own"), TAKE, ids=lambda each: getattr(each, "__name__", ""))
def test_signature_and_help_show_each_keyword(function, cls, options, own):
    parameters = inspect.signature(function).parameters
    fields = {field.name: field for field in dataclasses.fields(cls) if field.name in options.__annotations__}
    assert len(fields) == len(options.__annotations__)
    for name, field in fields.items():
        assert parameters[name].default == own.get(name, field.default)
        assert parameters[name].annotation == field.type
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    assert not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    arguments = inspect.getdoc(function).partition("\nArgs:\n")[2].partition("\n\n")[0]
    shown = field_texts(type("Shown", (), {"__doc__": f"Shown.\n\nArgs:\n{arguments}"}))
    assert list(shown) == list(parameters)
    assert {name: shown[name] for name in fields} == {name: field_texts(cls)[name] for name in fields}
    assert all(shown.values())


def test_every_field_is_described():
    for cls in (Settings, ComparisonSettings):
        assert list(field_texts(cls)) == field_names(cls)
    assert field_texts(Settings)["trials"] == "Stop after this many completed trials."


@pytest.mark.parametrize(
    ("arguments", "function"),
    [
        (["run"], search),
        (["resume", "r"], resume),
        (["compare"], compare_controllers),
        (["verify", "r"], verify),
        (["export", "r"], export),
        (["report", "r"], report),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)
def test_the_command_line_has_the_defaults_of_the_library(arguments, function, monkeypatch):
    class Parsed(Exception):
        pass

    def stop(parser, *_):
        raise Parsed(parser.get_defaults().as_dict())

    monkeypatch.setattr(OptionParser, "parse_args", stop)
    with pytest.raises(Parsed) as found:
        cli.COMMANDS[arguments[0]](arguments[1:])
    defaults = found.value.args[0]
    parameters = inspect.signature(function).parameters
    common = [name for name in ("top", "seed", "executor", "workers") if name in parameters]
    assert common
    assert {name: defaults[name] for name in common} == {name: parameters[name].default for name in common}
    if function in (search, resume):
        fields = {field.name: field.default for field in dataclasses.fields(Settings)}
        assert {name: defaults[name] for name in fields} == fields


# -- given as such, or by keyword ----------------------------------------------------------------------


def test_settings_do_the_same_as_keywords(tmp_path):
    given = {"trials": 6, "duplicates": "reuse", "lag": 2, "retries": {"timeout": 1}}
    one = searched(settings=Settings(**given), out=tmp_path / "one")
    two = searched(**given, out=tmp_path / "two")
    assert [trial.architecture for trial in one.history] == [trial.architecture for trial in two.history]
    configs = [yaml.safe_load((tmp_path / name / "config.yaml").read_text()) for name in ("one", "two")]
    assert configs[0] == configs[1]
    assert list(configs[0]["settings"]) == field_names(Settings)
    assert archsearch.Settings is Settings


def test_a_comparison_takes_settings_of_its_own():
    given = {"samples": 10, "seeds": 1, "trials": 2, "budgets": (9, 2.0)}
    one, two = compared(settings=ComparisonSettings(**given)), compared(**given)
    assert one.budgets == two.budgets == (2.0, 9.0)
    assert [row.agreement.tau for row in one.rows] == [row.agreement.tau for row in two.rows]


def test_a_comparison_of_controllers_takes_settings():
    one, two = controllers_compared(settings=Settings(trials=8)), controllers_compared(trials=8)
    assert [each.regret for each in one.standings] == [each.regret for each in two.standings]
    assert one.evaluations == 8
    assert controllers_compared(settings=Settings(trials=30)).evaluations == 16, "repeats are answered from memory"


def test_a_run_goes_on_under_other_settings(tmp_path):
    searched(trials=3, max_failures=7, out=tmp_path / "run")
    assert resume(tmp_path / "run", evaluator=Function(value), trials=5).completed == 5
    assert resume(tmp_path / "run", evaluator=Function(value), settings=Settings(trials=6)).completed == 6
    with pytest.raises(RunFolderError, match="limits: the run was made with None"):
        resume(tmp_path / "run", evaluator=Function(value), settings=Settings(trials=7, limits={"flops": 1.0}))


@pytest.mark.parametrize(
    ("call", "name", "settings", "keyword"),
    [
        (searched, "search", Settings(trials=2), "lag"),
        (compared, "compare", ComparisonSettings(), "samples"),
        (controllers_compared, "compare_controllers", Settings(trials=2), "trials"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_settings_are_given_in_one_way(call, name, settings, keyword):
    with pytest.raises(UsageError, match=rf"^{name}: {keyword}: given twice, by settings and by keyword; .*{keyword}="):
        call(settings=settings, **{keyword: 12})
    with pytest.raises(UsageError, match=rf"^{name}: settings: expected {type(settings).__name__}\(...\), got {{'tr"):
        call(settings={"trials": 3})
    with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument 'colour'"):
        call(colour="red")


def test_a_run_goes_on_under_settings_that_are_given_in_one_way(tmp_path):
    searched(trials=3, out=tmp_path / "run")
    with pytest.raises(UsageError, match=r"^resume: trials, lag: given twice"):
        resume(tmp_path / "run", evaluator=Function(value), settings=Settings(trials=5), trials=5, lag=1)


# -- the executor of a run -----------------------------------------------------------------------------


@pytest.fixture
def resumed(tmp_path):
    """Gives the executor that a command goes on with, of a run that had another one."""
    searched(trials=1, out=tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    config = yaml.safe_load(path.read_text())

    def executor(stored, **given):
        path.write_text(yaml.safe_dump(config | stored))
        options = {name: each.default for name, each in inspect.signature(RayExecutor).parameters.items()}
        options |= {"directory": str(tmp_path / "run"), "trust": False, "executor": None, "workers": None, **given}
        return cli_options.executor_of_run(options)["executor"]

    return executor


def test_what_names_the_executor_of_a_run_keeps_its_settings(resumed):
    local = {"class_path": "archsearch.LocalExecutor", "init_args": {"isolate": True, "memory_gib": None}}
    for given in ({}, {"executor": "local"}):
        assert resumed({"executor_settings": local}, **given).isolate
    assert not resumed({"executor_settings": local}, isolate=False).isolate
    assert resumed({"executor_settings": local}, executor="simulated") == "simulated"
    plain = resumed({})
    assert isinstance(plain, LocalExecutor)
    assert not plain.isolate
    with pytest.raises(UsageError, match="the local executor has one worker, got workers=2"):
        resumed({"executor_settings": local}, workers=2)


def test_an_executor_that_was_given_by_name_keeps_its_workers(resumed):
    by_name = {"executor": "ray", "workers": 6, "executor_settings": None}
    for given, workers in (({}, 6), ({"cpus": 2.0}, 6), ({"cpus": 2.0, "workers": 3}, 3), ({"executor": "ray"}, 6)):
        executor = resumed(by_name, **given)
        assert (executor.workers, executor.cpus) == (workers, given.get("cpus", 1.0))


def test_settings_of_another_executor_are_refused(resumed):
    with pytest.raises(UsageError, match=r"^--cpus, --gpus: only together with --executor ray$"):
        resumed({}, cpus=2.0, gpus=1.0)
    with pytest.raises(UsageError, match=r"^--isolate: only together with --executor local"):
        resumed({"executor": "ray"}, isolate=True)
    with pytest.raises(UsageError, match=r"^--cpus: only together with --executor ray"):
        resumed({}, isolate=True, cpus=2.0)
