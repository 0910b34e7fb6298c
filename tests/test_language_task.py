"""Language modelling: the grammar's entropy rate, tokens from files, what a task's goal says."""

import itertools
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from archsearch.errors import MissingAbility, TaskError, UsageError
from archsearch.evaluators import Inherit, OneShot, Training, ZeroCost
from archsearch.spaces import DARTSCell, NASBench201
from archsearch.task import TokenTask, kind_of, load_task
from archsearch.task.goal import Classification, NextToken
from archsearch.task.grammar import Grammar


def test_entropy_rate_is_that_of_a_long_sequence():
    """A model that knows the machine, and finds its state from the symbols, pays the entropy rate and no less."""
    grammar = Grammar()
    states, symbols = grammar.probabilities.shape
    sequence = grammar.write(60_000, np.random.default_rng(1))
    belief, losses = grammar.stationary.copy(), []
    moves = np.zeros((symbols, states, states))
    for state, symbol in itertools.product(range(states), range(symbols)):
        moves[symbol, state, grammar.following[state, symbol]] += grammar.probabilities[state, symbol]
    for symbol in sequence:
        after = belief @ moves[symbol]
        losses.append(-math.log(after.sum()))
        belief = after / after.sum()
    spread = 4 * np.std(losses) / math.sqrt(len(losses))
    assert np.mean(losses) == pytest.approx(grammar.entropy_rate, abs=spread)
    assert spread < 0.02


@pytest.mark.parametrize("seed", [5, 6])
def test_entropy_rate_is_the_limit_of_block_entropies(seed):
    """Sums over all blocks of up to 8 symbols: conditional entropies fall towards the rate, and never below it."""
    grammar = Grammar(states=3, symbols=3, branches=2, seed=seed)
    states, symbols = grammar.probabilities.shape
    moves = np.zeros((symbols, states, states))
    for state, symbol in itertools.product(range(states), range(symbols)):
        moves[symbol, state, grammar.following[state, symbol]] += grammar.probabilities[state, symbol]
    blocks, entropies = [grammar.stationary], [0.0]
    for _ in range(8):
        blocks = [block @ moves[symbol] for block in blocks for symbol in range(symbols)]
        chances = np.array([block.sum() for block in blocks])
        entropies.append(float(-np.sum(chances * np.log(np.where(chances > 0, chances, 1)))))
    conditional = np.diff(entropies)
    assert np.all(np.diff(conditional) <= 1e-12)
    assert np.all(conditional >= grammar.entropy_rate - 1e-12)
    assert conditional[0] > 1.5 * grammar.entropy_rate
    assert conditional[-1] == pytest.approx(grammar.entropy_rate, rel=1e-4)
    np.testing.assert_allclose(grammar.stationary @ moves.sum(0), grammar.stationary)


def test_the_grammar_needs_memory():
    """Knowing one or two symbols only costs at least a fifth more than the floor."""
    grammar = Grammar()
    sequence = grammar.write(200_000, np.random.default_rng(0))
    for length in (1, 2):
        counts = np.zeros([6] * (length + 1))
        np.add.at(counts, tuple(sequence[i : len(sequence) - length + i] for i in range(length + 1)), 1)
        chances = counts / np.maximum(counts.sum(-1, keepdims=True), 1)
        loss = -np.sum(counts * np.log(np.where(chances > 0, chances, 1))) / counts.sum()
        assert loss > 1.2 * grammar.entropy_rate


def test_grammar_by_name():
    task = load_task("grammar")
    assert task.floor == Grammar().entropy_rate
    assert (task.classes, task.size("train"), task.input_shape) == (6, 19_999, (1,))
    tokens, following = task.part("valid")
    assert torch.equal(tokens[1:], following[:-1])
    assert load_task("grammar:seed=1").fingerprint != task.fingerprint
    with pytest.raises(UsageError, match="branches: expected a whole number from 2 to 2, got 3"):
        load_task("grammar:symbols=2")


def test_tokens_of_a_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("to be or not\nto be\n" * 10)
    letters = load_task(path)
    assert "".join(letters.words) == "\n benort"
    assert (letters.size("train"), letters.size("valid"), letters.size("test")) == (151, 18, 18)
    words = load_task(f"{path}:unit=word,valid=8,test=0.1")
    assert words.words == ("<end>", "be", "not", "or", "to")
    assert " ".join(words.words[i] for i in words.part("train")[0][:8]) == "to be or not <end> to be <end>"
    assert kind_of(str(path)) == "next-token prediction"


