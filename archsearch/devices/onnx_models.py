"""Modules as ONNX models: several exported at once, since most of an export's time is for each export.

Needs the extra ``archsearch[onnx]``, as whoever asks for such models has checked.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from archsearch.networks.blocks import tensors_in

TOGETHER = 24
"""Modules in one export."""

DEDUPLICATION = "onnx_ir.passes.common.initializer_deduplication"
"""Logger that says which constants it leaves as they are."""

EXPORTER = "torch.onnx._internal.exporter._registration"
"""Logger of PyTorch that says that torchvision's operations, which no network here has, are not there."""


class _Beside(nn.Module):
    """Several modules beside each other: all inputs to all outputs.

    Args:
        calls: Each with its arguments, which are examples.
    """

    def __init__(self, calls: Sequence[tuple[nn.Module, tuple[Any, ...], dict[str, Any]]]) -> None:
        super().__init__()
        self.parts = nn.ModuleList([module for module, *_ in calls])
        self._arguments = [(arguments, keywords) for _, arguments, keywords in calls]

    def forward(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """The outputs of all."""
        left = iter(tensors)
        found: list[torch.Tensor] = []
        for module, given in zip(self.parts, self._arguments, strict=True):
            arguments, keywords = _replaced(given, left)
            found += tensors_in(module(*arguments, **keywords))
        return found


def onnx_models(
    calls: Sequence[tuple[nn.Module, tuple[Any, ...], dict[str, Any]]],
) -> list[tuple[bytes, dict[str, Any]] | None]:
    """The model of each call, as bytes, and its inputs by name; None where the exporter found a constant.

    Args:
        calls: Modules in evaluation mode with their arguments.
    """
    import onnx.utils

    inputs = [tensors_in(call[1:]) for call in calls]
    with torch.no_grad():
        outputs = [len(tensors_in(module(*arguments, **keywords))) for module, arguments, keywords in calls]
    ins = [[f"part{i}_in{j}" for j in range(len(some))] for i, some in enumerate(inputs)]
    outs = [[f"part{i}_out{j}" for j in range(some)] for i, some in enumerate(outputs)]
    flat = tuple(itertools.chain(*inputs))
    model = exported(_Beside(calls).eval(), flat, list(itertools.chain(*ins)), list(itertools.chain(*outs)))
    made = {name for node in model.graph.node for name in node.output}
    extractor = onnx.utils.Extractor(model)
    return [
        (
            extractor.extract_model(names, named).SerializeToString(),
            {name: value.numpy() for name, value in zip(names, values, strict=True)},
        )
        if made.issuperset(named)
        else None
        for names, named, values in zip(ins, outs, inputs, strict=True)
    ]


def exported(module: nn.Module, inputs: tuple[Any, ...], names: list[str], outputs: list[str], **more: Any) -> Any:
    """A module as an ONNX model.

    Args:
        module: In evaluation mode.
        inputs: Examples.
        names: Of the inputs.
        outputs: Names of the outputs.
        **more: Of ``torch.onnx.export``.
    """
    with warnings.catch_warnings(), quiet(EXPORTER), quiet(DEDUPLICATION):
        # PyTorch of itself; in pytree, which it copies.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        program = torch.onnx.export(
            module, inputs, dynamo=True, verbose=False, input_names=names, output_names=outputs, **more
        )
    assert program is not None
    return program.model_proto


def _replaced(value: Any, tensors: Any) -> Any:
    """Arguments with the next tensors in place of those that are there."""
    if isinstance(value, torch.Tensor):
        return next(tensors)
    if isinstance(value, (list, tuple)):
        return type(value)(_replaced(each, tensors) for each in value)
    if isinstance(value, dict):
        return {name: _replaced(each, tensors) for name, each in value.items()}
    return value


@contextlib.contextmanager
def quiet(name: str) -> Iterator[None]:
    """Inside, keeps a logger from saying anything but errors."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
