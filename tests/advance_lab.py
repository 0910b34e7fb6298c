"""Runs with evaluators of ``advancing_lab.py``, killed or not."""

import json

import pytest
from advancing_lab import SPACE, Learner

from archsearch import search
from archsearch.controllers import RegularizedEvolution
from archsearch.keeping.history import History


class Killed(BaseException):
    pass


def run(evaluator=None, controller=None, **settings):
    settings = {"trials": 130, "seed": 1, "max_failures": 99, **settings}
    return search(SPACE, controller or RegularizedEvolution(10, 3), evaluator or Learner(), **settings)


def path(result):
    return sorted((t.id, t.architecture, t.parent, t.score, tuple(t.metrics.values())) for t in result.history)


def events(folder, kind=""):
    """The lines of a run's journals."""
    journals = sorted((folder / "journal").glob("journal-*"))
    lines = [json.loads(line)[:-1] for journal in journals for line in journal.read_text().splitlines()]
    return [line for line in lines if line[0] == kind or (not kind and line[0] != "j")]


def killed_run(folder, monkeypatch, after, evaluator=None, **settings):
    """A run that was stopped as if by kill -9 after some trials."""
    finished = iter(range(after - 1))

    def stop(_):
        if next(finished, None) is None:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(History, "close", lambda self, state: self.folder._lock.close())
        with pytest.raises(Killed):
            run(evaluator, out=folder, on_trial=stop, **settings)
