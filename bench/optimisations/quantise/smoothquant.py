"""SmoothQuant W8A8: outliers moved from activations into weights, then both in int8, integer products.

Source: Xiao et al. 2023, arXiv 2211.10438, by llm-compressor; served by torchao's dynamic int8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.engine.evidence import Census, Check
from bench.optimisations.shared import calibration, llm_compressor, torchao

REQUIRES = ("llmcompressor", "torchao")
KERNEL = r"_int_mm"
NOTE = torchao.INTEGER


@dataclass(frozen=True)
class Params(calibration.CalibrationParams):
    """``strength``: how much of the difficulty moves into the weights, from 0 to 1."""

    strength: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.strength <= 1:
            raise ValueError("strength must be above 0 and at most 1")


def unsupported(device: str, dtype: str) -> str | None:
    """Runs on CPU and CUDA in every dtype."""
    return None


def apply(model: Any, params: Params) -> Any:
    """Smoothing by calibration; then every linear layer but the head."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig

    def modifiers() -> list[Any]:
        from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

        return [SmoothQuantModifier(smoothing_strength=params.strength)]

    smooth = llm_compressor.with_new_weights("smoothquant", model, params, modifiers)
    return torchao.quantise(smooth, Int8DynamicActivationInt8WeightConfig())


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """int8 storage behind norms that took up the scales; the integer product is the kernel looked for."""
    return [*torchao.stored(before, after, 8, "int8"), llm_compressor.norms_changed(before, after)]
