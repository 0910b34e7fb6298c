"""Where networks run: PyTorch, and ONNX Runtime where its extra is installed."""

from __future__ import annotations

import abc
import copy
import importlib.util
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from archsearch.devices.onnx_models import TOGETHER, onnx_models
from archsearch.errors import UsageError
from archsearch.networks.blocks import filled, threads_set
from archsearch.networks.multiply_adds import synchronise
from archsearch.networks.network import initialise

Call = Callable[[], object]


class Part(NamedTuple):
    """What is called on a device: a block, or a whole network.

    Attributes:
        module: What computes it, with or without values.
        arguments: As ``archsearch.networks.blocks.shapes_only`` leaves them.
        keywords: Those by name.
    """

    module: nn.Module
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


class Runtime(abc.ABC):
    """What runs networks on a device.

    Args:
        device: Such as ``cpu``, ``cuda`` or ``cuda:1``.
        threads: Of the processor, >= 1.

    Attributes:
        name: As on the command line.
        version: What was measured, for people.
    """

    name: str
    version: str

    def __init__(self, device: str, threads: int) -> None:
        self.device = device
        self.threads = threads

    @abc.abstractmethod
    def calls(self, parts: Sequence[Part], seed: int, on_part: Callable[[int], None]) -> list[Call]:
        """For each part a function that computes it once, with values drawn from a seed."""

    @abc.abstractmethod
    def empty(self) -> Call:
        """A call that computes nothing."""

    @contextmanager
    def session(self) -> Iterator[None]:
        """Inside, calls are measured."""
        yield

    @abc.abstractmethod
    def synchronise(self) -> None:
        """Waits until the device has done what it was given."""


class PyTorch(Runtime):
    """PyTorch, operation by operation, without gradients."""

    name = "pytorch"

    def __init__(self, device: str, threads: int) -> None:
        super().__init__(device, threads)
        self._device = _torch_device(device)
        self.version = f"PyTorch {torch.__version__}"

    def calls(self, parts: Sequence[Part], seed: int, on_part: Callable[[int], None]) -> list[Call]:
        """See ``Runtime``."""
        made = []
        for i, part in enumerate(parts):
            module, arguments, keywords = with_values(part, self._device, seed + i)
            made.append(_call(module, arguments, keywords))
            on_part(i + 1)
        return made

    def empty(self) -> Call:
        """See ``Runtime``."""
        return _call(nn.Identity(), (torch.zeros(1, device=self._device),), {})

    @contextmanager
    def session(self) -> Iterator[None]:
        """See ``Runtime``."""
        with threads_set(self.threads), torch.inference_mode():
            yield

    def synchronise(self) -> None:
        """See ``Runtime``."""
        synchronise(self._device)


def _call(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Call:
    return lambda: module(*arguments, **keywords)


class OnnxRuntime(Runtime):
    """ONNX Runtime, with all its optimisations of the graph."""

    name = "onnxruntime"

    def __init__(self, device: str, threads: int) -> None:
        super().__init__(device, threads)
        need_onnxruntime("runtime onnxruntime")
        import onnxruntime

        kind, _, index = device.partition(":")
        providers = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
        there = [name for name, each in providers.items() if each in onnxruntime.get_available_providers()]
        if kind not in there or (index and not index.isdigit()):
            raise UsageError(f"device: expected one that ONNX Runtime has here, {' or '.join(there)}, got {device!r}")
        self._provider = (providers[kind], {"device_id": int(index)} if index else {})
        self._kind, self._index = kind, int(index or 0)
        self.version = f"ONNX Runtime {onnxruntime.__version__}"

    def calls(self, parts: Sequence[Part], seed: int, on_part: Callable[[int], None]) -> list[Call]:
        """See ``Runtime``; several parts are exported at once, which takes less."""
        made: list[Call] = []
        for begin in range(0, len(parts), TOGETHER):
            some = [
                with_values(part, "cpu", seed + begin + i) for i, part in enumerate(parts[begin : begin + TOGETHER])
            ]
            made += [self.empty() if found is None else self._bound(*found) for found in onnx_models(some)]
            on_part(min(begin + TOGETHER, len(parts)))
        return made

    def empty(self) -> Call:
        """See ``Runtime``."""
        from onnx import TensorProto, helper

        shape = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("in", "out")}
        graph = helper.make_graph(
            [helper.make_node("Identity", ["in"], ["out"])], "empty", [shape["in"]], [shape["out"]]
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        return self._bound(model.SerializeToString(), {"in": np.zeros(1, np.float32)})

    def synchronise(self) -> None:
        """See ``Runtime``; a call comes back when it is done."""

    def _bound(self, model: bytes, inputs: dict[str, Any]) -> Call:
        import onnxruntime

        session = onnxruntime.InferenceSession(model, self.options(), providers=[self._provider])
        binding = session.io_binding()
        for name, values in inputs.items():
            value = onnxruntime.OrtValue.ortvalue_from_numpy(values, self._kind, self._index)
            binding.bind_ortvalue_input(name, value)
        for output in session.get_outputs():
            binding.bind_output(output.name, self._kind, self._index)
        return lambda: session.run_with_iobinding(binding)

    def options(self) -> Any:
        """Of a session."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return options


RUNTIMES: dict[str, type[Runtime]] = {each.name: each for each in (PyTorch, OnnxRuntime)}


def make_runtime(name: str, device: str, threads: int) -> Runtime:
    """A runtime by its name.

    Raises:
        UsageError: If there is no such runtime, or it is not installed, or lacks the device.
    """
    if name not in RUNTIMES:
        raise UsageError(f"runtime: expected one of {', '.join(RUNTIMES)}, got {name!r}")
    return RUNTIMES[name](device, threads)


def need_onnxruntime(who: str) -> None:
    """Raises ``UsageError`` if the packages of the extra ``onnx`` are missing."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f'{who}: needs the package {" and ".join(missing)}: pip install "archsearch[onnx]"')


def _torch_device(device: str) -> torch.device:
    there = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    try:
        found = torch.device(device)
    except RuntimeError:
        found = None
    if (
        found is None
        or found.type not in there
        or (found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count())
    ):
        raise UsageError(f"device: expected one that PyTorch has here, {' or '.join(there)}, got {device!r}")
    return found


def with_values(part: Part, device: torch.device | str, seed: int) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
    """A copy of a part with values of its own, in evaluation mode, and with what it is called."""
    generator = torch.Generator().manual_seed(seed)
    module = copy.deepcopy(part.module).eval()
    module._apply(lambda value: torch.zeros(value.shape, dtype=value.dtype))  # type: ignore[no-untyped-call]
    initialise(module, generator)
    arguments = filled(part.arguments, device, generator)
    return module.to(device), arguments, filled(part.keywords, device, generator)


def processor_name() -> str:
    """Of this machine, for people."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open("/proc/cpuinfo", encoding="utf-8", errors="replace"))
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        except OSError:
            names = []
    return names[0] if names else platform.processor() or platform.machine()
