"""Take the census of a loaded torch model: list every weight matrix with its storage and its zeros."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench.engine.evidence import Census, Matrix
from bench.engine.weight_matrix import matrix_shape, packed_sizes, unpacked, weight_of


def take(model: Any, *, count_zeros: bool = True) -> Census:
    """Return the census of ``model``.

    With ``count_zeros`` it also counts zeros and sums magnitudes, which reads every floating-point weight.
    """
    heads = {id(model.get_output_embeddings())}
    matrices: list[Matrix] = []
    bytes_by_dtype: Counter[str] = Counter()
    stored: set[object] = set()
    others: dict[int, tuple[int, bool]] = {}
    for name, module in model.named_modules():
        packed = unpacked(module)
        held = list(_tensors_in(module, packed))
        for tensor in _unique(held, stored):
            bytes_by_dtype[_dtype(tensor)] += _bytes(tensor)
        weight = weight_of(module, packed)
        if weight is not None:
            matrices.append(_matrix(name, module, weight, held, id(module) in heads, count_zeros))
        others |= _other_tensors(module, weight)
    norms = {
        name: float(weight.detach().double().abs().sum())
        for name, weight in model.named_parameters()
        if count_zeros and weight.dim() == 1 and weight.is_floating_point() and name.endswith("weight")
    }
    return Census(
        tuple(matrices), sum(bytes_by_dtype.values()), dict(bytes_by_dtype), norms=norms,
        others=sum(count for count, packed in others.values() if not packed),
        packed_others=sum(count for count, packed in others.values() if packed),
    )  # fmt: skip


def parameters(model: Any) -> int:
    """Return the number of parameters; tied ones are counted once, and packed weights as before packing.

    A packed element may hold several weights, or be no parameter at all, so a packed linear layer counts by
    its sizes.
    """
    import torch

    count, seen = 0, set[int]()
    for module in model.modules():
        if sizes := packed_sizes(module):
            bias = getattr(module, "bias", None)
            bias = bias() if callable(bias) and not isinstance(bias, torch.Tensor) else bias
            count += sizes[0] * sizes[1] + (0 if bias is None else bias.numel())
            continue
        for one in module._parameters.values():
            if one is not None and id(one) not in seen:
                seen.add(id(one))
                count += one.numel()
    return count


def linear_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield (name, module) of every module with a weight matrix, packed or not.

    Modules of torch.ao are left out, because their weights must be unpacked first.
    """
    for name, module in model.named_modules():
        if weight_of(module, ()) is not None:
            yield name, module


def _other_tensors(module: Any, weight: Any | None) -> dict[int, tuple[int, bool]]:
    """Return {id: (elements, whether packed)} of a module's other parameters of two or more dimensions.

    The ids prevent a shared tensor from being counted twice. The weight matrix itself, embeddings and the
    scales of packed weights are left out.
    """
    import torch

    if isinstance(module, torch.nn.Embedding):
        return {}
    return {
        id(tensor): (tensor.numel(), tensor.dtype.itemsize == 1 or not tensor.is_floating_point())
        for name, tensor in module._parameters.items()
        if tensor is not None and tensor is not weight and tensor.dim() > 1 and "scale" not in name
    }


Keyed = tuple[object, Any]  # (a key that identifies the storage, the tensor)


def _matrix(
    name: str, module: Any, weight: Any, held: Iterable[Keyed], is_head: bool, count_zeros: bool
) -> Matrix:
    import torch

    parts = [tensor for _key, tensor in _plain(weight)]
    largest = max(parts, key=_bytes)
    zeros = magnitude = None
    if count_zeros and largest is weight and weight.is_floating_point() and not weight.is_quantized:
        zeros = 1 - int(weight.count_nonzero()) / max(weight.numel(), 1)
        magnitude = float(weight.detach().abs().sum(dtype=torch.float64))
    stored = sum(_bytes(tensor) for tensor in _unique(held, set()))
    scalars = {
        key: float(value)
        for key, value in module._buffers.items()
        if value is not None and value.dim() == 0 and type(value) is torch.Tensor
    }
    kind, sizes = module._get_name(), packed_sizes(module)
    return Matrix(
        name, kind, _dtype(largest), weight.numel(), stored, zeros, is_head, scalars,
        matrix_shape(module, weight), magnitude, zeros is not None and zeros >= 0.5 and _two_of_four(weight),
        sizes[0] * sizes[1] if sizes else weight.numel(),
    )  # fmt: skip