def test_tokens_of_a_column(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": ["abab", "ba"] * 5, "n": range(10)}), path)
    task = load_task(f"{path}:text=body,valid=8,test=8")
    assert (task.words, task.size("valid")) == (("\n", "a", "b"), 7)
    pq.write_table(pa.table({"body": ["a", None]}), path.with_name("b.parquet"))
    for name, said in (
        ("a.parquet:text=nobody", "no column is called 'nobody'; expected one of body, n"),
        ("a.parquet:text=n", "column 'n': expected texts, got int64"),
        ("b.parquet:text=body", "b.parquet: column 'body': row 1 is empty"),
        ("c.parquet:text=body", "c.parquet: no such file"),
    ):
        with pytest.raises(TaskError, match=said):
            load_task(f"{tmp_path}/{name}")


def test_tokens_of_an_array(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(40) % 4)
    assert load_task(tmp_path / "a.npy").classes == 4
    assert load_task(f"{tmp_path / 'a.npy'}:vocabulary=9").classes == 9
    np.save(tmp_path / "b.npy", np.array([0, 1, -3] * 5))
    np.save(tmp_path / "c.npy", np.zeros((4, 4)))
    with pytest.raises(TaskError, match=r"b.npy: position 2: token -3 is below 0"):
        load_task(tmp_path / "b.npy")
    with pytest.raises(TaskError, match=r"c.npy: expected an array of the shape \(n,\) of whole numbers"):
        load_task(tmp_path / "c.npy")


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (b"ab\nc\xff", "", r"line 2, byte 4: 0xff is no UTF-8"),
        (b"abc", "", "expected at least 7 tokens"),
        (b"ab" * 20, ":valid=1", "valid=1 and test=0.1 of 40 tokens are 1 and 4"),
        (b"ab" * 20, ":unit=syllable", "unit: expected one of character, word, got 'syllable'"),
    ],
)
def test_texts_that_cannot_be_used(tmp_path, content, options, said):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises((TaskError, UsageError), match=said):
        load_task(f"{tmp_path / 'a.txt'}{options}")


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ([0, 5, 1], "train: token 5 at position 1 is out of range: expected 0 to 3"),
        ([0, -1, 1], "train: token -1 at position 1 is out of range: tokens count from 0"),
        ([0.5, 1.0, 2.0], "expected tokens of the shape"),
        ([1, 2], "expected at least 3 tokens, got 2"),
    ],
)
def test_arrays_of_ones_own_that_cannot_be_used(tokens, said):
    with pytest.raises(TaskError, match=said):
        TokenTask(tokens, [0, 1], [0, 1], vocabulary=4)


def test_a_goal_says_what_is_better():
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]]), torch.tensor([0, 1, 1])
    images = Classification()
    found = images.judged(images.tally(logits, labels))
    assert found.score == found.metric == pytest.approx(200 / 3)
    assert found.loss == pytest.approx(float(images.loss(logits, labels)))
    text = NextToken()
    halves = text.tally(logits[None, :2], labels[None, :2]) + text.tally(logits[None, 2:], labels[None, 2:])
    judged = text.judged(halves)
    assert judged.loss == pytest.approx(found.loss)
    assert (judged.score, judged.metric) == (-judged.loss, pytest.approx(math.exp(judged.loss)))


def test_a_task_of_another_kind_is_refused_by_name_before_it_is_read():
    for evaluator, space, said in (
        (Training("digits"), DARTSCell(), "digits is for networks of the kind image classification.*DARTSCell"),
        (Training("no/such.npz"), DARTSCell(), "no/such.npz is for"),
        (Training("grammar"), NASBench201(), "grammar is for networks of the kind next-token prediction.*NASBench201"),
        (OneShot(task="grammar"), NASBench201(), "OneShot: task grammar"),
        (Inherit(task="digits"), DARTSCell(), "use a task of that kind, such as grammar"),
        (ZeroCost("naswot", task="grammar"), DARTSCell(), "naswot is a score of networks for image classification"),
        (OneShot(task="grammar", source="hyper_network"), DARTSCell(), "use the source shared"),
    ):
        with pytest.raises(MissingAbility, match=said):
            evaluator.check(space)
    with pytest.raises(UsageError, match="dropout: expected none, since task digits is for image classification"):
        Training("digits", dropout=0.1).check(NASBench201())
    with pytest.raises(UsageError, match="augmentation: expected none, since task grammar"):
        Training("grammar", augmentation=["flip"]).check(DARTSCell())
