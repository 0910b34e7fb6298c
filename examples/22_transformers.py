"""A script with the Trainer of transformers as an evaluator: a callback reports. It needs the extra ``loops``."""

from pathlib import Path

import torch
import transformers
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from archsearch import search
from archsearch.controllers import SuccessiveHalving
from archsearch.evaluators import Function
from archsearch.spaces import Choices

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
EPOCHS = 4


def sentences(n, seed):
    """Rows of words; the label says whether word 7 is among them."""
    words = torch.randint(4, 20, (n, 8), generator=torch.Generator().manual_seed(seed))
    return [{"input_ids": row, "labels": label} for row, label in zip(words, (words == 7).any(1).long(), strict=True)]


class Report(transformers.TrainerCallback):
    """Tells the search after each epoch, once the Trainer has written its checkpoint."""

    def __init__(self, progress):
        self.progress = progress

    def on_save(self, args, state, control, **kwargs):
        accuracy = [entry["eval_accuracy"] for entry in state.log_history if "eval_accuracy" in entry][-1]
        saved = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self.progress.report(round(state.epoch), accuracy, saved=saved)


def train(values, progress):
    """What a script for the Trainer does; its checkpoints are in ``progress.folder``."""
    sizes = {"hidden_size": values["width"], "intermediate_size": 2 * values["width"]}
    config = BertConfig(vocab_size=20, num_hidden_layers=values["layers"], num_attention_heads=2, num_labels=2, **sizes)
    arguments = TrainingArguments(
        progress.folder,
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=32,
        learning_rate=values["learning_rate"],
        seed=progress.seed % 2**32,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,  # the last, and the one before while it is written
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        BertForSequenceClassification(config),
        arguments,
        train_dataset=sentences(256, 0),
        eval_dataset=sentences(128, 1),
        compute_metrics=lambda found: {"accuracy": (found.predictions.argmax(1) == found.label_ids).mean()},
        callbacks=[Report(progress)],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train(resume_from_checkpoint=progress.restored)


space = Choices({"layers": [1, 2], "width": [8, 16], "learning_rate": [0.003, 0.01]})

if __name__ == "__main__":
    result = search(space, SuccessiveHalving(max_budget=EPOCHS, reduction=2), Function(train), trials=8, seed=0)
    print(f"{result.best_name}: {100 * result.best.score:.1f} % after {result.best.budget.stop} epochs")
    print([(trial.budget.start, trial.budget.stop) for trial in result.history])
