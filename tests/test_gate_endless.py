"""The gate reads no more than it keeps, and is silent about tensors that are still part of a graph."""

import itertools
import warnings
from collections.abc import Mapping

import pytest
import torch

from archsearch import Cost, Evaluation, Evaluator
from archsearch.errors import UsageError
from archsearch.executors.gate import MAX_METRICS, Refused, admit, figures_of


class Endless(Mapping):
    """A mapping without an end; it notices who reads on and on."""

    def __iter__(self):
        for i in itertools.count():
            assert i <= MAX_METRICS, "it reads more than it may keep"
            yield f"m{i}"

    def __getitem__(self, name):
        return 1.0

    def __len__(self):
        return 3


class Changing(Endless):
    """It has an end when it is read for the first time, and none later."""

    def __init__(self):
        self.first = True

    def __iter__(self):
        first, self.first = self.first, False
        return iter(["a", "b"]) if first else super().__iter__()


def test_endless_metrics_are_refused_before_they_fill_the_memory():
    with pytest.raises(Refused, match=r"expected at most 1,000 metrics, got more"):
        admit(Evaluation(0.5, Endless()))
    assert admit(Evaluation(0.5, Changing())).metrics == {"a": 1.0, "b": 1.0}


def test_endless_figures_are_refused_before_they_fill_the_memory():
    class Measures(Evaluator):
        def evaluate(self, architecture, seed):
            return Evaluation(1.0)

        def measure(self, architecture):
            return Endless()

    with pytest.raises(UsageError, match=r"Measures\.measure: expected at most 1,000 figures, got more"):
        figures_of(Measures(), (0,))


def test_tensors_with_a_graph_become_floats_without_a_warning():
    loss = torch.tensor(0.5, requires_grad=True) * 3
    one = torch.tensor([0.25], requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = admit(Evaluation(loss, {"loss": loss, "one": one}, Cost(flops=loss), (loss, one)))
    assert plain == Evaluation(1.5, {"loss": 1.5, "one": 0.25}, Cost(flops=1.5), (1.5, 0.25))
    assert all(type(value) is float for value in (plain.score, *plain.metrics.values(), plain.cost.flops, *plain.curve))


def test_several_numbers_with_a_graph_are_refused():
    with pytest.raises(Refused, match="expected a number as score, got"):
        admit(Evaluation(torch.ones(3, requires_grad=True)))
