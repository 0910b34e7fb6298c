"""Ray Tune: controllers as searchers, without Tune's loop; saved and restored."""

import json

import pytest
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Searcher
from tune_lab import PLAIN, Listening, drive, evolution, score

from archsearch import search
from archsearch.basics.seeding import evaluation_seed
from archsearch.controllers import RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.errors import RunFolderError, UsageError
from archsearch.evaluators import Function
from archsearch.spaces import Choices
from archsearch.tune import ControllerSearch

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own
SPACE = Choices({"kernel": [3, 5, 7], "width": [16, 32, 64], "skip": [False, True]})
TREE = Choices({"block": ["conv", "pool"], "kernel": {"options": [3, 5], "when": {"block": "conv"}}})


# -- a searcher without Tune's loop ------------------------------------------------------------------


def test_decisions_are_readable_keys():
    config = ControllerSearch(RandomSearch(), SPACE, seed=0).suggest("a")
    assert set(config) == {"kernel", "width", "skip", "architecture", "proposal", "parent", "seed"}
    values = {name: config[name] for name in ("kernel", "width", "skip")}
    assert SPACE.encode(values) == SPACE.parse(config["architecture"])
    assert (config["proposal"], config["parent"], config["seed"]) == (0, None, evaluation_seed(0, 0))
    plain = ControllerSearch(RandomSearch(), PLAIN, seed=0).suggest("a")
    assert [plain[f"decision_{i}"] for i in range(4)] == list(PLAIN.parse(plain["architecture"]))


def test_keys_of_conditional_spaces_and_names_that_are_taken():
    searcher = ControllerSearch(RandomSearch(), TREE, seed=0)
    configs = [searcher.suggest(str(i)) for i in range(20)]
    assert {("kernel" in config, config["block"]) for config in configs} == {(True, "conv"), (False, "pool")}
    taken = ControllerSearch(RandomSearch(), Choices({"seed": ["red", "green"], "in/out": [1, 2]}), seed=0).suggest("a")
    assert (taken["decision_seed"] in ("red", "green"), taken["in|out"] in (1, 2)) == (True, True)
    assert taken["seed"] == evaluation_seed(0, 0)


def test_it_walks_the_controllers_own_path():
    names = drive(evolution(), 40)
    alone = search(PLAIN, RegularizedEvolution(6, 3), Function(sum), trials=40, seed=0)
    assert names == [PLAIN.format(trial.architecture) for trial in alone.history]


def test_lower_is_better_with_mode_min():
    up, down = evolution(), evolution(metric="loss", mode="min")
    expected = drive(up, 40)
    for i, name in enumerate(expected):
        config = down.suggest(str(i))
        assert config["architecture"] == name
        down.on_trial_complete(str(i), {"loss": -score(config)})


@pytest.mark.parametrize(
    ("result", "error", "failure"),
    [
        ({"score": 1.5, "loss": 2, "done": True, "config/width": 3, "date": "today"}, False, ""),
        ({"score": float("nan")}, False, "invalid_score"),
        ({"loss": 2.0}, False, "invalid_score"),
        (None, True, "exception"),
        ({"score": 1.0}, True, "exception"),
    ],
)
def test_what_the_controller_is_told(result, error, failure):
    searcher = ControllerSearch(Listening(), PLAIN, seed=3)
    config = searcher.suggest("a")
    searcher.on_trial_complete("a", result, error=error)
    (trial,) = searcher.controller.told
    assert (trial.id, PLAIN.format(trial.architecture), trial.seed) == (0, config["architecture"], config["seed"])
    assert trial.failure == failure
    assert trial.status == ("failed" if failure else "completed")
    if not failure:
        assert (trial.score, dict(trial.metrics)) == (1.5, {"loss": 2.0})
    searcher.on_trial_complete("a", {"score": 9.0})
    searcher.on_trial_complete("unheard of", {"score": 9.0})
    assert len(searcher.controller.told) == 1


def test_a_trial_that_is_stopped_while_paused_counts_one_that_never_ran_is_proposed_again():
    searcher = ControllerSearch(Listening(), PLAIN, seed=3)
    first, second = searcher.suggest("a"), searcher.suggest("b")
    searcher.on_trial_result("a", {"score": 4.0})
    searcher.on_trial_complete("a")
    searcher.on_trial_complete("b")
    assert [trial.score for trial in searcher.controller.told] == [4.0]
    again = searcher.suggest("c")
    assert (again, again["proposal"]) == (second, 1)
    assert searcher.suggest("d")["proposal"] == 2
    assert first["proposal"] == 0


class Bounded(RandomSearch):
    """Proposes three architectures."""

    @property
    def finished(self):
        return self._next_id == 3


def test_a_controller_that_ends_ends_the_experiment():
    searcher = ControllerSearch(Bounded(), PLAIN, seed=0)
    assert [searcher.suggest(name)["proposal"] for name in "abc"] == [0, 1, 2]
    assert searcher.suggest("d") == Searcher.FINISHED
    searcher.on_trial_complete("b")  # never ran
    assert searcher.suggest("e")["proposal"] == 1
    assert searcher.suggest("f") == Searcher.FINISHED


