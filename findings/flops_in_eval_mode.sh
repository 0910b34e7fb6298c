#!/usr/bin/env bash
# PyTorch's own FLOP counter says 0 for a whole transformer layer, if that is in evaluation mode and gradients are off.
#
# Package: torch 2.13.0 (CPU).
# Guess before it was run: 163,840 from the linear layers and 25,600 from the products of attention, in any mode.
# Seen: nn.TransformerEncoderLayer(32, 4, 64) on 10 tokens counts 163,840 in training mode and, under no_grad, 0 in
#   evaluation mode: a fused kernel does it all, and the counter has no formula for that. nn.MultiheadAttention likewise:
#   81,920, then 0. With need_weights=True it is 94,720: 12,800 of the products, of which need_weights=False counts none.
# Why it matters here: who compares architectures by FLOPs measures in evaluation mode, so attention would be free.
# archsearch counts without the fused kernel, and has a formula for the products (test_attention_is_counted_in_evaluation_mode).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.2
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
attention = nn.MultiheadAttention(32, 4, batch_first=True)
x = torch.randn(1, 10, 32)
calls = {
    "layer": (layer, lambda: layer(x)),
    "attention": (attention, lambda: attention(x, x, x, need_weights=False)),
    "attention with weights": (attention, lambda: attention(x, x, x, need_weights=True)),
}
found = {}
for name, (module, call) in calls.items():
    for training in (True, False):
        module.train(training)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            call()
        found[name, "train" if training else "eval"] = counter.get_total_flops()
print(torch.__version__, found)
assert found == {
    ("layer", "train"): 163840, ("layer", "eval"): 0,
    ("attention", "train"): 81920, ("attention", "eval"): 0,
    ("attention with weights", "train"): 94720, ("attention with weights", "eval"): 0,
}, "this has changed"
PYTHON
