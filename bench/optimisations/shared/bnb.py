"""Pack weights for the two 4-bit schemes of bitsandbytes, and check that it happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

from bench.engine.evidence import Census, Check, bits_a_weight, replaced
from bench.errors import Unsupported
from bench.optimisations.shared.linear import replace_linears

TABLES_BYTES = 4 * (16 + 256 + 2)  # values of the 4-bit codes and, with double_quant, of the 8-bit scales
ROWS = 32  # that the kernel for a CPU with AVX-512 bf16 computes together
KERNEL = r"bitsandbytes::.*(4bit|gemv)|gemm_4bit"


@dataclass(frozen=True)
class FourBitParams:
    """``block_size`` weights share a scale.

    ``double_quant`` quantises the scales too. ``compute_dtype`` is the dtype of the products; the default is
    the dtype of the model.
    """

    double_quant: bool = False
    compute_dtype: Literal["float32", "bfloat16", "float16"] | None = None
    block_size: Literal[64, 128, 256, 512] = 64


def pack(model: Any, params: FourBitParams, quant_type: str) -> Any:
    """Replace every linear layer except the head; moving the new layer to its device packs its weights."""
    import bitsandbytes as bnb
    import torch

    def packed(layer: Any) -> Any:
        compute = getattr(torch, params.compute_dtype) if params.compute_dtype else layer.weight.dtype
        new = bnb.nn.Linear4bit(
            layer.in_features,
            layer.out_features,
            layer.bias is not None,
            compute_dtype=compute,
            compress_statistics=params.double_quant,
            quant_type=quant_type,
            device="meta",
        )
        new.weight = bnb.nn.Params4bit(
            layer.weight.data,
            requires_grad=False,
            quant_type=quant_type,
            compress_statistics=params.double_quant,
            blocksize=params.block_size,
        )
        new.bias = layer.bias
        new = new.to(layer.weight.device).eval()
        if layer.weight.device.type == "cpu" and new.support_avx512bf16_for_cpu:
            _rearrange(new, params)
        return new

    return replace_linears(model, packed)


def _smaller(rows: int, columns: int, block_size: int) -> str:
    """Return the largest smaller block that takes the matrix, as the end of a sentence, if there is one."""
    sizes = get_args(get_type_hints(FourBitParams)["block_size"])
    fitting = [size for size in sizes if size < block_size and not rows % ROWS and not columns % size]
    return f": block_size {max(fitting)} fits" if fitting else ""


def _rearrange(layer: Any, params: FourBitParams) -> None:
    """Make bitsandbytes rearrange the weights now, for its kernel on a CPU with AVX-512 bf16.

    bitsandbytes does this at the first product; products and scales are in bf16 from then on. It is done here
    so that the evidence describes the weights that decode. Raises Unsupported if the kernel cannot take the
    matrix, or if it would undo a setting.
    """
    import torch

    rows, columns = layer.weight.quant_state.shape
    if rows % ROWS or columns % params.block_size:
        raise Unsupported(
            f"bitsandbytes' kernel for this CPU wants rows in {ROWS}s and columns in blocks of "
            f"{params.block_size}, not {rows} x {columns}{_smaller(rows, columns, params.block_size)}"
        )
    if params.double_quant:
        raise Unsupported(
            "bitsandbytes' kernel for this CPU keeps scales in bfloat16: double_quant would be undone by it"
        )
    with torch.inference_mode():
        layer(torch.zeros(1, layer.in_features, dtype=layer.compute_dtype))


def packed_evidence(before: Census, after: Census) -> list[Check]:
    """Check that two weights take one byte, plus their scales."""
    return [
        *replaced(before, after, "Linear4bit", "uint8"),
        bits_a_weight(before, after, "Linear4bit", 4, TABLES_BYTES),
    ]
