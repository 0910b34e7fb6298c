"""Verification with certainty: the best are scored again, and the means of that decide in every line."""

import zlib

import numpy as np
import pytest

from archsearch import search
from archsearch.controllers import RandomSearch
from archsearch.evaluators import Function, Tabular
from archsearch.judging.verification import verify
from archsearch.keeping.folder import RunFolder
from archsearch.ranking import kendall_tau
from archsearch.showing.rows import best_rows
from archsearch.spaces import NASBench201

SPACE = NASBench201()


@pytest.fixture
def run(tmp_path):
    """A search of 40 random cells by the table."""
    search(SPACE, RandomSearch(), Tabular(), trials=40, seed=3, out=tmp_path / "r")
    return tmp_path / "r"


def best(directory, top):
    return best_rows(RunFolder(directory).table(SPACE), top)


def noise(name, seed):
    """Nothing but noise."""
    return float(np.random.default_rng(seed).normal())


def clear(name, seed):
    """The fewer 3 x 3 convolutions, the better, with little noise."""
    return -name.count("nor_conv_3x3") + 0.01 * noise(name, seed)


def apart(name, seed):
    """No two are alike, and the noise is little."""
    return zlib.crc32(name.encode()) / 2**20 + 0.01 * noise(name, seed)


def equal(name):
    return 1.0


def test_where_the_best_were_scored_again_the_means_decide_in_every_line(run):
    """Single scores, which the race belies, name nobody."""
    sure = {"error": 0.05, "share": 0.8}
    found = verify(run, Function(noise), top=4, seed=0, certainty=sure)
    lead = found.standing.raced[0]
    assert found.ranked[0].trial == lead.trial.id == found.standing.trial.id
    means = {each.trial.id: each.mean for each in found.standing.raced if each.repeats}
    ranked = [each.trial for each in found.ranked][: len(means)]
    assert sorted(means.values(), reverse=True) == [means[trial] for trial in ranked]
    assert f"by Function, with a mean of {lead.mean:.6g} in {lead.repeats} repeats" in found.sentence
    assert found.ranked[0].score != max(each.score for each in found.architectures)  # or this shows nothing
    assert "is the best by" not in str(found)
    assert found.sentence.endswith("the search's best is not distinguishable from it")
    places = [found.ranked.index(each) for each in found.architectures]
    assert found.kendall_tau == pytest.approx(
        kendall_tau([each.search_score for each in found.architectures], [-p for p in places])
    )
    head, *rows = found.cells()
    again = head.index("repeats")
    assert [row[again] for row in rows][: len(means)] == [str(found._raced[trial].repeats) for trial in ranked]
    assert verify(run, Function(clear), top=8, seed=0, certainty=sure).sentence.endswith(
        "the search's best is distinguishable from it"
    )
    assert verify(run, Function(noise), top=4, seed=0).standing is None


def test_the_search_s_best_leads_or_had_equals(tmp_path):
    search(SPACE, RandomSearch(), Function(apart), trials=20, seed=0, out=tmp_path / "apart")
    same = verify(tmp_path / "apart", Function(apart), top=2, seed=0, certainty={"share": 0.9})
    assert same.sentence.startswith("the search's best leads by Function, with a mean of ")
    search(SPACE, RandomSearch(), Function(equal), trials=20, seed=0, out=tmp_path / "equal")
    scores = [row["score"] for row in best(tmp_path / "equal", 4)]
    assert len(set(scores)) == 1
    found = verify(tmp_path / "equal", Function(noise), top=4, seed=0, certainty={"share": 0.8})
    assert found.standing.trial.id != found.architectures[0].trial
    assert found.sentence.startswith("the search's best had equals: number ")
