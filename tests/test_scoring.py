"""Searches over given architectures, and evaluators that are prepared once."""

import pytest

from archsearch import Cost, Evaluation, Evaluator, Space, search
from archsearch.errors import ConstraintError
from archsearch.running.scoring import Listed, Prepared, folder_name, search_or_resume

SPACE = Space(arities=[3, 3])
GIVEN = [[0, 0], [1, 2], [2, 1], [0, 2]]


class Counts(Evaluator):
    """Counts what it is asked to do; cannot score what begins with 1.

    Args:
        cost: Device seconds of the set-up.
    """

    keeps_files = True

    def __init__(self, cost: float = 5.0) -> None:
        self.cost = cost
        self.prepared = 0
        self.folders = []

    def prepare(self):
        self.prepared += 1
        (self.folder / "made").write_text("once")
        return Cost(device_seconds=self.cost)

    def evaluate(self, architecture, seed):
        self.folders.append(self.folder)
        if architecture[0] == 1:
            raise RuntimeError("not this one")
        return Evaluation(float(sum(architecture)), cost=Cost(device_seconds=1.0))


def proposals(result):
    return [list(trial.architecture) for trial in sorted(result.history, key=lambda trial: trial.id)]


@pytest.mark.parametrize("batch", [1, 3])
def test_listed_ends_after_the_last_even_if_some_fail(batch):
    result = search(SPACE, Listed(GIVEN), Counts(), trials=4, seed=0, batch=batch)
    assert result.stopped == "exhausted"
    assert (result.completed, result.failed) == (3, 1)
    assert proposals(result) == GIVEN


def test_listed_with_more_puts_others_in_the_place_of_those_that_failed():
    result = search(SPACE, Listed(GIVEN, more=True), Counts(), trials=4, seed=0)
    assert (result.completed, result.stopped) == (4, "trials")
    assert proposals(result)[:4] == GIVEN
    assert proposals(result)[-1] not in GIVEN
    everything = [[a, b] for a in range(3) for b in range(3)]
    with pytest.raises(ConstraintError, match="of 9 architectures some could not be scored"):
        search(SPACE, Listed(everything, more=True), Counts(), trials=9, seed=0)


def test_prepared_once_for_several_searches_and_billed_to_none(tmp_path):
    counts = Counts()
    prepared = Prepared(counts)
    prepared.folder = tmp_path / "files"
    for number in range(2):
        prepared.apart = tmp_path / str(number)
        result = search(SPACE, Listed(GIVEN), prepared, trials=4, seed=0)
        assert result.setup_cost.device_seconds == 0
        assert counts.folders[-1] == tmp_path / str(number)
    assert counts.prepared == 1
    assert prepared.set_up.device_seconds == 5
    assert (tmp_path / "files" / "made").exists()
    prepared.release()
    assert counts.folder is None
    other = Prepared(Counts())  # as in another process: what it cost is known before it is prepared
    other.folder = tmp_path / "files"
    other.start(SPACE)
    assert other.set_up.device_seconds == 5
    assert other.evaluator.prepared == 0
    other.start(Space(arities=[2]))
    assert other.evaluator.space == Space(arities=[2])


def test_an_evaluator_without_files_that_is_prepared_again_costs_what_it_did(tmp_path):
    class NoFiles(Counts):
        keeps_files = False

        def prepare(self):
            return Cost(device_seconds=self.cost)

    for cost in (5.0, 7.0):  # the second: another process that goes on
        prepared = Prepared(NoFiles(cost))
        prepared.folder = tmp_path
        search(SPACE, Listed(GIVEN), prepared, trials=4, seed=0)
        assert prepared.set_up.device_seconds == 5


def test_search_or_resume_does_nothing_twice(tmp_path):
    counts = Counts()
    for _ in range(2):
        result = search_or_resume(SPACE, Listed(GIVEN), counts, out=tmp_path / "run", seed=0, trials=4)
        assert proposals(result) == GIVEN
    assert len(counts.folders) == 4


def test_folder_names_are_safe_and_different():
    names = ["plain", "a/b", "a:b", "../up", "ä ö", "x" * 300, "x" * 301, ".hidden", "", "Tabular(epochs=12)"]
    found = [folder_name(name) for name in names]
    assert found[0] == "plain"
    assert found[-1] == "Tabular(epochs=12)"
    assert len(set(found)) == len(names)
    for name in found:
        assert name
        assert len(name) < 100
        assert "/" not in name
        assert not name.startswith(".")
