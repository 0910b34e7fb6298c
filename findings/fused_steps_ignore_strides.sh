#!/usr/bin/env bash
# A fused optimiser whose state came back from a safetensors file trains a channels_last network wrongly, and says nothing.
#
# Packages: torch 2.13.0 (CPU), safetensors 0.8.0.
# Guess before it was run: strides are no part of the mathematics; a step whose weight and momentum hold the same numbers in
#   another layout comes out the same, from the fused kernel as from the plain loop, or else it raises.
# Seen (2026-11-30): safetensors refuses the momentum of a channels_last weight and asks for .contiguous(). load_state_dict takes
#   the contiguous copy as it is. The plain loop then makes the same step as without the round trip, to the bit. With fused=True
#   SGD's weights are off by 5.1, Adam's by 0.15, Adagrad's by 0.085: the kernel pairs numbers by their place in memory.
#   With the momentum put back by .to(memory_format=torch.channels_last) they too are as without the round trip.
# Why it matters here: a search resumes runs from files; the resumed one goes on with another momentum than it had, nothing
#   raises, and the architecture is ranked by what comes of that.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 safetensors==0.8.0
"$folder/venv/bin/python" - "$folder/state.safetensors" <<'PYTHON'
import sys

import torch
from safetensors.torch import load_file, save_file
from torch import nn

file = sys.argv[1]


def through_file(state):
    """The same state by way of a safetensors file: every tensor equal to what it was, none with its old strides."""
    tensors = {f"{i}.{name}": value for i, each in state["state"].items() for name, value in each.items()}
    try:
        save_file(tensors, file)
    except ValueError as error:
        assert "non contiguous" in str(error), error
    else:
        raise SystemExit("safetensors takes channels_last tensors now: this has changed")
    save_file({name: value.contiguous() for name, value in tensors.items()}, file)
    read = load_file(file)
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    return {**state, "state": {i: {name: read[f"{i}.{name}"] for name in each} for i, each in state["state"].items()}}


def put_back(state):
    """The state by way of the file, its tensors of four dimensions laid out like the weights again."""
    read = through_file(state)
    for each in read["state"].values():
        for name, value in each.items():
            each[name] = value.to(memory_format=torch.channels_last) if value.ndim == 4 else value
    return read


def second_step(optimiser, fused, restore):
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 8, 8)
    chosen = optimiser(layer.parameters(), lr=0.1, fused=fused)
    for step in range(2):
        if step:
            chosen.load_state_dict(restore(chosen.state_dict()))
        chosen.zero_grad()
        layer(images).square().sum().backward()
        assert layer.weight.grad.stride() == layer.weight.stride() == (27, 1, 9, 3)
        chosen.step()
    return layer.weight.detach()


optimisers = {
    "SGD": lambda weights, **kind: torch.optim.SGD(weights, momentum=0.9, **kind),
    "Adam": torch.optim.Adam,
    "Adagrad": torch.optim.Adagrad,
}
off = {}
for name, optimiser in optimisers.items():
    for fused in (False, True):
        straight, resumed, remedied = (
            second_step(optimiser, fused, restore) for restore in (lambda state: state, through_file, put_back))
        off[name, fused] = (straight - resumed).abs().max().item()
        assert torch.equal(straight, remedied), name
print(torch.__version__, off)
assert all(off[name, False] == 0 for name in optimisers), "the plain loop has changed"
assert all(off[name, True] > 0.05 for name in optimisers), "the fused kernel has changed"
PYTHON
