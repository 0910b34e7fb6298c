"""What a verification says of the order of a search: the sentence and the number never contradict each other."""

import itertools

import pytest

from archsearch.showing.verified import Agreement


def said(before, after, failure=""):
    return Agreement(before, after).sentence("by X", failure, [str(score) for score in after])


def test_of_two_equal_scores_no_order_is_said_to_hold_or_to_change():
    found = Agreement([2.0, 1.0], [5.0, 5.0])
    assert found.tau is None
    assert (
        said([2.0, 1.0], [5.0, 5.0])
        == "all that were scored are equal by X (5.0): their order can neither hold nor change"
    )


def test_a_best_that_failed_is_said_beside_equals():
    assert said([3.0, 2.0, 1.0], [None, 1.0, 1.0], "exception") == (
        "all that were scored are equal by X (1.0): their order can neither hold nor change; "
        "the search's best failed: exception"
    )


def test_equals_of_the_search_have_no_order_that_could_change():
    assert Agreement([1.0, 1.0], [4.0, 5.0]).tau is None
    sentence = said([1.0, 1.0], [4.0, 5.0])
    assert sentence == (
        "the search's best had equals: number 2 of the search is the best by X (5.0 against 4.0 of the search's best)"
    )


def test_the_first_of_equals_was_not_the_best_before():
    assert said([2.0, 2.0, 1.0], [5.0, 4.0, 3.0]) == (
        "the search's 2 best were equal: number 1 of them is the best by X (5.0); "
        "no two changed places, but there are equal scores"
    )
    assert said([2.0, 2.0, 1.0], [5.0, 5.0, 3.0]).startswith(
        "the search's 2 best were equal: numbers 1 and 2 of them are the best by X (5.0)"
    )


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        ([3.0, 2.0, 1.0], "the search's best stays the best by X (3.0); the order stays the same"),
        ([3.0, 1.0, 2.0], "the search's best stays the best by X (3.0); the order below it changed"),
        (
            [3.0, 2.0, 2.0],
            "the search's best stays the best by X (3.0); no two changed places, but there are equal scores",
        ),
        (
            [3.0, 3.0, 2.0],
            "the search's best stays among the best by X (3.0, as 1 more); "
            "no two changed places, but there are equal scores",
        ),
        (
            [1.0, 3.0, 3.0],
            "the order changed: numbers 2 and 3 of the search are the best by X (3.0 against 1.0 of the search's best)",
        ),
        ([3.0, None, 1.0], "the search's best stays the best by X (3.0); no two that were scored changed places"),
        (
            [None, 2.0, 1.0],
            "the order changed: number 2 of the search is the best by X (2.0); the search's best failed: timeout",
        ),
    ],
)
def test_the_sentence_says_what_became_of_the_order(after, sentence):
    assert said([3.0, 2.0, 1.0], after, "timeout") == sentence


def test_the_order_is_said_to_stay_the_same_just_where_tau_is_one():
    """All scores of four architectures, with ties in either order."""
    for before in ([3, 2, 1, 0], [2, 1, 1, 0], [2, 2, 1, 1]):
        for after in itertools.product(range(3), repeat=4):
            found = Agreement(before, [float(score) for score in after])
            same = found.tau is not None and found.tau > 1 - 1e-9
            assert same == (found.tau is not None and found.kept == "the order stays the same"), (before, after)
            if found.tau is None:
                assert "order stays" not in said(before, found.after)
                assert "order changed" not in said(before, found.after)
