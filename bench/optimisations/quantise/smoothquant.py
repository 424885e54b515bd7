"""SmoothQuant W8A8: move outliers from activations into weights, then multiply both as int8.

Source: Xiao et al. 2023, arXiv 2211.10438, as implemented in llm-compressor. The layers run as torchao's
dynamic int8.
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
    """``strength`` says how much of the difficulty moves into the weights, above 0 and at most 1."""

    strength: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.strength <= 1:
            raise ValueError("strength must be above 0 and at most 1")


def apply(model: Any, params: Params) -> Any:
    """Smooth the model by calibration, then quantise every linear layer except the head.

    Raises Unsupported if the smooth model computes something else.
    """
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig

    def modifiers() -> list[Any]:
        from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

        return [SmoothQuantModifier(smoothing_strength=params.strength)]

    before = llm_compressor.logits_of(model)
    smooth = llm_compressor.with_new_weights("smoothquant", model, params, modifiers)
    llm_compressor.must_compute_the_same(smooth, before)
    return torchao.quantise(smooth, Int8DynamicActivationInt8WeightConfig())


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check for int8 storage, and that the norms in front took up the scales.

    ``KERNEL`` looks for the integer product.
    """
    return [*torchao.stored(before, after, 8, "int8"), llm_compressor.norms_changed(before, after)]
