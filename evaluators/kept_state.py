"""States of models, optimisers and generators as tensors and JSON data, so that reading a checkpoint runs no code."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from archsearch.files.checksums import Damaged

Tensors = dict[str, torch.Tensor]


def state_of(thing: Any, name: str) -> Any:
    """The state of something that can be kept.

    Args:
        thing: Has ``state_dict`` and ``load_state_dict``, or is a generator of PyTorch, NumPy or Python, a dict or a
            list.
        name: What the function calls it, for the message.

    Raises:
        TypeError: If it is something else.
    """
    if hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict"):
        return thing.state_dict()
    if isinstance(thing, torch.Generator):
        return thing.get_state()
    if isinstance(thing, np.random.Generator):
        return thing.bit_generator.state
    if isinstance(thing, random.Random):
        return thing.getstate()
    if isinstance(thing, dict | list):
        return thing
    raise TypeError(
        f"progress.keep: {name}: expected something with state_dict and load_state_dict, a generator, a dict or a "
        f"list, got {type(thing).__name__}; a number or a tensor can be kept as an entry of a dict"
    )


def put_back(thing: Any, state: Any) -> None:
    """Brings something to a state that ``state_of`` gave of such a thing."""
    if hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict"):
        thing.load_state_dict(state)
    elif isinstance(thing, torch.Generator):
        thing.set_state(state)
    elif isinstance(thing, np.random.Generator):
        thing.bit_generator.state = state
    elif isinstance(thing, random.Random):
        thing.setstate(state)
    elif isinstance(thing, dict):
        thing.clear()
        thing.update(state)
    else:
        thing[:] = state


def pack(value: Any, where: str, tensors: Tensors) -> Any:
    """A state as JSON data; its tensors and arrays go into ``tensors``.

    Args:
        value: None, numbers, text, tensors, arrays, and dicts, lists and tuples of these.
        where: What it is, for the message, and for the tensors' names.
        tensors: Grows.

    Raises:
        TypeError: If there is something else in it.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return pack(value.item(), where, tensors)
    if isinstance(value, torch.Tensor | np.ndarray):
        return _pack_tensor(value, f"{len(tensors)}.{where}", tensors)
    if isinstance(value, Mapping):
        items = [(pack(key, where, tensors), pack(item, f"{where}.{key}", tensors)) for key, item in value.items()]
        return {"dict": items}
    if isinstance(value, tuple | list):
        items = [pack(item, f"{where}.{i}", tensors) for i, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    raise TypeError(
        f"progress.keep: {where}: expected tensors, arrays, numbers, text, and dicts, lists and tuples of these, got "
        f"{type(value).__name__}; write it yourself: progress.report(step, score, save=...)"
    )


def _pack_tensor(value: torch.Tensor | np.ndarray[Any, Any], name: str, tensors: Tensors) -> Any:
    if isinstance(value, np.ndarray):
        tensors[name] = torch.tensor(value)
        return {"array": name}
    # A copy on the processor: a file can hold no two tensors that share memory, as tied weights do.
    tensor = value.detach().cpu().clone()
    if tensor.is_contiguous():
        tensors[name] = tensor
        return {"tensor": name}
    strides = [tensor.stride(i) for i in range(tensor.ndim)]
    # A file has no layouts, and fused optimisers compute nonsense if their state is not laid out as the weights are.
    order = sorted(range(tensor.ndim), key=lambda i: -strides[i])
    tensors[name] = tensor.permute(order)
    return {"permuted": [name, [order.index(i) for i in range(tensor.ndim)]]}


def unpack(packed: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """The state that ``pack`` was given.

    Raises:
        Damaged: If it is none.
    """
    if not isinstance(packed, dict):
        return packed
    try:
        ((kind, value),) = packed.items()
        if kind == "tensor":
            return tensors[value]
        if kind == "permuted":
            return tensors[value[0]].permute(value[1])
        if kind == "array":
            return tensors[value].numpy()
        if kind == "dict":
            return {_key(key): unpack(item, tensors) for key, item in value}
        items = [unpack(item, tensors) for item in value]
    except (LookupError, TypeError, ValueError, RuntimeError):
        raise Damaged("what was kept cannot be read") from None
    return tuple(items) if kind == "tuple" else items


def _key(packed: Any) -> Any:
    """A key of a dict; a tuple is one, too."""
    return unpack(packed, {}) if isinstance(packed, dict) else packed
