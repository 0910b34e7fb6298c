"""Networks as files for other runtimes: ONNX, PyTorch's ``torch.export``, ONNX in 8-bit whole numbers.

Whatever is written is run once in the runtime that it is for, and compared with the network that it was made of.
Quantisation is static (Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", CVPR 2018): the ranges of activations are those of training images; weights have a
scale for each channel.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from archsearch.basics.kinds import TOKENS, kinds_of
from archsearch.devices.onnx_models import exported, quiet
from archsearch.errors import ExportError, UsageError
from archsearch.space import Space

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from archsearch.networks.network import Network
    from archsearch.task import Task

TOLERANCE = 1e-3
"""Most by which an exported network's outputs may differ, as a share of the largest."""

CALIBRATION = 100
"""Training images by which the ranges of activations are found."""


class Compared(NamedTuple):
    """What leaves, against the network that it was made of.

    Attributes:
        runtime: What it was run in.
        difference: The largest difference of an output.
        size: The largest output.
        accuracy: Share of the validation images that are classified rightly; None: not measured.
        before: The same of the network.
    """

    runtime: str
    difference: float
    size: float
    accuracy: float | None = None
    before: float | None = None

    def __str__(self) -> str:
        text = f"run in {self.runtime}: outputs differ by at most {self.difference:.2g} of {self.size:.3g}"
        if self.accuracy is not None and self.before is not None:
            text += f"; accuracy {self.accuracy:.2%} on the validation part, before {self.before:.2%}"
        return text


def need_onnx(space: Space) -> None:
    """Raises ``UsageError`` if the extra ``onnx`` is not installed, or networks read tokens."""
    if TOKENS in kinds_of(space):
        raise UsageError(
            f"onnx: networks for {kinds_of(space)[0]} go over a text of any length, which is not written as ONNX; "
            "export without onnx"
        )
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f'onnx: needs the package {" and ".join(missing)}: pip install "archsearch[onnx]"')


def save_onnx(path: Path, network: Network, task: Task) -> Compared:
    """Writes the network with the inputs ``images``, as many as there are, and the output ``logits``.

    Args:
        path: The file.
        network: In evaluation mode, on the processor.
        task: Whose images are classified.

    Raises:
        ExportError: If ONNX Runtime computes something else.
    """
    import torch

    images = torch.zeros(2, *task.input_shape)
    model = exported(network, (images,), ["images"], ["logits"], dynamic_shapes=({0: torch.export.Dim("batch")},))
    path.write_bytes(model.SerializeToString())
    some = _images(task, 4)
    return _agreed(path, "ONNX Runtime", run_onnx(path, some), _logits(network, some))


def save_program(path: Path, network: Network, task: Task) -> Compared:
    """Writes what ``torch.export`` makes of the network; ``torch.export.load`` reads it, for any number of images.

    Args:
        path: The file, which ends in .pt2.
        network: In evaluation mode, on the processor.
        task: Whose images are classified.

    Raises:
        ExportError: If the program computes something else.
    """
    import torch

    some = _images(task, 4)
    with torch.no_grad():
        program = torch.export.export(network, (some[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
        torch.export.save(program, path)
        outputs = torch.export.load(path).module()(some)
    return _agreed(path, "torch.export", outputs.numpy(), _logits(network, some))


def save_quantized(path: Path, model: Path, network: Network, task: Task) -> Compared:
    """Writes an ONNX model in 8-bit whole numbers, and measures its accuracy.

    Args:
        path: The file.
        model: The ONNX model of the network, as ``save_onnx`` wrote it.
        network: The network.
        task: Gives training images, which the ranges are found by, and the validation part.
    """
    import numpy as np
    import onnxruntime.quantization as quantization
    import torch
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(quantization.CalibrationDataReader):  # type: ignore[misc]
        """Training images, ten at a time."""

        def __init__(self) -> None:
            self._left: Iterator[Any] = iter(torch.split(_images(task, CALIBRATION, "train"), 10))

        def get_next(self) -> Any:
            """See ``CalibrationDataReader``."""
            images = next(self._left, None)
            return None if images is None else {"images": images.numpy()}

    prepared = path.with_name(f".{path.name}.prepared")
    try:
        with warnings.catch_warnings(), quiet("root"):
            warnings.simplefilter("ignore")  # of its own calls of NumPy and ONNX
            quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(prepared),
                str(path),
                Images(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
    finally:
        prepared.unlink(missing_ok=True)
    labels = task.part("valid")[1]
    images = _images(task, len(labels))
    quantized, before = run_onnx(path, images), _logits(network, images)
    far = float(np.abs(quantized - before).max()), float(np.abs(before).max())
    if task.classes == 1:  # a number, of which none is right
        return Compared("ONNX Runtime", *far)
    return Compared(
        "ONNX Runtime",
        *far,
        *(float((each.argmax(1) == labels.numpy()).mean()) for each in (quantized, before)),
    )


def run_onnx(path: Path, images: torch.Tensor, together: int = 256) -> npt.NDArray[np.float32]:
    """The outputs of an ONNX model in ONNX Runtime, on the processor.

    Args:
        path: The model.
        images: Its inputs, shape (n, channels, height, width).
        together: Images in a call.
    """
    import numpy as np
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found = [session.run(None, {"images": some.contiguous().numpy()})[0] for some in torch.split(images, together)]
    return np.concatenate(found)


def _images(task: Task, n: int, part: str = "valid") -> torch.Tensor:
    images: torch.Tensor = task.part(part)[0][:n]  # type: ignore[arg-type]
    return images.contiguous()


def _logits(network: Network, images: torch.Tensor) -> npt.NDArray[np.float32]:
    import torch

    with torch.no_grad():
        logits = torch.cat([network(some) for some in torch.split(images, 256)])
    found: npt.NDArray[np.float32] = logits.numpy()
    return found


def _agreed(
    path: Path, runtime: str, outputs: npt.NDArray[Any], expected: Sequence[Any] | npt.NDArray[Any]
) -> Compared:
    import numpy as np

    expected = np.asarray(expected)
    found = Compared(runtime, float(np.abs(outputs - expected).max()), float(np.abs(expected).max()))
    if not found.difference <= TOLERANCE * max(found.size, 1.0):
        raise ExportError(
            f"{path}: expected the outputs of the network, up to {TOLERANCE:g} of the largest, got others: {found}"
        )
    return found
