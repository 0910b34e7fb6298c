"""What a network costs: its parameters, its multiply-adds, and the seconds that it takes."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from archsearch.trial import Architecture

REMEMBERED = 10_000
"""Operations whose multiply-adds are remembered."""

UNCOUNTED = frozenset(
    {
        "_addmm_activation",
        "_cdist_forward",
        "_cudnn_rnn",
        "_fft_c2c",
        "_fft_c2r",
        "_fft_r2c",
        "_grouped_mm",
        "_int_mm",
        "_linalg_solve_ex",
        "_native_multi_head_attention",
        "_scaled_dot_product_fused_attention_overrideable",
        "_transformer_encoder_layer_fwd",
        "_trilinear",
        "_weight_int4pack_mm",
        "_weight_int8pack_mm",
        "addbmm",
        "miopen_rnn",
        "mkldnn_rnn_layer",
    }
)
"""PyTorch's operations that multiply and add, and of which neither its registry nor this file knows how often. Products
of matrix and vector are not among them: they are on weights, whatever the number of examples."""

_told: set[str] = set()
"""Operations that were named in a warning already."""

# -- size and speed ----------------------------------------------------------------------------


def parameter_count(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def multiply_adds(network: nn.Module, input_shape: tuple[int, ...], architecture: Architecture | None = None) -> int:
    """Multiply-adds of one example, as NAS-Bench-201 counts them: convolutions, and linear layers with their biases.

    So do both products of attention. Batch normalisation, activations and pooling are not counted. A floating-point
    operation is half a multiply-add.

    Args:
        network: On any device, the meta device included.
        input_shape: Of one example, such as channels, height and width of an image.
        architecture: Of a super-network, the path to count.
    """
    training = [module for module in network.modules() if module.training]
    path = () if architecture is None else (architecture,)
    device = next(network.parameters()).device
    try:
        for module in training:
            module.training = False
        with torch.no_grad(), without_fast_path(), _ShapesAlone() as counter:
            network(torch.zeros(1, *input_shape, dtype=getattr(network, "input_dtype", None), device=device), *path)
    finally:
        for module in training:
            module.training = True
    return int(counter.multiply_adds)


@contextlib.contextmanager
def without_fast_path() -> Iterator[None]:
    """Inside, PyTorch's transformer layers do their operations one by one: the fused ones have no formula."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


class MultiplyAddCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up PyTorch's own formulas while it is entered, outside of inference mode, which hides what operations do.

    PyTorch's ``FlopCounterMode`` also tracks modules, which takes longer, and leaves the biases of linear layers out.

    Attributes:
        multiply_adds: So far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.multiply_adds: int = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = self.compute(func, args, kwargs or {})
        operation = func._overloadpacket
        if operation in flop_registry:
            self.multiply_adds += _formula(operation, args, kwargs or {}, output)
        if operation is torch.ops.aten.addmm:
            self.multiply_adds += output.numel()  # the biases
        if operation is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu:  # no formula in PyTorch's registry
            query, key, value = args[:3]
            self.multiply_adds += math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])
        elif operation not in flop_registry:
            _tell_uncounted(func)
        return output

    def compute(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What an operation gives."""
        return func(*args, **kwargs)


class _ShapesAlone(MultiplyAddCounter):  # type: ignore[no-untyped-call]
    """Counts without computing convolutions: zeros of their shape will do.

    PyTorch prepares a convolution for each shape that it has not met yet, which takes longer than all else, and every
    architecture of a space of widths and kernels has others.
    """

    def compute(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See the base class."""
        if func is not torch.ops.aten.convolution.default or args[6]:  # transposed
            return super().compute(func, args, kwargs)
        images, weight, _, stride, padding, dilation = args[:6]
        sides = len(weight.shape) - 2
        stride, padding, dilation = (
            list(each) * (sides if len(each) == 1 else 1) for each in (stride, padding, dilation)
        )
        shape = [
            (size + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1) // stride[i] + 1
            for i, size in enumerate(images.shape[2:])
        ]
        return images.new_zeros(images.shape[0], weight.shape[0], *shape)


def _tell_uncounted(func: Any) -> None:
    """Warns of an operation that may multiply and add, and that nobody can count: once for each."""
    namespace, _, name = func._schema.name.partition("::")
    own = namespace not in ("aten", "prim", "prims", "profiler")  # a user's: what it does is not known
    if (own or name in UNCOUNTED) and func._schema.name not in _told:
        _told.add(func._schema.name)
        warnings.warn(
            f"multiply-adds: nothing can count those of the operation {func._schema.name}, which count as none; "
            "register a formula by torch.utils.flop_counter.register_flop_formula, or do it by others",
            stacklevel=3,
        )


_KNOWN: dict[tuple[Any, ...], int] = {}
"""Of operations whose multiply-adds were asked for, by the shapes of their arguments: PyTorch's formulas take time."""


def _formula(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    """Multiply-adds of an operation, as PyTorch's registry has them."""
    key = (operation, *map(_shape, args), *((name, _shape(value)) for name, value in kwargs.items()), _shape(output))
    if key not in _KNOWN:
        if len(_KNOWN) >= REMEMBERED:
            _KNOWN.clear()
        _KNOWN[key] = int(flop_registry[operation](*args, **kwargs, out_val=output)) // 2
    return _KNOWN[key]


def _shape(value: Any) -> Any:
    """All of an argument that a formula looks at, as something that can be looked up."""
    if isinstance(value, torch.Tensor):
        return value.shape
    return tuple(map(_shape, value)) if isinstance(value, (list, tuple)) else value


def latency_seconds(network: nn.Module, images: torch.Tensor, repeats: int = 5) -> float:
    """Median time of a forward pass over ``images`` in evaluation mode, in seconds, after one that does not count."""
    training = network.training
    network.eval()
    times = []
    with torch.no_grad():
        for _ in range(repeats + 1):
            begun = time.perf_counter()
            network(images)
            synchronise(images.device)
            times.append(time.perf_counter() - begun)
    network.train(training)
    return sorted(times[1:])[repeats // 2]


def synchronise(device: torch.device) -> None:
    """Waits until an accelerator has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