def test_bad_settings_are_clear_errors():
    with pytest.raises(UsageError, match="no budgets itself"):
        ControllerSearch(SuccessiveHalving(), PLAIN)
    with pytest.raises(UsageError, match="mode max or min, got 'score' and 'best'"):
        ControllerSearch(RandomSearch(), PLAIN, metric="score", mode="best")
    searcher = evolution(metric="loss")
    with pytest.raises(UsageError, match="metric='loss', but the tuner 'score'"):
        searcher.set_search_properties("score", "max", {})
    with pytest.raises(UsageError, match="param_space: inner/rate"):
        searcher.set_search_properties("loss", "min", {"inner": {"rate": tune.uniform(0, 1)}})
    assert searcher.set_search_properties("loss", "min", {"data": "/data"})
    assert (searcher.metric, searcher.mode) == ("loss", "min")
    fresh = evolution()
    assert fresh.set_search_properties("loss", "min", {"data": "/data"})
    assert (fresh.metric, fresh.mode) == ("loss", "min")


# -- save and restore --------------------------------------------------------------------------------


def restored(path, wrap=lambda searcher: searcher, seed=5):
    searcher = wrap(ControllerSearch(RegularizedEvolution(6, 3), PLAIN, seed=seed))
    searcher.restore(str(path))
    return searcher


def test_restored_it_goes_on_as_if_it_had_not_stopped(tmp_path):
    whole, halved = evolution(), evolution()
    expected = drive(whole, 20) + drive(whole, 20, "u")
    first = drive(halved, 20)
    halved.save(str(tmp_path / "state"))
    assert first + drive(restored(tmp_path / "state"), 20, "u") == expected
    assert list(tmp_path.iterdir()) == [tmp_path / "state"]
    json.loads((tmp_path / "state").read_text())


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: ConcurrencyLimiter(s, 3)], ids=["bare", "limited"])
def test_what_was_pending_is_told_late_or_proposed_again(tmp_path, wrap):
    before = wrap(evolution())
    drive(before, 10)
    pending = [before.suggest(name) for name in ("a", "b", "c")]
    before.save(str(tmp_path / "state"))
    after = restored(tmp_path / "state", wrap)
    controller = getattr(after, "searcher", after).controller
    assert len(controller.pending) == 3
    after.on_trial_complete("b", {"score": 4.0})  # Tune ran it on: the limiter does not know it any more
    assert len(controller.pending) == 2
    again = [after.suggest(name) for name in ("d", "e")]
    assert again == [pending[0], pending[2]]
    assert after.suggest("f")["proposal"] == 13
    after.on_trial_complete("a", {"score": 1.0})  # too late, or the second of two: one of them counts
    after.on_trial_complete("d", {"score": 1.0})
    after.on_trial_complete("e", {"score": 1.0})
    after.on_trial_complete("f", {"score": 1.0})
    assert controller.pending == {}
    assert after.suggest("g")["proposal"] == 14


def test_the_limiter_keeps_its_limit_through_a_restore(tmp_path):
    before = ConcurrencyLimiter(evolution(), 2)
    assert [bool(before.suggest(name)) for name in "abc"] == [True, True, False]
    before.searcher.save_to_dir(str(tmp_path), "1")
    after = ConcurrencyLimiter(evolution(), 2)
    after.searcher.restore_from_dir(str(tmp_path))  # as Tuner.restore does: "a" and "b" go on
    assert after.suggest("c") is None
    after.on_trial_complete("b", {"score": 1.0})
    assert after.suggest("d")["proposal"] == 2
    assert after.suggest("e") is None


def test_a_trial_that_has_finished_by_the_experiments_records_but_was_not_told_is_proposed_again(tmp_path):
    before = evolution()
    configs = {name: before.suggest(name) for name in "abcd"}
    before.on_trial_complete("d")  # never ran
    before.save_to_dir(str(tmp_path), "1")
    statuses = {"a": "RUNNING", "b": "TERMINATED", "c": "ERROR", "d": "TERMINATED"}
    trials = [[json.dumps({"trial_id": name, "status": status}), "{}"] for name, status in statuses.items()]
    (tmp_path / "experiment_state-1.json").write_text(json.dumps({"trial_data": trials}))
    after = evolution()
    after.restore_from_dir(str(tmp_path))
    assert [after.suggest(name) for name in "efg"] == [configs[name] for name in "bcd"]
    assert after.suggest("h")["proposal"] == 4
    after.save_to_dir(str(tmp_path), "2")
    again = evolution()
    again.restore_from_dir(str(tmp_path))  # "e" to "h" go on
    assert again.suggest("i")["proposal"] == 5


def test_a_trial_that_is_restarted_under_another_id_is_known_by_its_configuration(tmp_path):
    searcher = evolution()
    config = searcher.suggest("a")
    result = {"score": 1.0, **{f"config/{name}": value for name, value in config.items()}}
    searcher.on_trial_complete("b", result)
    assert searcher.controller.pending == {}
    searcher.on_trial_complete("a", {"score": 1.0})


def test_files_of_other_searches_are_refused(tmp_path):
    evolution().save(str(tmp_path / "state"))
    with pytest.raises(RunFolderError, match=r"its controller is RegularizedEvolution\(.*not RandomSearch"):
        ControllerSearch(RandomSearch(), PLAIN).restore(str(tmp_path / "state"))
    with pytest.raises(RunFolderError, match="its space is"):
        ControllerSearch(RegularizedEvolution(6, 3), SPACE).restore(str(tmp_path / "state"))
    (tmp_path / "half").write_text('{"format": 1, "contr')
    for name in ("half", "missing"):
        with pytest.raises(RunFolderError, match="cannot be read"):
            restored(tmp_path / name)
