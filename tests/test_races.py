"""Races inside searches: the same on every executor, killed and resumed, in reports, on the command line."""

import json
import random
import signal

import certainty_lab
import forked
import jsonschema
import pyarrow.compute as pc
import pytest
from certainty_lab import Noisy, space
from common import run_command

from archsearch import resume, search, verify
from archsearch.controllers import RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.errors import RunFolderError
from archsearch.keeping.folder import RunFolder
from archsearch.pareto import front_of
from archsearch.showing.report import report
from archsearch.showing.report_pictures import _best_so_far
from archsearch.showing.status import standing

SURE = {"error": 0.05, "share": 0.5}


def path(trials):
    return [(t.id, t.architecture, t.parent, t.score, t.repeat_of, t.budget) for t in trials]


def run(sigma=0.5, controller=None, trials=80, seed=1, certainty=None, **settings):
    controller = controller or RegularizedEvolution(8, 3)
    return search(space(), controller, Noisy(sigma), trials=trials, seed=seed, certainty=certainty or SURE, **settings)


def test_repeats_are_trials_of_the_best_under_other_seeds_and_the_controller_hears_of_none():
    told = []

    class Listening(RandomSearch):
        def _tell(self, trial):
            told.append(trial.id)

    result = run(controller=Listening(), duplicates="reuse")
    trials = {trial.id: trial for trial in result.history}
    repeats = [trial for trial in trials.values() if trial.repeat_of is not None]
    assert len(repeats) == result.certainty.repeats > 10
    for repeat in repeats:
        first = trials[repeat.repeat_of]
        assert (repeat.architecture, repeat.parent) == (first.architecture, first.parent)
        assert repeat.seed != first.seed
        assert repeat.id not in told
    assert len({repeat.seed for repeat in repeats}) == len(repeats)
    assert result.cost.wall_seconds == pytest.approx(sum(trial.seconds for trial in trials.values()))
    assert result.completed == len(trials) <= 80


def test_with_a_lag_the_race_depends_on_the_seed_alone():
    found = [
        sorted(path(run(lag=4, executor=executor, workers=workers).history))
        for executor, workers in (("local", 1), ("simulated", 1), ("simulated", 4), ("simulated", 9))
    ]
    assert found[1:] == found[:-1]
    assert any(trial[4] is not None for trial in found[0])


@pytest.mark.parametrize("settings", [{}, {"batch": 4}, {"executor": "simulated", "workers": 30}, {"lag": 50}])
def test_races_end_however_much_is_evaluated_together(settings):
    result = run(**settings)
    assert result.certainty.repeats > 10
    assert result.stopped == "trials"


@pytest.mark.parametrize("budget", [{"max_cost": 60.0}, {"max_seconds": 60.0}])
def test_shares_of_costs_and_times_are_kept_too(budget):
    """On a virtual clock, one second an evaluation."""

    class Costly(Noisy):
        def evaluate(self, architecture, seed):
            return super().evaluate(architecture, seed)._replace(cost=certainty_lab.second())

    result = search(
        space(), RandomSearch(), Costly(2.0), seed=1, executor="simulated", workers=2, certainty=SURE, **budget
    )
    proposals = sum(trial.repeat_of is None for trial in result.history)
    whole = 60 * (1 if "max_cost" in budget else 2)
    assert whole / 2 <= proposals <= whole / 2 + 2
    assert whole - 2 <= result.completed <= whole + 2


def test_of_controllers_with_budgets_those_trained_longest_are_trained_again_from_the_beginning():
    controller = SuccessiveHalving(RandomSearch(), min_budget=1, max_budget=9, reduction=3)
    result = search(space(), controller, certainty_lab.Lengths(0.5), trials=150, seed=0, certainty=SURE)
    repeats = [trial for trial in result.history if trial.repeat_of is not None]
    assert {trial.budget for trial in repeats} == {(9, 0, None)}
    assert result.best.budget.stop == 9


@pytest.mark.parametrize(("executor", "workers", "lag"), [("local", 1, None), ("simulated", 5, None), ("local", 1, 3)])
def test_killed_inside_the_race_it_walks_the_same_path(executor, workers, lag, tmp_path):
    drive = certainty_lab.drive, executor, workers, lag
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    quick = {certainty_lab.PAUSE: "0"}
    assert forked.run(*drive, cwd=tmp_path / "whole", environment=quick).poll() == 0
    whole = path(RunFolder(tmp_path / "whole" / "run").trials(3))
    race = sum(trial[4] is not None for trial in whole)
    assert race > 40

    delays, kills, folder = random.Random(0), 0, tmp_path / "killed"
    while kills < 4:
        process = forked.Process(*drive, cwd=folder)
        lines = len(whole) - race + kills * 12 + delays.randrange(6)  # the first kill is where the race begins
        while process.poll() is None and _calls(folder) < lines:
            process.wait(timeout=0.005)
        process.kill()
        process.wait()
        kills += 1
    assert forked.run(*drive, cwd=folder, environment=quick).poll() == 0
    assert path(RunFolder(folder / "run").trials(3)) == whole
    assert _calls(folder) <= len(whole) + kills * workers


def _calls(folder):
    log = folder / "calls.log"
    return log.read_text().count("\n") if log.exists() else 0


