"""A training script of one's own as an evaluator: it yields after each epoch, and SuccessiveHalving stops it."""

import torch
from torch import nn
from torch.nn import functional

from archsearch import search
from archsearch.controllers import RegularizedEvolution, SuccessiveHalving
from archsearch.evaluators import Function
from archsearch.spaces import Choices
from archsearch.task import load_task

EPOCHS = 9
torch.set_num_threads(1)  # small layers take longer on several


def train(values, progress):
    """A plain PyTorch loop; only the lines with ``progress`` and ``yield`` are for the search."""
    digits = load_task("digits")
    images, labels = digits.part("valid")
    model = nn.Sequential(
        nn.Conv2d(1, values["channels"], values["kernel"], padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(values["dropout"]),
        nn.Linear(values["channels"] * 16, 10),
    )
    optimizer = torch.optim.AdamW(model.parameters(), values["learning_rate"])
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*digits.part("train")), 32, shuffle=True)
    progress.keep(model=model, optimizer=optimizer)
    for _ in range(progress.done, EPOCHS):
        model.train()
        for inputs, targets in batches:
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            yield (model(images).argmax(1) == labels).float().mean()


space = Choices(
    {
        "channels": [2, 4, 8],
        "kernel": [1, 3, 5],
        "dropout": [0.0, 0.2, 0.4],
        "learning_rate": [0.0003, 0.001, 0.003, 0.01],
    }
)
controller = SuccessiveHalving(RegularizedEvolution(10, 3), max_budget=EPOCHS)

if __name__ == "__main__":
    result = search(space, controller, Function(train), trials=40, seed=0)
    epochs = sum(trial.budget.stop - trial.budget.start for trial in result.history)
    print(f"{result.best_name}: {100 * result.best.score:.1f} % after {result.best.budget.stop} epochs")
    print(
        f"{epochs} epochs were trained; the {sum(t.budget.start == 0 for t in result.history)} models in full: ", end=""
    )
    print(EPOCHS * sum(trial.budget.start == 0 for trial in result.history))
