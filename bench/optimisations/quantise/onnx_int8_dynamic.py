"""ONNX Runtime int8: its own quantiser packs the weights; activations are quantised at every product.

Source: ``onnxruntime.quantization.quantize_dynamic``. Weights are signed and symmetric. Activations are
unsigned, with one scale for all tokens of a call. The embedding and the head stay in float32.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.engine.evidence import Census, Check, bits_a_weight, replaced

REQUIRES = ("onnxruntime", "onnx")
RUNTIMES = ("onnxruntime",)
ENCODERS = RUNTIMES


@dataclass(frozen=True)
class Params:
    """``per_channel`` means one scale per column of weights, not one per matrix.

    ``reduce_range`` means seven bits, for CPUs without VNNI: their products of eight bits may saturate.
    """

    per_channel: bool = True
    reduce_range: bool = False


def unsupported(device: str, dtype: str) -> str | None:
    """Return a reason unless the device is a CPU and the dtype float32, as for the engine."""
    if device != "cpu":
        return "the onnxruntime engine runs on the CPU"
    return None if dtype == "float32" else f"needs runtime.dtype float32, not {dtype}"


def apply(model: Any, params: Params) -> Any:
    """Return a session on the quantised graph, which is kept for the next run."""
    from bench.runtimes import _onnx, onnxruntime

    def quantise(path: Path, out: Path) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with TemporaryDirectory(dir=out.parent) as scratch:  # the quantiser writes beside the file it reads
            copy = shutil.copytree(path.parent, Path(scratch) / "model") / path.name
            quantize_dynamic(
                copy,
                out,
                op_types_to_quantize=["MatMul"],
                nodes_to_exclude=[_onnx.HEAD],
                weight_type=QuantType.QInt8,
                use_external_data_format=True,
                **asdict(params),
            )

    return onnxruntime.quantised(model, f"onnx-int8-dynamic {params}", quantise)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check that every product except the head's is in int8, at one byte per weight plus scales."""
    return [
        *replaced(before, after, "MatMulInteger", "int8", was="MatMul"),
        bits_a_weight(before, after, "MatMulInteger", 8),
    ]
