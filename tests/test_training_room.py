"""The training room: steps of one's own, several optimisers, and who may import whom."""

import ast
from pathlib import Path

import pytest
import torch
from torch import nn
from training_lab import CELL, SMALL, SPACE, started

from archsearch.training.checkpoints import load_checkpoint, put_back, write_run
from archsearch.training.loop import Batch, expect_finite, task_loss, update
from archsearch.training.recipe import Recipe
from archsearch.training.trainer import Trainer

ROOT = Path(__file__).parent.parent
ROOM = ROOT / "archsearch" / "training"


def in_turns(trainer):
    """A training whose network has a temperature, which another optimiser learns on validation images."""
    run = trainer.begin(CELL, 3)
    run.network.temperature = nn.Parameter(torch.ones(()))
    run.others = {"temperature": torch.optim.Adam([run.network.temperature], 0.01)}
    images, labels = trainer.data.part("valid")

    def step(run, batch, progress):
        run.others["temperature"].zero_grad()
        loss = nn.functional.cross_entropy(run.network(images[:32]) * run.network.temperature, labels[:32])
        loss.backward()
        update(run.others["temperature"], 0.01)
        run.optimizer.zero_grad(set_to_none=True)
        loss = task_loss(run, batch, CELL, trainer.recipe)
        loss.backward()
        update(run.optimizer, 0.05 * (1 - progress))
        return [expect_finite(loss.item(), run)]

    return run, step


def state(run):
    return {name: value.tolist() for name, value in run.network.state_dict().items()}


def test_a_step_of_ones_own_with_two_optimisers_goes_on_from_a_checkpoint(tmp_path):
    trainer = started().trainer
    total = 3 * trainer.updates_per_epoch
    with trainer.session() as meter:
        whole, step = in_turns(trainer)
        trainer.train(whole, total, total, meter, step=step)
        begun, step = in_turns(trainer)
        trainer.train(begun, trainer.updates_per_epoch, total, meter, step=step)
        write_run(begun, tmp_path / "run.safetensors")
        rest, step = in_turns(trainer)
        put_back(rest, *load_checkpoint(tmp_path / "run.safetensors"))
        assert rest.step == trainer.updates_per_epoch
        trainer.train(rest, total, total, meter, step=step)
    assert whole.network.temperature.item() != 1
    assert state(rest) == state(whole)
    assert rest.curve == whole.curve


def test_groups_of_an_optimiser_can_have_rates_of_their_own():
    weights = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    optimizer = torch.optim.SGD([{"params": weights[:1]}, {"params": weights[1:], "scale": 0.1}], 1.0)
    for weight in weights:
        weight.grad = torch.ones(1)
    update(optimizer, 0.5)
    assert [weight.item() for weight in weights] == pytest.approx([-0.5, -0.05])


def test_a_trainer_stands_alone():
    recipe = Recipe(**{**SMALL, "epochs": 1})
    trainer = Trainer(recipe)
    trainer.bind(SPACE)
    run = trainer.begin(CELL, 0)
    with trainer.session() as meter:
        trainer.train(run, trainer.updates_per_epoch, trainer.updates_per_epoch, meter)
        found = trainer.report(run, meter)
    twin = started(epochs=1).evaluate(CELL, 0)
    assert (found.score, found.metrics, found.cost.flops) == (twin.score, twin.metrics, twin.cost.flops)
    images, labels, *_ = next(iter(trainer.epoch(run)))
    assert len(Batch(images, labels).targets) == 15


def imported(path):
    """Modules of the package that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("archsearch"):
            yield node.module


def test_files_of_the_room_are_small_and_import_no_shelf_and_not_each_other_in_circles():
    files = {f"archsearch.training.{path.stem}": path for path in ROOM.glob("*.py") if path.stem != "__init__"}
    assert len(files) <= 12
    edges = {name: {module for module in imported(path) if module in files} for name, path in files.items()}
    for path in files.values():
        assert len(path.read_text().splitlines()) <= 300, path
        assert not [
            module for module in imported(path) if module.split(".")[1] in ("evaluators", "controllers", "spaces")
        ]
    while edges:
        ground = {name for name, above in edges.items() if not above & edges.keys()}
        assert ground, f"a circle among {sorted(edges)}"
        edges = {name: above for name, above in edges.items() if name not in ground}


def test_no_evaluator_inherits_from_another_to_train():
    names = (
        "training",
        "one_shot",
        "inherit",
        "zero_cost",
        "super_network",
        "hyper_network",
        "chain_scoring",
        "differentiable",
        "relaxed_network",
    )
    for path in (ROOT / "evaluators" / f"{name}.py" for name in names):
        assert len(path.read_text().splitlines()) <= 400, path
        bases = {
            ast.unparse(base)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ClassDef)
            for base in node.bases
        }
        assert not bases & {"Training", "OneShot", "Inherit", "ZeroCost"}, path
