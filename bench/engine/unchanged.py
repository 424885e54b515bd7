"""See whether a step changed anything of a model, whatever its scheme says of itself.

A scheme writes its own evidence, so one that does nothing can still claim that it did something. The census
sees the weights; here is the rest that can be seen: classes, hooks, settings and single bytes of all tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from bench.engine.census import tensors_of

SAMPLED_BYTES = 256  # of each tensor, spread over its storage


def looks(model: Any) -> str:
    """Return a digest of what can be seen of a torch model within one process; equal if nothing changed."""
    import torch

    found = sha256()
    config: Any = getattr(model, "config", None)
    found.update(repr(config.to_dict() if hasattr(config, "to_dict") else config).encode())
    for name, module in model.named_modules():
        found.update("\n".join((name, *_of_class(module), *_of_object(module))).encode())
        for tensor in tensors_of(module):
            found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            if tensor.device.type != "meta":
                storage = torch.empty(0, dtype=torch.uint8, device=tensor.device)
                storage.set_(tensor.untyped_storage())
                # odd, so that every byte of a number has its turn
                step = max(1, storage.numel() // SAMPLED_BYTES) | 1
                found.update(bytes(storage[::step].tolist()))
    return found.hexdigest()


def _of_class(module: Any) -> Iterator[str]:
    kind = type(module)
    yield f"{kind.__module__}.{kind.__qualname__}"
    yield str(id(kind.forward))


def _of_object(module: Any) -> Iterator[str]:
    """Yield what an instance has of its own: names, settings, hooks and functions."""
    for name, value in sorted(vars(module).items()):
        if name == "training":
            continue
        if isinstance(value, bool | int | float | str | type(None)):
            yield f"{name}={value!r}"
        elif name.endswith("_hooks"):
            yield f"{name}:{len(value)}"
        elif callable(value):
            yield f"{name}@{id(value)}"
        else:
            yield name