def _two_of_four(weight: Any) -> bool:
    if weight.dim() != 2:
        return False
    rows, columns = weight.shape
    return columns % 4 == 0 and bool(((weight.view(rows, -1, 4) == 0).sum(-1) >= 2).all())


def _unique(keyed: Iterable[Keyed], seen: set[object]) -> Iterator[Any]:
    """Yield one tensor per storage, because tied weights and views must not count twice. Adds to ``seen``."""
    for key, tensor in keyed:
        if tensor.numel() and key not in seen:
            seen.add(key)
            yield tensor


def _tensors_in(module: Any, packed: tuple[Any, ...]) -> Iterator[Keyed]:
    """Yield all tensors of a module: parameters, buffers, packed weights, and scales stored as attributes.

    Unpacking makes a copy, so a packed weight is identified by its module and not by its storage.
    """
    for number, tensor in enumerate(packed):
        if tensor is not None:
            yield (id(module), number), tensor
    own = [*module._parameters.values(), *module._buffers.values()]
    for tensor in own:
        if tensor is not None:
            yield from _plain(tensor)
            yield from _attached(getattr(tensor, "__dict__", {}), depth=3)
    yield from _attached({k: v for k, v in vars(module).items() if not k.startswith("_")}, depth=2)


def _plain(tensor: Any) -> Iterator[Keyed]:
    """Yield the tensor itself, or the tensors that a wrapper subclass consists of: of one that is split over
    devices, this process's part."""
    import torch

    inner = getattr(tensor, "__tensor_flatten__", None)
    names = inner()[0] if inner is not None else ()
    if not names:
        yield _storage(tensor), tensor
    for name in names:
        part = getattr(tensor, name)
        if isinstance(part, torch.Tensor):
            yield from _plain(part)


def _storage(tensor: Any) -> object:
    return tensor.device, tensor.untyped_storage().data_ptr()


def _attached(attributes: Mapping[Any, Any], depth: int) -> Iterator[Keyed]:
    """Yield the tensors in ``attributes``, and in plain objects, dicts, lists and tuples among them.

    The search goes down ``depth`` levels.
    """
    import torch

    for value in attributes.values():
        if isinstance(value, torch.Tensor):
            yield from _plain(value)
        elif depth > 1 and isinstance(value, dict | list | tuple):
            items = value if isinstance(value, dict) else dict(enumerate(value))
            yield from _attached(items, depth - 1)
        elif depth > 1 and hasattr(value, "__dict__") and not isinstance(value, torch.nn.Module | type):
            yield from _attached(vars(value), depth - 1)


def bytes_in(modules: Iterable[Any]) -> int:
    """Return the bytes of all tensors in ``modules`` and their submodules; tied tensors are counted once."""
    seen: set[object] = set()
    parts = (part for module in modules for part in module.modules())
    tensors = (tensor for part in parts for tensor in _unique(_tensors_in(part, unpacked(part)), seen))
    return sum(_bytes(tensor) for tensor in tensors)


def tensors_of(module: Any) -> Iterator[Any]:
    """Yield the tensors that a module itself holds, those of packed weights in parts, without unpacking."""
    return (tensor for _key, tensor in _tensors_in(module, ()))


def held_bytes(holder: object) -> int:
    """Return the bytes of all tensors in a plain object, and in objects and containers inside it."""
    return sum(tensor.nbytes for tensor in _unique(_attached(vars(holder), depth=4), set()))


def _bytes(tensor: Any) -> int:
    """Return the bytes of the tensor's storage, which can be larger than the tensor itself."""
    return int(tensor.untyped_storage().nbytes())


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")
