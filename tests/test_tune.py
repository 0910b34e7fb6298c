"""Ray Tune: searchers as controllers."""

import json
import random

import pytest
from ray.tune.search import Searcher
from tune_lab import PLAIN

from archsearch import Space, resume, search
from archsearch.components import build, describe
from archsearch.errors import UsageError
from archsearch.evaluators import Function
from archsearch.testing import ConditionalSpace, FixedSpace, check_controller
from archsearch.testing.hearing import others
from archsearch.trial import Trial
from archsearch.tune import TuneSearch

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


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
    "hears_results_of_others",
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


def test_what_others_found_changes_nothing():
    told, alone = TuneSearch(Climber), TuneSearch(Climber)
    for controller in (told, alone):
        controller.start(FixedSpace(), 1)
    told.hear(others(FixedSpace(), 20))
    assert told.ask(5) == alone.ask(5)


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
