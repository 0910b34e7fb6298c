"""A Lightning module as an evaluator with budgets and checkpoints: a callback reports. It needs the extra ``loops``."""

import logging
import warnings

import lightning
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from archsearch import search
from archsearch.controllers import SuccessiveHalving
from archsearch.evaluators import Function
from archsearch.spaces import Choices
from archsearch.task import load_task

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")
EPOCHS = 4


class Digits(lightning.LightningModule):
    """A network of one hidden layer; nothing in it is for the search."""

    def __init__(self, width, learning_rate):
        super().__init__()
        self.learning_rate = learning_rate
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 10)
        )

    def training_step(self, batch, _):
        return functional.cross_entropy(self.layers(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("accuracy", (self.layers(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), self.learning_rate)


class Report(lightning.Callback):
    """Tells the search after each epoch; where the budget is spent, ``report`` leaves ``fit`` and ``train``."""

    def __init__(self, progress):
        self.progress = progress

    def on_train_epoch_end(self, trainer, pl_module):
        accuracy = trainer.callback_metrics["accuracy"]
        self.progress.report(trainer.current_epoch + 1, accuracy, save=trainer.save_checkpoint)


def train(values, progress):
    """What a script for Lightning does, and how it goes on: from ``progress.restored``."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", enable_checkpointing=False, callbacks=[Report(progress)], **quiet
    )
    batches = [
        DataLoader(TensorDataset(*load_task("digits").part(part)), 64, part == "train") for part in ("train", "valid")
    ]
    trainer.fit(Digits(**values), *batches, ckpt_path=progress.restored, weights_only=True)


space = Choices({"width": [8, 16, 32, 64], "learning_rate": [0.001, 0.003, 0.01]})

if __name__ == "__main__":
    result = search(space, SuccessiveHalving(max_budget=EPOCHS, reduction=2), Function(train), trials=12, seed=0)
    print(f"{result.best_name}: {100 * result.best.score:.1f} % after {result.best.budget.stop} epochs")
    print([(trial.budget.start, trial.budget.stop) for trial in result.history])
