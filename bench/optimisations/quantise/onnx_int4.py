"""ONNX Runtime int4: blocks of weights in four bits, by its own quantiser, on its ``MatMulNBits`` operator.

Source: ``onnxruntime.quantization.matmul_nbits_quantizer``, round to nearest. The embedding and the head stay
in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal

from bench.engine.evidence import Census, Check, Matrix, check, replaced

REQUIRES = ("onnxruntime", "onnx", "onnx_ir")
RUNTIMES = ("onnxruntime",)


@dataclass(frozen=True)
class Params:
    """``block_size``: weights that share a scale. ``accuracy_level``: at 4, the default of ONNX Runtime's
    model builder, the activations of every product are rounded to int8; at 1 they stay in float32.
    ``symmetric``: without zero points."""

    block_size: Literal[16, 32, 64, 128, 256] = 32
    accuracy_level: Literal[1, 4] = 4
    symmetric: bool = True


def unsupported(device: str, dtype: str) -> str | None:
    """What the engine can load can be quantised."""
    if device != "cpu":
        return "the onnxruntime engine runs on the CPU"
    return None if dtype == "float32" else f"needs runtime.dtype float32, not {dtype}"


def apply(model: Any, params: Params) -> Any:
    """A session on the quantised graph, which is kept for the next run."""
    from bench.runtimes import _onnx, onnxruntime

    def quantise(path: Path, out: Path) -> None:
        import onnx
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        work = MatMulNBitsQuantizer(
            onnx.load(path),
            bits=4,
            block_size=params.block_size,
            is_symmetric=params.symmetric,
            accuracy_level=params.accuracy_level,
            nodes_to_exclude=[_onnx.HEAD],
            op_types_to_quantize=("MatMul",),
        )
        work.process()
        work.model.save_model_to_file(str(out), use_external_data_format=True)

    return onnxruntime.quantised(model, f"onnx-int4 {params}", quantise)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Every product but the head's in four bits, in blocks of the size and at the accuracy asked for."""
    new = after.of("MatMulNBits")
    stored, wanted = sum(one.stored_bytes for one in new), sum(_bytes(one, params) for one in new)
    asked = {"bits": 4, "block_size": params.block_size, "accuracy_level": params.accuracy_level}
    return [
        *replaced(before, after, "MatMulNBits", "uint8", was="MatMul"),
        check("bytes of the packed layers, scales included", stored, 0 < stored == wanted, wanted),
        *(_everywhere(new, name, value) for name, value in asked.items()),
    ]


def _bytes(one: Matrix, params: Params) -> int:
    """Each column in whole blocks of half a byte per weight, a float32 scale and perhaps half a byte of zero
    point."""
    blocks = ceil(one.scalars["K"] / params.block_size)
    zero_points = 0 if params.symmetric else ceil(blocks / 2)
    return int(one.scalars["N"]) * (blocks * (params.block_size // 2 + 4) + zero_points)


def _everywhere(matrices: Sequence[Matrix], name: str, value: int) -> Check:
    """One attribute of the operator, in every layer."""
    found = {f"{one.scalars.get(name, 0):g}" for one in matrices}
    return check(name, ", ".join(sorted(found)) or "none", found == {str(value)}, value)
