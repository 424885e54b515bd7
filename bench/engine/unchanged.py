"""See whether a step changed anything of a model, whatever its scheme says of itself.

A scheme writes its own evidence, so one that does nothing can still claim that it did something. The census
sees the weights; here is the rest that can be seen: classes, hooks, settings, the functions that a model
calls, torch's own switches, and single bytes of all tensors.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from hashlib import sha256
from types import FunctionType, MethodType, ModuleType
from typing import Any

from bench.engine.census import tensors_of
from bench.engine.ordinary import ORDINARY

SAMPLED_BYTES = 256  # of each tensor, spread over its storage
DEPTH = 3  # of containers and objects within an attribute
MOST_ENTRIES = 1000  # of a container that are looked at
ELSEWHERE = frozenset(("training", "_parameters", "_buffers", "_modules"))  # seen as tensors and modules


def looks(model: Any) -> str:
    """Return a digest of what can be seen of a torch model within one process; equal if nothing changed."""
    import torch

    found = sha256()
    kinds: dict[type, None] = {}
    config: Any = getattr(model, "config", None)
    found.update(repr(config.to_dict() if hasattr(config, "to_dict") else config).encode())
    for name, module in model.named_modules():
        kinds[type(module)] = None
        found.update("\n".join((name, _kind(module), *_of_object(module))).encode())
        for tensor in tensors_of(module):
            found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            if tensor.device.type != "meta":
                storage = torch.empty(0, dtype=torch.uint8, device=tensor.device)
                storage.set_(tensor.untyped_storage())
                # odd, so that every byte of a number has its turn
                step = max(1, storage.numel() // SAMPLED_BYTES) | 1
                found.update(bytes(storage[::step].tolist()))
    found.update("\n".join((*_of_code(kinds), *_switches())).encode())
    return found.hexdigest()


def proves_nothing(kernel: str | None) -> bool:
    """Return whether a pattern of kernels is missing, or matches what runs in an unchanged model too."""
    return not kernel or any(re.search(kernel, name) for name in ORDINARY)


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _of_object(module: Any) -> Iterator[str]:
    """Yield what an instance has of its own: names, settings, hooks and functions."""
    for name, value in sorted(vars(module).items()):
        if name not in ELSEWHERE:
            yield f"{name}={_said(value, DEPTH)}"


def _said(value: Any, depth: int) -> str:
    """Describe a value by its content: plain objects and containers by what is in them, ``depth`` levels
    down, functions by their identity, and what is a tensor or a module by its class."""
    import torch

    if isinstance(value, bool | int | float | str | bytes | Enum | torch.dtype | torch.device | None):
        return repr(value)
    if isinstance(value, FunctionType | MethodType):
        return _function(value)
    if depth == 0 or isinstance(value, torch.Tensor | torch.nn.Module | type | ModuleType):
        return _kind(value)
    if isinstance(value, dict):
        some = list(dict.items(value))[:MOST_ENTRIES]
        return f"{_kind(value)}{[(_said(key, 1), _said(one, depth - 1)) for key, one in some]}"
    if isinstance(value, list | tuple):
        return f"{_kind(value)}{[_said(one, depth - 1) for one in value[:MOST_ENTRIES]]}"
    if isinstance(value, set | frozenset):
        return f"{_kind(value)}{sorted(_said(one, depth - 1) for one in value)[:MOST_ENTRIES]}"
    own = getattr(value, "__dict__", {})
    return f"{_kind(value)}{[(name, _said(one, depth - 1)) for name, one in sorted(own.items())]}"


def _function(value: Any) -> str:
    """Name a function by itself and its code: where one was freed, another may lie at its address."""
    function = getattr(value, "__func__", value)
    code = getattr(function, "__code__", None)  # a method may be made of anything that can be called
    return f"{getattr(function, '__qualname__', _kind(function))}@{id(function)}:{id(code)}"


def _of_code(kinds: Mapping[type, None]) -> Iterator[str]:
    """Yield the functions that a model may call: the methods of its classes, and the functions and tables of
    functions beside them and in torch, any of which can be replaced for all models of the process."""
    import torch

    classes = dict.fromkeys(base for kind in kinds for base in kind.__mro__)
    homes = dict.fromkeys(kind.__module__ for kind in kinds)
    for place in (*classes, *(sys.modules.get(home) for home in homes), torch, torch.nn.functional):
        for name, value in list(vars(place).items()) if place is not None else ():
            if isinstance(value, FunctionType) or type(value) is type(len):
                yield f"{name}@{_function(value) if isinstance(value, FunctionType) else id(value)}"
            elif isinstance(value, Mapping) and not name.startswith("__"):
                table = dict.items(value) if isinstance(value, dict) else value.items()
                yield f"{name}:{[(str(key), _function(one)) for key, one in table if _is_code(one)]}"


def _is_code(value: object) -> bool:
    """Return whether a value is a function that is written in Python."""
    return isinstance(value, FunctionType | MethodType)


def _switches() -> Iterator[str]:
    """Yield torch's switches that choose how an unchanged model is computed."""
    import torch

    cuda, cudnn, mkldnn = torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
    attention: tuple[Callable[[], object], ...] = (
        cuda.flash_sdp_enabled, cuda.mem_efficient_sdp_enabled, cuda.math_sdp_enabled, cuda.cudnn_sdp_enabled,
    )  # fmt: skip
    yield repr([switch() for switch in attention])
    yield repr([torch.get_float32_matmul_precision(), cudnn.enabled, cudnn.benchmark, mkldnn.enabled])
    yield repr([torch.is_autocast_enabled(device) for device in ("cpu", "cuda")])
