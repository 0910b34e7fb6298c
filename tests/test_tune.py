"""Ray Tune: controllers as searchers, evaluators as trainables, and searchers as controllers."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))

from advancing_lab import Learner  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

from ray import tune  # noqa: E402
from ray.tune.schedulers import ASHAScheduler  # noqa: E402
from ray.tune.search import ConcurrencyLimiter, Repeater, Searcher  # noqa: E402

from archsearch import Space, resume, search  # noqa: E402
from archsearch.components import build, describe  # noqa: E402
from archsearch.controllers import RandomSearch, RegularizedEvolution, SuccessiveHalving  # noqa: E402
from archsearch.errors import RunFolderError, UsageError  # noqa: E402
from archsearch.evaluators import Function  # noqa: E402
from archsearch.seeding import evaluation_seed  # noqa: E402
from archsearch.spaces import Choices, NASBench201  # noqa: E402
from archsearch.testing import ConditionalSpace, FixedSpace, check_controller  # noqa: E402
from archsearch.trial import Cost, Trial  # noqa: E402
from archsearch.tune import ControllerSearch, TuneSearch, _finished_trials, trainable  # noqa: E402

SPACE = Choices({"kernel": [3, 5, 7], "width": [16, 32, 64], "skip": [False, True]})
TREE = Choices({"block": ["conv", "pool"], "kernel": {"options": [3, 5], "when": {"block": "conv"}}})
PLAIN = Space(arities=[4, 3, 5, 2])


def evolution(**settings):
    return ControllerSearch(RegularizedEvolution(6, 3), PLAIN, seed=0, **settings)


def score(config):
    return sum(PLAIN.parse(config["architecture"]))


def drive(searcher, trials, tag="t", answer=score):
    """Asks and tells one by one, as Tune does with one trial at a time; returns the texts of what was asked."""
    asked = []
    for i in range(trials):
        config = searcher.suggest(f"{tag}{i}")
        asked.append(config["architecture"])
        searcher.on_trial_complete(f"{tag}{i}", {"score": answer(config)})
    return asked


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


class Listening(RandomSearch):
    """Remembers what it is told."""

    def _start(self):
        super()._start()
        self.told = []

    def _tell(self, trial):
        self.told.append(trial)


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


# -- in a tuner --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _ray():
    import ray

    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def fit(function, searcher, folder, samples, scheduler=None, param_space=None, name="run"):
    tuner = tune.Tuner(
        function,
        param_space=param_space,
        tune_config=tune.TuneConfig(
            metric="score", mode="max", search_alg=searcher, scheduler=scheduler, num_samples=samples, reuse_actors=True
        ),
        run_config=tune.RunConfig(name=name, storage_path=str(folder), verbose=0),
    )
    return tuner.fit()


@pytest.mark.usefixtures("_ray")
def test_a_tuner_runs_what_the_controller_asks_for(tmp_path):
    searcher = evolution()
    results = fit(
        trainable(Function(sum), PLAIN), ConcurrencyLimiter(searcher, 1), tmp_path, 8, param_space={"data": "here"}
    )
    alone = search(PLAIN, RegularizedEvolution(6, 3), Function(sum), trials=8, seed=0)
    found = sorted((r.config["proposal"], r.config["architecture"], r.metrics["score"]) for r in results)
    assert found == [(t.id, PLAIN.format(t.architecture), t.score) for t in alone.history]
    assert {r.config["data"] for r in results} == {"here"}
    assert all(r.metrics["billed_seconds"] >= 0 for r in results)
    assert searcher.controller.pending == {}
    assert len(_finished_trials(tmp_path / "run")) == 8, "how Tune writes its trials has changed"


class Epochs(Function):
    """Four epochs, of a second each; the score rises with every one. Some architectures fail after the first."""

    def __init__(self):
        super().__init__(sum)

    def check_budgets(self, budgets):
        if max(budgets) > 4:
            raise UsageError("four epochs")

    def evaluate_query(self, query):
        stop, start, origin = query.budget
        assert origin == (query.id if start else None)
        if stop == 2 and query.architecture[0] == 3:
            raise ValueError("on purpose")
        evaluation = self.evaluate(query.architecture, query.seed)
        return evaluation._replace(score=evaluation.score * stop, cost=Cost(recorded_seconds=stop - start))


@pytest.mark.usefixtures("_ray")
def test_a_scheduler_stops_what_reports_after_each_epoch_and_failures_are_told(tmp_path):
    searcher = ControllerSearch(Listening(), PLAIN, seed=9)
    scheduler = ASHAScheduler(max_t=4, grace_period=2, reduction_factor=2)
    results = fit(trainable(Epochs(), PLAIN), searcher, tmp_path, 6, scheduler)
    told = {trial.id: trial for trial in searcher.controller.told}
    failed = {id_ for id_, trial in told.items() if trial.failure == "exception"}
    assert failed == {id_ for id_, trial in told.items() if trial.architecture[0] == 3}
    assert (len(told), len(failed), results.num_errors) == (6, 1, 1)
    lengths = set()
    for result in results:
        metrics = result.metrics
        lengths.add(metrics["length"])
        assert metrics["training_iteration"] == metrics["length"] == metrics["billed_seconds"]
        if result.config["proposal"] not in failed:
            assert metrics["score"] == told[result.config["proposal"]].score == metrics["length"] * score(result.config)
    assert lengths == {1, 2, 4}


@pytest.mark.usefixtures("_ray")
def test_repetitions_have_their_own_seeds_and_one_mean_is_told(tmp_path):
    searcher = ControllerSearch(Listening(), PLAIN, seed=0)
    results = fit(trainable(Seeds(), PLAIN), Repeater(searcher, repeat=2), tmp_path, 4)
    scores = {}
    for result in results:
        scores.setdefault(result.config["proposal"], []).append(result.metrics["score"])
    assert [len(set(each)) for each in scores.values()] == [2, 2]
    assert {t.id: t.score for t in searcher.controller.told} == {id_: sum(two) / 2 for id_, two in scores.items()}
    assert _finished_trials(tmp_path / "run") == set()


class Seeds(Function):
    """Scores by the seed alone."""

    def __init__(self):
        super().__init__(sum)

    def evaluate(self, architecture, seed):
        return super().evaluate(architecture, seed)._replace(score=seed % 1000)


# -- evaluators as trainables ------------------------------------------------------------------------


@pytest.fixture
def reports(monkeypatch):
    found = []
    monkeypatch.setattr("archsearch.tune.tune.report", lambda metrics: found.append(dict(metrics)))
    return found


def configuration(architecture="0-1-2-1", **more):
    return {"architecture": architecture, **more}


def test_evaluators_that_cannot_stop_report_once(reports):
    trainable(Function(sum), PLAIN)(configuration())
    assert [(report["score"], "length" in report) for report in reports] == [(4.0, False)]


def test_lengths_can_be_chosen(reports):
    trainable(Epochs(), PLAIN, lengths=[1, 4])(configuration(seed=1, proposal=7))
    assert [(r["length"], r["score"], r["billed_seconds"]) for r in reports] == [(1, 4, 1), (4, 16, 4)]
    with pytest.raises(UsageError, match="four epochs"):
        trainable(Epochs(), PLAIN, lengths=[1, 5])
    with pytest.raises(UsageError, match="rising, got"):
        trainable(Epochs(), PLAIN, lengths=[4, 1])
    with pytest.raises(UsageError, match="Learner learns on after every 5 trials"):
        trainable(Learner(interval=5), PLAIN)
    with pytest.raises(UsageError, match="text under 'architecture'"):
        trainable(Function(sum), PLAIN)({"kernel": 3})


def test_a_training_that_reports_after_each_epoch_is_the_training_in_one_go(reports, tmp_path):
    from archsearch.evaluators import Training

    space = NASBench201()
    settings = {"epochs": 3, "train_examples": 32, "batch_size": 16, "skeleton": {"channels": 2}}
    text = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|skip_connect~1|avg_pool_3x3~2|"
    trainable(Training(**settings), space, folder=tmp_path / "files")(configuration(text, proposal=4, seed=9))
    whole = Training(**settings)
    whole.start(space)
    expected = whole.evaluate(space.parse(text), 9)
    assert [report["score"] for report in reports] == list(expected.curve)
    assert reports[-1]["valid_loss"] == expected.metrics["valid_loss"]
    billed = [report["billed_seconds"] for report in reports]
    assert 0 < billed[0] < billed[1] < billed[2]
    assert list((tmp_path / "files").iterdir()), "a folder of the user's own is kept"


# -- a searcher as a controller ----------------------------------------------------------------------


class Climber(Searcher):
    """Changes one choice of the best configuration so far; the first 20 are drawn."""

    def __init__(self, metric=None, mode=None, seed=0, most=None, wait=None):
        super().__init__(metric, mode)
        self.rng, self.most, self.wait = random.Random(seed), most, wait
        self.space, self.asked, self.live, self.best = None, 0, {}, (float("-inf"), None)

    def set_search_properties(self, metric, mode, config, **spec):
        if self.space:
            return False
        assert mode == "max"
        self._metric, self.space = metric, {name: domain.categories for name, domain in config.items()}
        return True

    def suggest(self, trial_id):
        if self.asked == self.most:
            return Searcher.FINISHED
        if len(self.live) == self.wait:
            return None
        self.asked += 1
        config = {name: self.rng.choice(options) for name, options in self.space.items()}
        if self.asked > 20 and self.best[1]:
            changed = self.rng.choice(list(self.space))
            config = {**self.best[1], changed: config[changed]}
        self.live[trial_id] = config
        return config

    def on_trial_complete(self, trial_id, result=None, error=False):
        config = self.live.pop(trial_id)
        if not error and result[self.metric] > self.best[0]:
            self.best = result[self.metric], config


NEED_CONDITIONAL = (
    "proposals_lie_in_the_space",
    "start_begins_afresh",
    "same_in_a_new_process",
    "resume_equals_not_stopping",
    "results_in_any_order",
)


@pytest.mark.parametrize("searcher", [Climber, "test_tune.Climber"])
def test_a_searcher_keeps_a_controllers_contract(searcher):
    # The state holds the whole history, since it is resumed by asking and telling again.
    check_controller(lambda: TuneSearch(searcher), skip={*NEED_CONDITIONAL, "cost_stays_flat"})


def test_resumed_it_goes_on_as_if_it_had_not_stopped():
    controller = TuneSearch(Climber)
    controller.start(FixedSpace(), 1)
    twin = TuneSearch(Climber)
    twin.start(FixedSpace(), 2)
    evaluate = Function(sum)
    evaluate.start(FixedSpace())
    due = controller.ask(5)
    for i in range(60):
        due += controller.ask()
        trial = trial_of(due.pop(i % 5), evaluate, failed=i % 7 == 0)
        controller.tell([trial])
    twin.load_state_dict(json.loads(json.dumps(controller.state_dict())))
    assert twin.pending == controller.pending
    for proposal in due:
        controller.tell([trial_of(proposal, evaluate)])
        twin.tell([trial_of(proposal, evaluate)])
    assert twin.ask(50) == controller.ask(50)


def trial_of(proposal, evaluator, failed=False):
    evaluation = None if failed else evaluator.evaluate(proposal.architecture, 0)
    return Trial(proposal.id, proposal.architecture, None, evaluation, failure="exception" if failed else "")


class Forgetful(Climber):
    """Does not repeat itself."""

    made = 0

    def __init__(self, seed=0):
        type(self).made += 1
        super().__init__(seed=seed + self.made)


def test_what_cannot_be_is_a_clear_error():
    with pytest.raises(UsageError, match=r"ConditionalSpace has decisions that depend on others"):
        TuneSearch(Climber).start(ConditionalSpace(), 0)
    with pytest.raises(UsageError, match="expected a class of searchers or its import path, got 7"):
        TuneSearch(7)
    with pytest.raises(UsageError, match=r"cannot be made with .*unexpected keyword"):
        TuneSearch(Climber, {"colour": "red"}).start(PLAIN, 0)
    with pytest.raises(UsageError, match="settings are for a class"):
        TuneSearch(Climber(), {"most": 3})
    patient = TuneSearch(Climber, {"wait": 2})
    patient.start(PLAIN, 0)
    with pytest.raises(UsageError, match=r"no suggestion before it has more results \(2 are pending\)"):
        [patient.ask() for _ in range(3)]
    forgetful = TuneSearch(Forgetful)
    forgetful.start(FixedSpace(), 0)
    forgetful.ask(5)
    with pytest.raises(UsageError, match="does not repeat itself"):
        forgetful.load_state_dict(forgetful.state_dict())


def test_a_searcher_that_ends_ends_the_search_and_an_instance_is_copied():
    for searcher in (Climber(most=7), Climber):
        controller = TuneSearch(searcher, None if isinstance(searcher, Climber) else {"most": 7})
        for _ in range(2):
            result = search(PLAIN, controller, Function(sum), trials=50, seed=0)
            assert (result.completed, result.stopped) == (7, "exhausted")
        assert controller.finished


def test_a_search_with_a_searcher_is_stored_and_resumed(tmp_path):
    whole = search(FixedSpace(), TuneSearch(Climber), Function(sum), trials=60, seed=3)
    search(FixedSpace(), TuneSearch(Climber), Function(sum), trials=30, seed=3, out=tmp_path / "run")
    resumed = resume(tmp_path / "run", trials=60, trust=True)
    assert [t.architecture for t in resumed.history] == [t.architecture for t in whole.history]
    assert build(describe(TuneSearch(Climber, {"most": 3})), trust=True).settings == {"most": 3}


def test_optuna_through_tune_learns_and_repeats_itself():
    pytest.importorskip("optuna").logging.set_verbosity(40)
    space = Space(arities=[5] * 8)
    controller = TuneSearch("ray.tune.search.optuna.OptunaSearch")
    found, again = (search(space, controller, Function(sum), trials=100, seed=0) for _ in range(2))
    assert [t.architecture for t in found.history] == [t.architecture for t in again.history]
    # At random the mean is 16, and the mean of 50 lies within 1.6 of it (3 standard errors); it was 23.
    assert sum(trial.score for trial in list(found.history)[50:]) / 50 > 19


# -- a process that is killed ------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_experiment_is_restored_and_nothing_is_lost(tmp_path):
    drive_it = [sys.executable, str(TESTS / "test_tune.py"), str(tmp_path)]
    environment = {**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": "0"}
    for expected in (-signal.SIGKILL, 0):
        done = subprocess.run(drive_it, env=environment, capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == expected, done.stderr[-3000:]
    state = json.loads(done.stdout.splitlines()[-1])
    assert sorted(state["proposals"]) == list(range(10)), "each exactly once"
    assert state["names"] == drive(evolution(), 10), "with one trial at a time, the path of a run that was not killed"
    assert state["pending"] == {}


class Killer(tune.Callback):
    """Kills the process after the fourth trial, the first time."""

    def __init__(self, marker):
        self.marker, self.done = marker, 0

    def on_trial_start(self, iteration, trials, trial, **info):
        self.done += 1
        if self.done == 5 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def drive_tune(folder):
    """Begins an experiment, or goes on with it, and prints what it came to."""
    import ray

    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    function = trainable(Function(sum), PLAIN)
    if (folder / "run").exists():
        tuner = tune.Tuner.restore(str(folder / "run"), function)
    else:
        limited = ConcurrencyLimiter(evolution(), 1)
        tuner = tune.Tuner(
            function,
            tune_config=tune.TuneConfig(search_alg=limited, num_samples=10, reuse_actors=True),
            run_config=tune.RunConfig(
                name="run", storage_path=str(folder), verbose=0, callbacks=[Killer(folder / "marker")]
            ),
        )
    results = tuner.fit()
    (newest,) = sorted((folder / "run").glob("searcher-state-*"))[-1:]
    state = json.loads(newest.read_text())
    configs = sorted((result.config for result in results), key=lambda config: config["proposal"])
    found = {
        "proposals": [config["proposal"] for config in configs],
        "names": [config["architecture"] for config in configs],
        "pending": state["live"],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    drive_tune(Path(sys.argv[1]))