def test_a_run_that_is_extended_proposes_on_and_races_again(tmp_path):
    first = run(controller=RandomSearch(), out=tmp_path / "run", trials=40)
    assert first.certainty.repeats == 20
    longer = resume(tmp_path / "run", trials=100, evaluator=Noisy(0.5))
    assert [trial.id for trial in longer.history] == list(range(len(longer.history)))
    repeats = [trial.id for trial in longer.history if trial.repeat_of is not None]
    assert repeats[:20] == list(range(20, 40))
    assert min(repeats[20:]) == 50 + 0 or min(repeats[20:]) >= 50
    unbroken = search(space(), RandomSearch(), Noisy(0.5), trials=50, seed=1)
    proposals = [trial.architecture for trial in longer.history if trial.repeat_of is None]
    assert proposals == [trial.architecture for trial in unbroken.history][: len(proposals)]


def test_certainty_can_be_asked_for_once_a_run_has_ended(tmp_path):
    search(space(), RandomSearch(), Noisy(0.5), trials=40, seed=1, out=tmp_path / "run")
    result = resume(tmp_path / "run", evaluator=Noisy(0.5), trials=60, certainty={"share": 0.33})
    assert result.certainty.repeats == 19
    assert standing(tmp_path / "run", trust=True).document["certainty"]["repeats"] == 19


def test_a_race_that_has_begun_keeps_its_error_rate(tmp_path):
    def stop(trial):
        if trial.repeat_of is not None:
            signal.raise_signal(signal.SIGINT)

    begun = run(controller=RandomSearch(), out=tmp_path / "run", on_trial=stop)
    assert (begun.stopped, begun.certainty.repeats) == ("interrupted", 1)
    with pytest.raises(RunFolderError, match=r"race of this run was begun at an error rate of 0\.05, got 0\.1"):
        resume(tmp_path / "run", evaluator=Noisy(0.5), certainty={"error": 0.1, "share": 0.5})
    whole = run(controller=RandomSearch())
    assert path(resume(tmp_path / "run", evaluator=Noisy(0.5)).history) == path(whole.history)


# -- what people and programs see ------------------------------------------------------------------


def test_everything_says_the_same_of_the_winner(tmp_path, capsys):
    result = run(controller=RandomSearch(), out=tmp_path / "run")
    sentence = result.certainty.sentence
    assert "leads with a mean of " in sentence
    assert f"certainty {sentence}" in str(result)
    told = standing(tmp_path / "run", trust=True)
    assert sentence in told.text
    assert told.document["certainty"] == result.certainty.document()
    assert told.document["best"]["trial"] == result.best.id
    page = report(tmp_path / "run", trust=True)
    printed = capsys.readouterr().out
    assert f"trial {result.best.id} {sentence}" in printed
    assert "Scored again" in page.read_text()
    first = next(line.split() for line in printed.splitlines() if line.strip().startswith("1 "))
    assert int(first[1]) == result.best.id


def test_pictures_and_fronts_go_by_the_scores_of_the_search(tmp_path):
    result = run(controller=RandomSearch(), sigma=2.0)
    table = result.history.table()
    completed = table.filter(pc.equal(table["status"], "completed"))
    own = table.filter(pc.is_null(table["repeat_of"]))["score"].to_numpy()
    assert completed["score"].to_numpy().max() > own.max(), "no repeat was luckier: this test shows nothing"
    assert _best_so_far(completed, completed["score"].to_numpy())[-1] == own.max()
    front = front_of(table, {"score": "max", "started_seconds": "min"})
    assert max(row["score"] for row in front.rows) == own.max()


def test_a_verification_is_as_sure_as_it_is_asked_to_be(tmp_path):
    run(controller=RandomSearch(), out=tmp_path / "run", certainty={"share": 0})
    evaluator = Noisy(0.2)
    found = verify(tmp_path / "run", evaluator, top=5, seed=0, certainty={"share": 0.8}, trust=True)
    assert found.standing is not None
    assert found.ranked[0].trial == found.standing.trial.id
    assert {each.trial.id for each in found.standing.raced} <= {each.trial for each in found.architectures}
    assert f"certainty trial {found.ranked[0].trial} {found.standing.sentence}" in str(found)
    again = verify(tmp_path / "run", evaluator, top=5, certainty={"share": 0.8}, trust=True)
    assert (again.number, again.standing) == (found.number, found.standing)
    other = verify(tmp_path / "run", evaluator, top=5, trust=True)
    assert other.number != found.number
    assert other.standing is None


def test_the_command_line_takes_an_error_rate_or_both(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    common = ["run", "--space", "NASBench201", "--trials", "60", "--seed", "1", "--quiet", "--json"]
    noisy = ["--evaluator", "Function", "--evaluator.function", "certainty_lab.of_text", "--controller", "RandomSearch"]
    for place, given in enumerate((["--certainty", "0.05"], ["--certainty", "{error: 0.05, share: 0.2}"])):
        status, out, _ = run_command(capsys, *common, *noisy, *given, "--out", f"run{place}")
        assert status == 0
        document = json.loads(out)
        assert document["certainty"]["repeats"] == 12
        assert document["certainty"]["error"] == 0.05
    with (certainty_lab.ROOT / "docs" / "answers.schema.json").open() as file:
        jsonschema.validate(document, json.load(file))
    status, _, said = run_command(capsys, *common, "--certainty", "sure", "--out", "none")
    assert (status, said.count("\n")) == (2, 1)
    assert "certainty" in said
