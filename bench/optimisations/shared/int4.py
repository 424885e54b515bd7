"""Run linear layers with 4-bit weights on PyTorch's own kernel, for every scheme that makes such weights.

torchao and gpt-fast use the same kernel: ``torch.ops.aten._weight_int4pack_mm`` on CUDA,
``_weight_int4pack_mm_for_cpu`` on CPUs. A weight is ``(q - 8) · scale + zero`` with q from 0 to 15. Each
group of weights in a row has one scale and one zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from bench.engine.evidence import Census, Check, bits_a_weight, replaced
from bench.errors import Unsupported
from bench.optimisations.shared.linear import linears, named_linears

if TYPE_CHECKING:
    from torch import Tensor

KERNEL = r"_weight_int4pack_mm"
MODULE = "Int4Linear"
NOTE = "on a CPU its kernel is fast in bfloat16 only: set runtime.dtype"
SCALE, ZERO, CODES = "int4_scale", "int4_zero", "int4_codes"
GROUPS = (32, 64, 128, 256)
CPU_ROWS, CUDA_ROWS = 16, 8  # the number of outputs must be a multiple of this


def unsupported(device: str, dtype: str) -> str | None:
    """Return a reason on CUDA unless the dtype is bfloat16. A CPU takes every dtype."""
    if device == "cuda" and dtype != "bfloat16":
        return f"the int4 kernel on CUDA needs runtime.dtype bfloat16, not {dtype}"
    return None


def refuse(group_size: int, architecture: Mapping[str, Any]) -> str | None:
    """Return why groups do not fill the rows of a model of this shape, with sizes that do; None if they do.

    A row has ``hidden_size`` weights, and that of a dense MLP's last layer ``intermediate_size``.
    """
    rows = [architecture.get("hidden_size")]
    rows += [] if architecture.get("mixture") else [architecture.get("intermediate_size")]
    known = [row for row in rows if row]
    unfilled = next((row for row in known if row % group_size), None)
    if unfilled is None:
        return None
    fitting = [str(size) for size in GROUPS if not any(row % size for row in known)]
    hint = f"{' or '.join(fitting)} would" if fitting else f"none of {', '.join(map(str, GROUPS))} would"
    return f"group_size {group_size} does not fill the {unfilled} weights of a row of this model; {hint}"


def check_shapes(model: Any, group_size: int) -> None:
    """Raise Unsupported if groups do not fill a layer's rows, or if the kernel does not take its shape."""
    for name, layer in named_linears(model):
        outputs, inputs = layer.weight.shape
        rows = CPU_ROWS if layer.weight.device.type == "cpu" else CUDA_ROWS
        if inputs % group_size:
            raise Unsupported(f"groups of {group_size} do not fill the {inputs} weights of a row of {name}")
        if outputs % rows:
            raise Unsupported(f"the int4 kernel takes multiples of {rows} outputs, {name} has {outputs}")


def tensors(name: str, weight: Any, scale: Any, zero: Any) -> dict[str, Tensor]:
    """Return the tensors that ``replace`` needs for the layer ``name``.

    These are the codes of ``weight`` [out, in], uint8 from 0 to 15, and ``scale`` and ``zero`` [out, groups].
    """
    import torch

    scale, zero = scale.float(), zero.float()
    groups = weight.float().unflatten(1, (scale.shape[1], -1))
    codes = ((groups - zero[..., None]) / scale[..., None]).round().add(8).clamp(0, 15)
    return {
        f"{name}.{CODES}": codes.to(torch.uint8).flatten(1),
        f"{name}.{SCALE}": scale,
        f"{name}.{ZERO}": zero,
    }


def round_to_nearest(weight: Any, group_size: int) -> tuple[Any, Any]:
    """Return (scale, zero), each float32 [out, groups].

    They span the smallest and the largest weight of each group.
    """
    groups = weight.float().unflatten(1, (-1, group_size))
    low, high = groups.amin(-1), groups.amax(-1)
    scale = (high - low).clamp(min=1e-9) / 15
    return scale, low + 8 * scale


def replace(model: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Replace every linear layer except the head by an int4 layer, and return the model.

    Layer LAYER is made of ``LAYER.int4_codes``, ``LAYER.int4_scale`` and ``LAYER.int4_zero`` in ``tensors``.
    """
    layer_class = _layer_class()
    names = {module: name for name, module in model.named_modules()}
    for parent, attribute, layer in linears(model):
        name = names[layer]
        parts = (tensors[f"{name}.{part}"] for part in (CODES, SCALE, ZERO))
        setattr(parent, attribute, layer_class(layer, *parts))
    return model


def evidence(before: Census, after: Census) -> list[Check]:
    """Check that one stored number holds eight or two weights, at four bits per weight plus scales."""
    return [
        *replaced(before, after, MODULE, "uint8", "int32"),
        bits_a_weight(before, after, MODULE, 4),
    ]


@cache
def _layer_class() -> Any:
    import torch

    class Int4Linear(torch.nn.Module):  # type: ignore[misc]
        """Compute y [..., out] = x [..., in] · weightᵀ + bias."""

        def __init__(self, layer: Any, codes: Any, scale: Any, zero: Any) -> None:
            super().__init__()
            self.out_features, self.in_features = layer.weight.shape
            self.group_size = self.in_features // scale.shape[1]
            packed = _pack(codes.to(layer.weight.device))
            self.packed_shape = packed.shape
            self.register_buffer("weight_packed", packed.reshape(self.out_features, -1))
            table = torch.stack([scale, zero], -1).transpose(0, 1).to(layer.weight)
            self.register_buffer("scales_and_zeros", table.contiguous())  # [groups, out, 2]
            self.bias = layer.bias

        def forward(self, x: Any) -> Any:
            multiply = torch.ops.aten._weight_int4pack_mm
            if x.device.type == "cpu":
                multiply = torch.ops.aten._weight_int4pack_mm_for_cpu
            rows = x.reshape(-1, self.in_features)
            packed = self.weight_packed.view(self.packed_shape)
            y = multiply(rows, packed, self.group_size, self.scales_and_zeros)
            y = y.view(*x.shape[:-1], self.out_features)
            return y if self.bias is None else y + self.bias

    return Int4Linear


def _pack(codes: Any) -> Any:
    import torch

    if codes.device.type == "cpu":
        return torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes.to(torch.int32), 1)
    pairs = codes[:, ::2] << 4 | codes[:, 1::2]
    tiles = next(tiles for tiles in (8, 4, 2) if codes.shape[1] % (16 * tiles) == 0)
    return torch.ops.aten._convert_weight_to_int4pack(pairs.contiguous(), tiles)
