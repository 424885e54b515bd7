"""Find the weight matrix of a linear layer of whatever class, packed or not."""

from __future__ import annotations

from typing import Any

# The names of packed weights in layers that have no ``weight``: HQQ, compressed-tensors, GPTQ and AWQ.
PACKED = ("W_q", "weight_packed", "qweight")


def packed_sizes(module: Any) -> tuple[int, int] | None:
    """Return (outputs, inputs) of a linear layer whose weights are packed; None for any other module."""
    sizes = _sizes(module)
    if sizes is None:
        return None
    weight = module._parameters.get("weight")
    if weight is not None and weight.numel() == sizes[0] * sizes[1]:
        return None
    return sizes if unpacks(module) or weight_of(module, ()) is not None else None


def unpacks(module: Any) -> bool:
    """Return whether the ``weight`` of a module is a method that unpacks, as that of a torch.ao layer is."""
    import torch

    weight = getattr(module, "weight", None)
    return callable(weight) and not isinstance(weight, torch.Tensor)


def unpacked(module: Any) -> tuple[Any, ...]:
    """Return (weight, bias) of a torch.ao layer, whose ``weight`` is a method that unpacks; () for others.

    Unpacking copies both and is slow, so it is done once per module.
    """
    if not unpacks(module):
        return ()
    both = getattr(module, "_weight_bias", None)
    return tuple(both()) if both is not None else (module.weight(),)


def weight_of(module: Any, packed: tuple[Any, ...]) -> Any | None:
    """Return the tensor that holds the weights of a linear-like module; None for embeddings, norms and other
    modules.

    It is a matrix of a known name. In a class that says its ``in_features`` and ``out_features``, as torch's
    own does, it is else the largest tensor of any name and shape.
    """
    import torch

    if isinstance(module, torch.nn.Embedding):
        return None
    held = module._parameters.keys() | module._buffers.keys()
    name = next((name for name in PACKED if name in held), "weight")
    weight = packed[0] if packed else getattr(module, name, None)
    if isinstance(weight, torch.Tensor) and weight.dim() == 2:
        return weight
    return _largest(module)


def matrix_shape(module: Any, weight: Any) -> tuple[int, int]:
    """Return [outputs, inputs] as stored; of codes that are no matrix, the sizes that the module says."""
    rows, *columns = weight.shape
    return (rows, columns[0]) if len(columns) == 1 else _sizes(module) or (0, 0)


def _sizes(module: Any) -> tuple[int, int] | None:
    outputs, inputs = (getattr(module, name, None) for name in ("out_features", "in_features"))
    return (outputs, inputs) if type(outputs) is int and type(inputs) is int else None


def _largest(module: Any) -> Any | None:
    """Return the largest tensor of a module that says its sizes, if it has a bit for each weight: a bias or a
    scale has not."""
    sizes = _sizes(module)
    own = [one for one in (*module._parameters.values(), *module._buffers.values()) if one is not None]
    if sizes is None or not own:
        return None
    largest = max(own, key=lambda one: int(one.nbytes))
    return largest if 8 * largest.nbytes >= sizes[0] * sizes[1] > 0 else None
