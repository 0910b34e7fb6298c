"""``Advised``: functions, commands and files that advise; what they do wrong; resumes that ask nobody again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import advised_lab
import pytest
from advised_lab import SPACE, score

from archsearch import Evaluation, Evaluator, control, resume, search
from archsearch.components import describe
from archsearch.controllers import Advised, LocalSearch, RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.errors import NotTrusted, UsageError
from archsearch.evaluators import Function
from archsearch.keeping.trust import check_files
from archsearch.showing.rows import proposers
from archsearch.spaces import NASBench201

LAB = Path(__file__).parent / "advised_lab.py"
PROGRAM = LAB.with_name("adviser_program.py")


def path_of(trials):
    return [(t.id, t.architecture, t.parent, t.score, t.proposed_by) for t in trials]


def advised(adviser, trials=20, share=0.5, inner=None, **options):
    settings = {name: options.pop(name) for name in ("timeout",) if name in options}
    controller = Advised(inner or RandomSearch(), adviser, share=share, **settings)
    return controller, search(SPACE, controller, Function(score), trials=trials, seed=0, **options)


def by_adviser(result):
    return [trial.architecture for trial in result.history if trial.proposed_by == "adviser"]


# -- advice ----------------------------------------------------------------------------------------


def test_an_adviser_that_knows_finds_what_chance_does_not():
    controller, result = advised(advised_lab.better, share=0.3, trials=40)
    alone = search(SPACE, RandomSearch(), Function(score), trials=40, seed=0)
    assert result.best.score == 12.0 > alone.best.score
    assert controller.counts["asked"] == 12, "three of ten"
    found = controller.found
    assert found["adviser"]["trials"] == len(by_adviser(result))
    assert found["adviser"]["best"] == 12.0
    assert found["controller"]["trials"] + found["adviser"]["trials"] == 40
    for who, of in (("controller", ""), ("adviser", "adviser")):
        scores = [trial.score for trial in result.history if trial.proposed_by == of]
        assert found[who]["mean"] == pytest.approx(sum(scores) / len(scores))


def test_what_an_adviser_is_shown_is_json_and_grows_with_the_search():
    seen = []

    def watch(state):
        seen.append(json.loads(json.dumps(state)))
        return

    advised(watch, trials=60, inner=RegularizedEvolution(population_size=8))
    last = seen[-1]
    assert set(last) == {*("goal", "answer", "space", "controller", "trials", "best", "last", "found", "notes")}
    assert [each["options"] for each in last["space"]["decisions"]] == [4, 3, 5, 2, 3]
    assert last["space"]["architectures"] == 360
    assert [len(last["best"]), len(last["last"])] == [5, 20]
    scores = [each["score"] for each in last["best"]]
    assert scores == sorted(scores, reverse=True)
    assert last["trials"]["completed"] >= 55
    assert last["trials"]["planned"] == 60
    assert last["controller"]["name"] == "RegularizedEvolution"
    assert len(last["controller"]["state"]["_members"]) == 8
    assert SPACE.parse(last["best"][0]["architecture"]) == tuple(last["best"][0]["options"])


def test_without_an_adviser_or_share_it_is_the_controller_alone():
    for controller in (Advised(RandomSearch()), Advised(RandomSearch(), advised_lab.better, share=0.0)):
        result = search(SPACE, controller, Function(score), trials=10, seed=0)
        assert by_adviser(result) == []
        assert controller.counts["asked"] == 0


def test_the_controller_hears_of_everything_and_names_advice_as_parents():
    heard = []

    class Hearing(RegularizedEvolution):
        def _hear(self, trial):
            heard.append(trial.architecture)
            super()._hear(trial)

    _, result = advised(advised_lab.better, trials=60, inner=Hearing(population_size=5), share=0.3)
    assert heard == by_adviser(result)
    trials = list(result.history)
    children = [trial for trial in trials if trial.parent is not None]
    assert any(trials[child.parent].proposed_by == "adviser" for child in children)
    for child in children:
        parent = trials[child.parent].architecture
        assert sum(a != b for a, b in zip(child.architecture, parent, strict=True)) == 1


def test_several_architectures_of_one_answer_are_tried_one_after_another():
    answers = iter([{"architectures": ["1-1-1-1-1", [0, 0, 0, 0, 0]]}, "2-2-2-1-2", [3, 0, 0, 0, 0], [[3, 1, 0, 0, 0]]])
    controller, result = advised(lambda state: next(answers), trials=5, share=1.0)
    assert by_adviser(result) == [(1, 1, 1, 1, 1), (0, 0, 0, 0, 0), (2, 2, 2, 1, 2), (3, 0, 0, 0, 0), (3, 1, 0, 0, 0)]
    assert controller.counts["asked"] == 4


BAD = {
    "not in the space": ("9-9-9-9-9", "refused"),
    "no text of the space": ("a nice one", "refused"),
    "options that are none": ({"architecture": [1, 2.5]}, "refused"),
    "an object in a list": ([{}], "refused"),
    "a number": (3, "failed"),
    "an object without": ({"idea": 3}, "failed"),
    "what is no JSON": (object(), "failed"),
    "nothing": (None, "silent"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_used_costs_the_adviser_its_turn(what):
    answer, counted = BAD[what]
    controller, result = advised(lambda state: answer, trials=8)
    assert [result.completed, by_adviser(result)] == [8, []]
    assert controller.counts[counted] == controller.counts["asked"] == 4
    assert bool(controller.notes) == (counted != "silent")
    assert all(note.startswith(f"{counted}: ") and "\n" not in note for note in controller.notes)


def test_an_adviser_that_raises_is_noted():
    def raises(state):
        raise RuntimeError("out of ideas")

    controller, result = advised(raises, trials=8)
    assert result.completed == 8
    assert controller.notes[0] == "failed: RuntimeError: out of ideas"


def test_repeats_and_what_is_beyond_the_limits_are_refused_with_the_reason():
    class Telling(Function):
        def measure(self, architecture):
            return {"size": float(sum(architecture))}

    controller = Advised(RandomSearch(), lambda state: [[3, 2, 4, 1, 2], [0, 0, 0, 0, 1]], share=0.5)
    result = search(SPACE, controller, Telling(score), trials=12, seed=0, limits={"size": 9.0})
    assert by_adviser(result) == [(0, 0, 0, 0, 1)]
    assert "refused: 3-2-4-1-2: size 12 > 9" in controller.notes
    assert "refused: 0-0-0-0-1: it was proposed before" in controller.notes


def test_advice_is_evaluated_with_budgets_by_a_controller_around_it():
    controller = SuccessiveHalving(Advised(RandomSearch(), advised_lab.better), min_budget=1, max_budget=4, reduction=2)

    class Curve(Evaluator):
        def check_budgets(self, budgets):
            assert budgets == (1, 2, 4)

        def evaluate_query(self, query):
            found = score(query.architecture)
            return Evaluation(found, curve=(found,) * query.budget.stop)

    result = search(SPACE, controller, Curve(), trials=30, seed=0)
    assert result.completed == 30
    assert controller.controller.counts["taken"] > 0


# -- commands and files ----------------------------------------------------------------------------


def command(how):
    return f"command: {sys.executable} {PROGRAM} {how}"


def test_a_command_reads_the_state_and_writes_an_answer():
    controller, result = advised(command("well"), trials=6, share=0.5, inner=LocalSearch())
    assert controller.counts == {"asked": 3, "taken": 3, "refused": 0, "silent": 0, "failed": 0}
    assert len(by_adviser(result)) == 3


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("late", "failed: no answer within 0.5 s"),
        ("fails", "failed: exit status 1: ValueError: no idea"),
        ("talks", "failed: expected JSON, got 'I think: {'"),
    ],
)
def test_a_command_that_goes_wrong_costs_its_turn(how, said):
    controller, result = advised(command(how), trials=2, timeout=0.5 if how == "late" else 60.0)
    assert [result.completed, controller.notes] == [2, [said]]


def test_a_command_need_not_read_and_may_not_exist():
    _, result = advised(command("deaf"), trials=2)
    assert by_adviser(result) == [(3, 2, 4, 1, 2)]
    controller, result = advised("command: /nowhere/adviser", trials=2)
    assert controller.notes == ["failed: /nowhere/adviser: No such file or directory"]


def test_a_file_may_be_edited_while_the_search_runs(tmp_path):
    ideas = tmp_path / "ideas.txt"

    def edit(trial):
        if trial.id == 3:
            ideas.write_text("# mine\n\n3,2,4,1,2  # all\nnonsense\n")
        if trial.id == 9:
            ideas.write_text("3,2,4,1,2\n0,0,0,0,0\n")

    controller, result = advised(f"file: {ideas}", trials=20, on_trial=edit)
    assert by_adviser(result) == [(3, 2, 4, 1, 2), (0, 0, 0, 0, 0)]
    assert controller.counts["refused"] == 1
    assert controller.counts["silent"] == controller.counts["asked"] - 3


# -- what is kept ----------------------------------------------------------------------------------


def test_a_killed_search_goes_on_the_same_way_without_asking_again(tmp_path, monkeypatch):
    monkeypatch.setenv("ASKED", str(tmp_path / "whole.txt"))
    whole = advised_lab.begin(tmp_path / "whole")
    environment = {
        **os.environ,
        "PYTHONPATH": str(LAB.parent),
        "ASKED": str(tmp_path / "killed.txt"),
        "KILL_ONCE": str(tmp_path / "marker"),
    }
    killed = tmp_path / "killed"
    begun = subprocess.run([sys.executable, LAB, killed], env=environment, check=False)
    assert begun.returncode == -signal.SIGKILL
    monkeypatch.setenv("ASKED", str(tmp_path / "killed.txt"))
    resumed = resume(killed, trust=True)
    assert path_of(resumed.history) == path_of(whole.history)
    assert {trial.proposed_by for trial in resumed.history} == {"", "adviser"}
    asked = [(tmp_path / f"{name}.txt").read_text().splitlines() for name in ("whole", "killed")]
    assert asked[0] == asked[1], "each question was asked once, in either"
    assert len((killed / "outside.jsonl").read_text().splitlines()) == len(asked[0])


def test_other_answers_now_do_not_change_what_was_said_then(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def stops(trial):
        if trial.id == 20:
            raise Killed

    begin = {"trials": 40, "seed": 2}
    inner = RegularizedEvolution(population_size=8)
    whole = search(SPACE, advised_lab.controller(), Function(score), **begin)
    with pytest.raises(Killed):
        search(SPACE, advised_lab.controller(), Function(score), out=tmp_path / "run", on_trial=stops, **begin)
    monkeypatch.setattr(advised_lab, "better", lambda state: [0, 0, 0, 0, 0])
    other = Advised(inner, "advised_lab.better", share=0.4)
    more = resume(tmp_path / "run", controller=other, evaluator=Function(score), space=SPACE, trust=True)
    assert path_of(more.history)[:21] == path_of(whole.history)[:21]
    assert by_adviser(more)[-1] == (0, 0, 0, 0, 0)


def test_what_is_put_by_hand_is_told_to_both(tmp_path):
    seen = []

    def watch(state):
        seen.append(state["last"])
        return

    def put(trial):
        if trial.id == 4:
            control(tmp_path / "run").put("3,2,4,1,2")

    _, result = advised(watch, trials=20, out=tmp_path / "run", on_trial=put)
    assert [t.id for t in result.history if t.proposed_by == "hand"] == [5]
    assert [each["options"] for each in seen[-1] if each["proposed_by"] == "others"] == [[3, 2, 4, 1, 2]]


def test_a_report_says_who_proposed():
    _, result = advised(advised_lab.better, trials=40, share=0.3)
    table = proposers(result.history.table())
    head, *rows = table.rows
    assert head == ["proposed by", "completed", "best", "mean", "of the best 10"]
    assert [row[0] for row in rows] == ["controller", "adviser"]
    assert sum(int(row[1]) for row in rows) == 40
    assert sum(int(row[4]) for row in rows) == 10
    assert rows[1][2] == "12"
    assert proposers(search(SPACE, RandomSearch(), Function(score), trials=3, seed=0).history.table()) is None


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Advised(RandomSearch(), 3), "adviser: expected a function, its import path"),
        (lambda: Advised(RandomSearch(), "command: "), "expected a program"),
        (lambda: Advised(RandomSearch(), advised_lab.better, share=1.5), "share"),
        (lambda: Advised(RandomSearch(), advised_lab.better, timeout=0), "timeout"),
        (lambda: Advised(SuccessiveHalving(), advised_lab.better), "asks for no budgets"),
    ],
)
def test_settings_out_of_range_are_refused(make, said):
    with pytest.raises(UsageError, match=said):
        make()


@pytest.mark.parametrize("adviser", ["command: touch marker", "file: ideas.txt", "advised_lab.better"])
def test_a_folder_of_somebody_else_runs_no_command(adviser, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search(NASBench201(), Advised(RandomSearch(), adviser), Function(len), trials=3, seed=0, out=tmp_path / "run")
    assert adviser in json.dumps(describe(Advised(RandomSearch(), adviser)))
    with pytest.raises(NotTrusted, match=r"Advised\.adviser"):
        resume(tmp_path / "run", evaluator=Function(len), trials=6)
    assert resume(tmp_path / "run", evaluator=Function(len), trials=6, trust=True).completed == 6


def test_a_file_of_options_runs_no_command(tmp_path):
    options = tmp_path / "options.yaml"
    options.write_text("controller:\n  class_path: Advised\n  init_args: {adviser: 'command: touch marker'}\n")
    with pytest.raises(NotTrusted, match="command: touch marker"):
        check_files(["--config", str(options)], [str(options)])
    check_files(["--config", str(options), "--trust"], [str(options)])
