"""What the schemes of optimum-quanto share: packing with optional calibrated activations, and the checks.

Source: optimum-quanto, https://github.com/huggingface/optimum-quanto.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bench.optimisations import calibration
from bench.optimisations.evidence import Census, Check, bits_a_weight, check, replaced
from bench.worker import one_off

MODULE = "QLinear"


@dataclass(frozen=True)
class QuantoParams(calibration.CalibrationParams):
    """``activations``: quantised too, with ranges from ``samples`` windows of ``tokens`` of calibration
    text."""

    activations: Literal["int8", "float8"] | None = None


def pack(model: Any, params: QuantoParams, weights: str) -> Any:
    """Replace every linear layer but the head; activation ranges are taken from the calibration text."""
    import torch
    from optimum import quanto

    kinds = {name: getattr(quanto, f"q{name}") for name in ("int8", "int4", "int2", "float8")}
    head = model.get_output_embeddings()
    left_out = [name for name, module in model.named_modules() if module is head]
    quanto.quantize(
        model,
        weights=kinds[weights],
        activations=kinds[params.activations] if params.activations else None,
        include=[name for name, module in model.named_modules() if type(module) is torch.nn.Linear],
        exclude=left_out,
    )
    if params.activations:
        with one_off.spent("calibration"), torch.no_grad(), quanto.Calibration():
            for window in calibration.windows(model, params):
                model(input_ids=window, use_cache=False)
    quanto.freeze(model)
    return model.requires_grad_(False)


def packed_evidence(
    before: Census, after: Census, params: QuantoParams, bits: float, dtype: str
) -> list[Check]:
    """QLinear modules with weights in few bits, and with scales for the activations where asked for."""
    checks = [*replaced(before, after, MODULE, dtype), bits_a_weight(before, after, MODULE, bits)]
    if params.activations:
        scales = [m.scalars.get("input_scale", 1.0) for m in after.of(MODULE)]
        set_ = sum(scale != 1.0 for scale in scales)
        checks.append(
            check("layers with a scale for their input", set_, 0 < set_ == len(scales), len(scales))
        )
    return checks
