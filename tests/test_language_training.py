"""Language modelling is trained, resumed, shared and inherited; gradients stop at segments, hidden states go on."""

import dataclasses
import math

import pytest
import torch
from torch.nn import functional

from archsearch import resume, search
from archsearch.bridges.export import export
from archsearch.bridges.load_network import load_network
from archsearch.controllers import Derived, RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.errors import UsageError
from archsearch.evaluators import Differentiable, Inherit, OneShot, Training
from archsearch.networks.recurrent import CarriedState
from archsearch.spaces import DARTSCell, ENASCell, NASBenchNLP, NASRLCell
from archsearch.training.batches import STREAMS
from archsearch.trial import Budget, Query

SPACE = DARTSCell()
CELL = SPACE.parse("DARTS_V2")
SMALL = {
    "preset": "grammar",
    "task": "grammar:train=1001,valid=401,test=401",
    "epochs": 2,
    "batch_size": 20,
    "segment": 10,
    "skeleton": {"width": 8},
}


def training(**settings):
    return Training(**{**SMALL, **settings})


def started(space=SPACE, **settings):
    evaluator = training(**settings)
    evaluator.start(space)
    return evaluator


def test_streams_are_cut_into_segments():
    trainer = started().trainer
    run = trainer.begin(CELL, 0)
    batches = list(trainer.epoch(run))
    assert len(batches) == trainer.updates_per_epoch == 5
    tokens = trainer.data.part("train")[0]
    laid = torch.cat([batch.inputs for batch in batches], 1)
    assert torch.equal(laid, tokens[:1000].view(20, 50))
    assert torch.equal(torch.cat([batch.targets for batch in batches], 1)[:, :-1], laid[:, 1:])
    assert {batch.carried for batch in batches} == {batches[0].carried}
    assert batches[0].examples == 200


def test_an_update_is_truncated_back_propagation():
    """Two segments by hand: the second begins with the first's last hidden state, through which no gradient flows."""
    evaluator = started(optimizer="sgd", momentum=0.0, learning_rate=0.5, clip_norm=0.0, segment=25)
    trainer = evaluator.trainer
    run, twin = trainer.begin(CELL, 3), trainer.begin(CELL, 3)
    with trainer.session() as meter:
        trainer.train(run, 2, 2, meter, validate=False)
    inputs, targets = (values[:1000].view(20, 50) for values in trainer.data.part("train"))
    state = torch.zeros(20, 8)
    for number, part in enumerate((slice(0, 25), slice(25, 50))):
        network, choice = twin.network, twin.network.chosen(CELL)
        network.zero_grad()
        outputs = []
        for x in network.cell.projected(network.embedding(inputs[:, part].t()), choice).unbind(0):
            (state,) = network.cell.step(x, (state,), choice)
            outputs.append(network.decoder(state, network.embedding.weight))
        functional.cross_entropy(torch.stack(outputs, 1).flatten(0, 1), targets[:, part].flatten()).backward()
        state = state.detach()
        rate = 0.5 * (1 + math.cos(math.pi * number / 2)) / 2
        with torch.no_grad():
            for weight in network.parameters():
                weight -= rate * weight.grad
    for name, value in twin.network.state_dict().items():
        torch.testing.assert_close(run.network.state_dict()[name], value, atol=1e-6, rtol=1e-5)


def test_gradients_are_clipped():
    network = {}
    for clip in (0.0, 1e-3):
        trainer = started(optimizer="sgd", momentum=0.0, learning_rate=1.0, clip_norm=clip).trainer
        run = trainer.begin(CELL, 0)
        before = torch.cat([weight.detach().flatten().clone() for weight in run.network.parameters()])
        with trainer.session() as meter:
            trainer.train(run, 1, 1, meter, validate=False)
        after = torch.cat([weight.detach().flatten() for weight in run.network.parameters()])
        network[clip] = float((after - before).norm())
    assert network[1e-3] == pytest.approx(1e-3, rel=1e-3)
    assert network[0.0] > 10 * network[1e-3]


