"""ONNX Runtime int4: its own quantiser packs blocks of weights for its ``MatMulNBits`` operator.

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
    """``block_size`` weights share a scale.

    With ``accuracy_level`` 4, the default of ONNX Runtime's model builder, the activations of every product
    are rounded to int8; with 1 they stay in float32. ``symmetric`` means that there are no zero points.
    """

    block_size: Literal[16, 32, 64, 128, 256] = 32
    accuracy_level: Literal[1, 4] = 4
    symmetric: bool = True


def unsupported(device: str, dtype: str) -> str | None:
    """Return a reason unless the device is a CPU and the dtype float32, as for the engine."""
    if device != "cpu":
        return "the onnxruntime engine runs on the CPU"
    return None if dtype == "float32" else f"needs runtime.dtype float32, not {dtype}"


def apply(model: Any, params: Params) -> Any:
    """Return a session on the quantised graph, which is kept for the next run."""
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
    """Check that every product except the head's has four bits, and the block size and accuracy asked for."""
    new = after.of("MatMulNBits")
    stored, wanted = sum(one.stored_bytes for one in new), sum(_bytes(one, params) for one in new)
    asked = {"bits": 4, "block_size": params.block_size, "accuracy_level": params.accuracy_level}
    return [
        *replaced(before, after, "MatMulNBits", "uint8", was="MatMul"),
        check("bytes of the packed layers, scales included", stored, 0 < stored == wanted, wanted),
        *(_everywhere(new, name, value) for name, value in asked.items()),
    ]


def _bytes(one: Matrix, params: Params) -> int:
    """Return the bytes that a packed layer must take.

    Each column consists of whole blocks. A block has half a byte per weight and a float32 scale. If there are
    zero points, it also has half a byte for one.
    """
    blocks = ceil(one.scalars["K"] / params.block_size)
    zero_points = 0 if params.symmetric else ceil(blocks / 2)
    return int(one.scalars["N"]) * (blocks * (params.block_size // 2 + 4) + zero_points)


def _everywhere(matrices: Sequence[Matrix], name: str, value: int) -> Check:
    """Check that an attribute of the operator has this value in every layer."""
    found = {f"{one.scalars.get(name, 0):g}" for one in matrices}
    return check(name, ", ".join(sorted(found)) or "none", found == {str(value)}, value)
