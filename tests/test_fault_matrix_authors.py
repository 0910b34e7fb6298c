"""The fault matrix, authors: controllers and listeners that raise."""

import pytest
from fault_lab import SPACE, Causing
from fault_matrix_lab import SETTINGS, check, path, trials_of

from archsearch import RayExecutor, resume, search
from archsearch.controllers import RegularizedEvolution
from archsearch.errors import InvalidArchitecture

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


class Author(RegularizedEvolution):
    """With a bug that the author mends."""

    broken = ""

    def _tell(self, trial):
        if self.broken == "tell" and trial.id == 70:
            self._members.clear()  # in the middle of a change
            raise ZeroDivisionError("a bug of the author's")
        super()._tell(trial)

    def _ask(self):
        answer = super()._ask()
        if self.broken == "ask" and self._asked == 70:
            raise ZeroDivisionError("a bug of the author's")
        if self.broken == "proposal" and self._asked == 70:
            return (9, 9)
        return answer


@pytest.mark.parametrize("where", ["tell", "ask", "proposal"])
@pytest.mark.parametrize("executor", ["local", "local-lag", pytest.param("ray", marks=pytest.mark.slow)])
def test_controller_raises(executor, where, row, request, tmp_path, monkeypatch):
    row(fault=f"controller raises ({where})", how="Ray, results in batches" if executor == "ray" else executor)
    engine = "local"
    if executor == "ray":
        request.getfixturevalue("on_ray")
        engine = RayExecutor(2)
    arguments = {"trials": 600, "lag": 3 if executor == "local-lag" else None, **SETTINGS}
    whole = search(SPACE, Author(20, 5), Causing({"raises": 0.1}, tmp_path), **arguments)
    told = []
    monkeypatch.setattr(Author, "broken", where)
    evaluator = Causing({"raises": 0.1}, tmp_path)
    arguments |= {"executor": engine, "out": tmp_path / "r", "on_trial": told.append}
    with pytest.raises((ZeroDivisionError, InvalidArchitecture)):
        search(SPACE, Author(20, 5), evaluator, **arguments)
    before = trials_of(tmp_path / "r")
    assert path(told) == path(before)[: len(told)], "all that it was told was on disk"
    with pytest.raises((ZeroDivisionError, InvalidArchitecture)):
        resume(tmp_path / "r", executor=engine, trust=True)
    monkeypatch.setattr(Author, "broken", "")
    result = resume(tmp_path / "r", executor=engine, trust=True)
    trials = check(row, tmp_path / "r", 600)
    assert path(trials)[: len(before)] == path(before)
    assert "driver_died" not in result.faults
    assert result.failed == sum(bool(trial.failure) for trial in trials)
    if executor != "ray":
        assert path(trials) == path(whole.history), "and the controller was told of everything once"


@pytest.mark.slow
def test_listener_raises_on_ray(row, on_ray, tmp_path):
    """In the middle of results that came together."""
    row(fault="listener raises", how="Ray, results in batches")

    def fail(trial):
        if trial.id in (300, 301):
            raise ZeroDivisionError("a bug of the user's")

    arguments = {"trials": 900, "executor": RayExecutor(2), "out": tmp_path / "r", **SETTINGS}
    with pytest.raises(ZeroDivisionError):
        search(SPACE, RegularizedEvolution(20, 5), Causing({}, tmp_path), on_trial=fail, **arguments)
    before = trials_of(tmp_path / "r")
    resume(tmp_path / "r", executor=RayExecutor(2), trust=True)
    assert path(check(row, tmp_path / "r", 900, {}))[: len(before)] == path(before)
