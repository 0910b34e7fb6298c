"""``Training(compile=True)``: the same training through PyTorch's compiler, or one clear line where there is none."""

import sys

import pytest
import torch

from archsearch.errors import UsageError
from archsearch.evaluators import Inherit, Training
from archsearch.networks import compiled as room
from archsearch.spaces import DARTSCell, NASBench201

SMALL = {"epochs": 1, "train_examples": 40, "batch_size": 20, "skeleton": {"channels": 2, "cells": 1}}
CELL = (1, 2, 1, 0, 1, 1)


def started(space=None, **settings):
    training = Training("digits", **SMALL, **settings)
    training.start(space or NASBench201())
    return training


@pytest.fixture
def traced(monkeypatch):
    """Has ``torch.compile`` trace and count, without compiling: that takes half a minute, which a benchmark spends."""
    calls = []
    whole = torch.compile

    def without_inductor(network, **settings):
        calls.append(settings)
        return whole(network, backend="eager", dynamic=settings["dynamic"])

    monkeypatch.setattr(room.torch, "compile", without_inductor)
    return calls


def test_a_compiled_training_is_the_training(traced):
    plain, own = started().evaluate(CELL, 3), started(compile=True).evaluate(CELL, 3)
    assert traced == [{"dynamic": False}]
    assert own.metrics["valid_loss"] == pytest.approx(plain.metrics["valid_loss"], abs=1e-4)
    assert own.metrics["train_loss"] == pytest.approx(plain.metrics["train_loss"], abs=1e-4)
    assert own.cost.examples == plain.cost.examples


def test_seeds_that_are_trained_as_one_are_compiled_as_one(traced):
    plain = started(repeats=2).evaluate(CELL, 3)
    own = started(repeats=2, compile=True).evaluate(CELL, 3)
    assert own.metrics["valid_loss"] == pytest.approx(plain.metrics["valid_loss"], abs=1e-3)
    assert len(traced) == 3  # two that would be trained alone are never called


@pytest.mark.parametrize("compiler", ["", "no-such-compiler"])
def test_without_a_compiler_one_line_says_what_to_do(monkeypatch, tmp_path, compiler):
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = compiler or ("clang++" if sys.platform == "darwin" else "g++")
    with pytest.raises(UsageError, match="expected a C\\+\\+ compiler") as caught:
        started(compile=True)
    assert missing in str(caught.value)
    assert "\n" not in str(caught.value)
    assert started().evaluate(CELL, 0).score >= 0  # nothing is asked of those who compile nothing


def test_on_cuda_it_needs_triton(monkeypatch):
    monkeypatch.setattr(room.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="install triton, or leave compile out"):
        room.expect_compiler(torch.device("cuda"))


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"compile": 1}, "expected true or false"),
        ({"compile": True, "processes": 2}, "expected false with several processes"),
        ({"compile": True, "drop_path": 0.1}, "expected false with several processes"),
    ],
)
def test_what_cannot_be_compiled_is_refused(settings, why):
    with pytest.raises(UsageError, match=why):
        Training("digits", **settings)


def test_other_tasks_and_evaluators_refuse_it():
    with pytest.raises(UsageError, match="compile: expected none, since task grammar"):
        Training("grammar:train=4000,valid=1000,test=1000", preset="grammar", compile=True).start(DARTSCell())
    with pytest.raises(UsageError, match="Inherit: compile: only Training itself"):
        Inherit(training=Training("digits", compile=True))
