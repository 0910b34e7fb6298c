"""Networks as PyTorch's compiler makes them: fewer calls and passes over memory, once compiling them is paid for."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable

import torch
from torch import nn

from archsearch.errors import UsageError


def expect_compiler(device: torch.device) -> None:
    """Raises ``UsageError`` if what ``torch.compile`` needs is missing: Triton for CUDA, else a C++ compiler."""
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise UsageError(
                "Training: compile: expected Triton, which torch.compile needs on a CUDA device, found none; install "
                "triton, or leave compile out"
            )
        return
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        raise UsageError(
            f"Training: compile: expected a C++ compiler, which torch.compile needs on the processor, found no {name} "
            "on the PATH; install one, name another in the variable CXX, or leave compile out"
        )


def compiled(network: nn.Module, device: torch.device) -> Callable[..., torch.Tensor]:
    """The network's forward pass, compiled when it is first called; weights are shared with the network.

    On CUDA devices in the mode that records CUDA graphs (``reduce-overhead``), since small networks wait for calls.

    Args:
        network: Stand-alone.
        device: Where it is.

    Raises:
        UsageError: If there is nothing to compile with.
    """
    expect_compiler(device)
    # A batch of another size is compiled anew: an epoch has two sizes at most.
    if device.type == "cuda":
        return torch.compile(network, dynamic=False, mode="reduce-overhead")
    return torch.compile(network, dynamic=False)