def test_the_score_is_the_loss_of_all_tokens_with_a_minus():
    evaluator = started()
    found = evaluator.trained(Query(-1, CELL, 0))
    tokens, following = (values[: 400 // STREAMS * STREAMS].view(STREAMS, -1) for values in found.task.part("valid"))
    loss = float(functional.cross_entropy(found.network(tokens).flatten(0, 1), following.flatten()).detach())
    assert found.evaluation.score == pytest.approx(-loss, rel=1e-5)
    assert found.evaluation.metrics["valid_loss"] == -found.evaluation.score
    assert found.evaluation.metrics["valid_perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)
    assert "test_perplexity" in found.evaluation.metrics
    assert evaluator.evaluate(CELL, 0).score == found.evaluation.score


def test_one_seed_gives_one_result_and_dropout_another():
    scores = [
        started(dropout=dropout).evaluate(CELL, seed).score for dropout, seed in ((0, 0), (0, 0), (0, 1), (0.3, 0))
    ]
    assert scores[0] == scores[1]
    assert len(set(scores)) == 3
    assert started(dropout=0.3).evaluate(CELL, 0).score == scores[3]


def test_a_training_goes_on_from_its_checkpoint(tmp_path):
    evaluator, twin = started(dropout=0.2), started(dropout=0.2)
    evaluator.folder = tmp_path
    first = evaluator.evaluate_query(Query(0, CELL, 5, budget=Budget(1)))
    second = evaluator.evaluate_query(Query(1, CELL, 5, budget=Budget(2, 1, 0)))
    whole = twin.evaluate(CELL, 5)
    assert (second.score, second.metrics) == (whole.score, whole.metrics)
    assert whole.curve[0] == first.score
    assert first.cost.examples + second.cost.examples == whole.cost.examples == 2000


@pytest.mark.parametrize("space", [ENASCell(nodes=4), NASRLCell(base=4), NASBenchNLP(nodes=6), NASBenchNLP(hidden=1)])
def test_searches_in_all_recurrent_spaces(space, tmp_path):
    controller = SuccessiveHalving(RandomSearch(), max_budget=2, reduction=2)
    result = search(space, controller, training(), trials=3, seed=1, out=tmp_path / "run")
    assert result.completed == 3
    assert resume(tmp_path / "run", trials=4).completed == 4


@pytest.mark.parametrize("settings", [{}, {"steps": 2}, {"validation_batches": 1}, {"sampler": "controller"}])
def test_one_shot(settings):
    result = search(SPACE, RandomSearch(), OneShot(training(dropout=0.2), epochs=2, **settings), trials=3, seed=0)
    assert all(math.isfinite(trial.score) for trial in result.history)
    assert len({trial.score for trial in result.history}) == 3


def test_a_path_of_the_super_network_is_scored_as_its_own_network():
    evaluator = OneShot(training(), epochs=2)
    evaluator.start(SPACE)
    evaluator.prepare()
    found = evaluator.trained(Query(-1, CELL, 0))
    assert evaluator.evaluate(CELL, 0).score == pytest.approx(found.evaluation.score, rel=1e-6)


def test_a_child_inherits():
    result = search(
        SPACE,
        RegularizedEvolution(population_size=2, tournament_size=2),
        Inherit(training(epochs=4), steps=5),
        trials=5,
        seed=0,
    )
    assert [trial.metrics["inherited"] for trial in result.history] == [0, 0, 1, 1, 1]
    assert [trial.cost.updates for trial in result.history] == [20, 20, 5, 5, 5]


def test_a_search_by_gradient():
    result = search(
        SPACE, Derived(), Differentiable(training(train_examples=200, segment=5), epochs=2), trials=1, seed=0
    )
    assert math.isfinite(result.best.score)


def test_relaxed_weights_of_one_cell_compute_that_cell():
    trainer = started().trainer
    run = trainer.begin(None, 0)
    batch = trainer.first("valid", 50)
    path, relaxed = (run.network(batch.inputs, CELL), run.network.relaxed(batch.inputs, SPACE.selected(CELL)))
    assert torch.equal(path, relaxed)


def test_the_hidden_state_of_a_mixture_does_not_grow():
    """As a search begins, with all activations alike: else it would be infinite within a segment."""
    network = started().trainer.begin(None, 0).network
    weights = [dict.fromkeys(range(5), 0.2)] * len(SPACE.relaxed_choices())
    tokens = torch.randint(6, (4, 100), generator=torch.Generator().manual_seed(0))
    carried = CarriedState()
    network.relaxed(tokens, weights, carried).square().sum().backward()
    assert carried.after[0].abs().max() < 4, "of four streams, as many standard deviations"
    assert all(bool(parameter.grad.isfinite().all()) for parameter in network.parameters())


def test_more_streams_than_tokens_are_refused():
    with pytest.raises(UsageError, match="batch_size: expected at most 1000, as many streams as there are tokens"):
        started(batch_size=1001)


def test_train_examples_are_the_first_tokens():
    trainer = started(train_examples=100).trainer
    assert torch.equal(trainer.chosen, torch.arange(100))
    assert dataclasses.asdict(trainer.recipe)["segment"] == 10


def test_weights_are_exported_with_what_they_are_for(tmp_path):
    search(SPACE, RandomSearch(), training(latency=True), trials=1, seed=0, out=tmp_path / "run")
    (path,) = export(tmp_path / "run")
    card = (path / "README.md").read_text()
    assert "it predicts the next of 6 different tokens" in card
    assert "test_perplexity is of the part test" in card
    assert load_network(path)(torch.zeros(2, 5, dtype=torch.int64)).shape == (2, 5, 6)
    with pytest.raises(UsageError, match="onnx: networks for next-token prediction go over a text of any length"):
        export(tmp_path / "run", onnx=True)


def test_an_lstm_comes_near_the_floor():
    """Within 5 % of the entropy rate, which no model gets below by more than the spread of 5,000 tokens, 0.7 %."""
    space = NASBenchNLP()
    evaluator = Training(preset="grammar", skeleton={"width": 50})
    evaluator.start(space)
    floor = evaluator.trainer.data.floor
    loss = -evaluator.evaluate(space.parse("LSTM"), 0).score
    assert 0.97 * floor < loss < 1.05 * floor
