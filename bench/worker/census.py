"""What really is in a loaded torch model: every weight matrix, its storage, its zeros."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from bench.optimisations.evidence import Census, Matrix


def take(model: Any, *, count_zeros: bool = True) -> Census:
    """The census of ``model``. Counting zeros reads every floating-point matrix once."""
    heads = {id(model.get_output_embeddings())}
    matrices = tuple(
        _matrix(name, module, weight, id(module) in heads, count_zeros)
        for name, module in model.named_modules()
        if (weight := _weight(module)) is not None
    )
    bytes_by_dtype: Counter[str] = Counter()
    for tensor in _stored_once(model):
        bytes_by_dtype[_dtype(tensor)] += _bytes(tensor)
    return Census(matrices, sum(bytes_by_dtype.values()), dict(bytes_by_dtype))


def _weight(module: Any) -> Any | None:
    """The weight matrix of a linear-like module, embeddings and norms left out."""
    import torch

    if isinstance(module, torch.nn.Embedding):
        return None
    weight = getattr(module, "weight", None)
    if callable(weight) and not isinstance(weight, torch.Tensor):
        weight = weight()
    return weight if isinstance(weight, torch.Tensor) and weight.dim() == 2 else None


def _matrix(name: str, module: Any, weight: Any, is_head: bool, count_zeros: bool) -> Matrix:
    zeros = None
    if count_zeros and weight.is_floating_point() and not weight.is_quantized:
        zeros = 1 - int(weight.count_nonzero()) / max(weight.numel(), 1)
    stored = sum(_bytes(tensor) for tensor in _unique(_tensors_in(module)))
    return Matrix(name, module._get_name(), _dtype(weight), weight.numel(), stored, zeros, is_head)


def _stored_once(model: Any) -> Iterator[Any]:
    return _unique(pair for module in model.modules() for pair in _tensors_in(module))


def _unique(keyed: Iterator[tuple[object, Any]]) -> Iterator[Any]:
    """Each storage once: tied weights and views must not be counted twice."""
    seen: set[object] = set()
    for key, tensor in keyed:
        if tensor.numel() and key not in seen:
            seen.add(key)
            yield tensor


def _tensors_in(module: Any) -> Iterator[tuple[object, Any]]:
    """(identity of the storage, tensor) for parameters, buffers, packed weights, and the scales that
    engines hang on them as attributes. Unpacking makes a copy, so a packed weight is known by its module."""
    import torch

    if callable(getattr(module, "weight", None)) and not isinstance(module.weight, torch.Tensor):
        yield id(module), module.weight()
        bias = module.bias() if callable(getattr(module, "bias", None)) else None
        if bias is not None:
            yield (id(module), "bias"), bias
    own = [*module._parameters.values(), *module._buffers.values()]
    for tensor in own:
        if tensor is not None:
            yield _storage(tensor), tensor
            yield from _attached(getattr(tensor, "__dict__", {}), depth=3)
    yield from _attached({k: v for k, v in vars(module).items() if not k.startswith("_")}, depth=2)


def _storage(tensor: Any) -> object:
    return tensor.device, tensor.untyped_storage().data_ptr()


def _attached(attributes: dict[str, Any], depth: int) -> Iterator[tuple[object, Any]]:
    """Tensors among ``attributes`` and, ``depth`` levels down, in the plain objects among them."""
    import torch

    for value in attributes.values():
        if isinstance(value, torch.Tensor):
            yield _storage(value), value
        elif depth > 1 and hasattr(value, "__dict__") and not isinstance(value, torch.nn.Module | type):
            yield from _attached(vars(value), depth - 1)


def _bytes(tensor: Any) -> int:
    """What its storage holds, of which the tensor may be a part."""
    return int(tensor.untyped_storage().nbytes())


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")
