"""Training loops of users' own, for the tests of ``Function``."""

import math
import os
import signal
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from training_lab import SMALL, SPACE

from archsearch.networks.network import build
from archsearch.spaces import Choices
from archsearch.task import load_task
from archsearch.trial import Cost, Evaluation

LOG = Path("epochs.log")
"""In the current folder: a line for each epoch that was trained, ``seed epoch``."""

KILL_AT = "OWN_LOOP_KILL_AT"
"""Name of the variable of the environment with the number of the epoch in the middle of which the process is killed."""

EPOCHS = SMALL["epochs"]
WIDTHS = Choices({"width": [4, 8], "rate": [0.1, 0.01]})


def recipe(text, seed, progress):
    """The recipe of ``training_lab.SMALL`` as a user would write it."""
    task = load_task("digits")
    images, labels = task.part("train")
    valid_images, valid_labels = task.part("valid")
    chosen = task.divide(torch.arange(len(labels)), SMALL["train_examples"])[0]
    network = build(lambda: SPACE.network(SPACE.parse(text), task, **SMALL["skeleton"]), seed, torch.device("cpu"))
    network.to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed ^ 0x5DEECE66D)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
    per_epoch = -(-len(chosen) // SMALL["batch_size"])
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: (1 + math.cos(math.pi * done / (EPOCHS * per_epoch))) / 2
    )
    progress.keep(network=network, optimizer=optimizer, schedule=schedule, generator=generator)
    for epoch in range(progress.done, EPOCHS):
        note(seed, epoch)
        network.train()
        for numbers in torch.tensor_split(chosen[torch.randperm(len(chosen), generator=generator)], per_epoch):
            optimizer.zero_grad()
            functional.cross_entropy(network(images[numbers]), labels[numbers]).backward()
            optimizer.step()
            schedule.step()
        with open(LOG, "a") as log:
            log.write(f"{seed} {epoch}\n")
        network.eval()
        with torch.inference_mode():
            outputs = torch.cat([network(some) for some in valid_images.split(512)])
        right = int((outputs.argmax(1) == valid_labels).sum())
        yield Evaluation(100 * right / len(outputs), {}, Cost(examples=len(chosen), updates=per_epoch))


def note(seed, epoch):
    """Kills the process in the middle of the epoch that the environment names, once."""
    at, done = os.environ.get(KILL_AT), Path("killed")
    if at is not None and epoch == int(at) and not done.exists():
        done.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def trained_epochs():
    """How often each epoch was trained, by seed and number, in the order of the first time."""
    counts = {}
    for line in LOG.read_text().splitlines():
        counts[line] = counts.get(line, 0) + 1
    return counts


def small(values, progress):
    """A few steps with everything that draws from the global generators: initial weights, order, dropout."""
    data = torch.utils.data.TensorDataset(*points(64))
    model = nn.Sequential(nn.Linear(3, values["width"]), nn.Dropout(0.2), nn.ReLU(), nn.Linear(values["width"], 1))
    optimizer = torch.optim.Adam(model.parameters(), values["rate"])
    loader = torch.utils.data.DataLoader(data, 16, shuffle=True)
    counts = {"batches": 0}
    progress.keep(model=model, optimizer=optimizer, counts=counts)
    for step in range(progress.done + 1, 6):
        for inputs, targets in loader:
            loss = functional.mse_loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            counts["batches"] += 1
        progress.report(step, {"score": -loss.item(), "batches": counts["batches"]})


def points(n):
    inputs = torch.linspace(-1, 1, 3 * n).reshape(n, 3)
    return inputs, inputs.square().sum(1, keepdim=True)


def falling(values):
    """Yields losses without anything that could be kept: 1, 1/2, 1/3, ... for width 4."""
    for epoch in range(1, 6):
        yield {"score": values["width"] / 4 / epoch, "cost": 2.0}


def sleepy(values, progress):
    """Trains for a while, the second report much longer than the first."""
    import time

    counts = {"done": 0}
    progress.keep(counts=counts)
    for step in range(progress.done + 1, 4):
        with open(LOG, "a") as log:
            log.write(f"{progress.seed} {step}\n")
        if step == 2 and not Path("slept").exists():
            Path("slept").touch()
            time.sleep(30)
        counts["done"] += 1
        progress.report(step, counts["done"])
