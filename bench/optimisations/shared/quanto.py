"""Pack weights with optimum-quanto, optionally with calibrated activations, and check the result.

Source: optimum-quanto, https://github.com/huggingface/optimum-quanto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.engine import one_off
from bench.engine.evidence import Census, Check, bits_a_weight, check, replaced
from bench.errors import Unsupported
from bench.optimisations.shared import calibration

MODULE = "QLinear"
SCALES, OUTPUT = ("input_scale", "output_scale"), "output_is_quantised"


@dataclass(frozen=True)
class QuantoParams(calibration.CalibrationParams):
    """``activations`` quantises the activations too.

    Their ranges come from ``samples`` windows of ``tokens`` tokens of calibration text.
    """

    activations: Literal["int8", "float8"] | None = None


def unused(params: QuantoParams) -> dict[str, str]:
    """Return the settings that do nothing: without ``activations``, no text is read."""
    reason = "text is read for the ranges of activations alone, and activations is not given"
    return {} if params.activations else calibration.without_text(reason)


def pack(model: Any, params: QuantoParams, weights: str) -> Any:
    """Replace every linear layer except the head; the calibration text gives the ranges of the activations.

    Raises Unsupported on a GPU if kernels are needed that cannot be built.
    """
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
    if _needs_its_kernels(model, params, weights):
        check_compiler(next(model.parameters()).device)
    if params.activations:
        seen = {"weights": weights, "activations": params.activations, **calibration.recipe(model, params)}
        packages = ("torch", "optimum-quanto")
        _set_ranges(model, one_off.kept("calibration", model, seen, packages, lambda: _ranges(model, params)))
    quanto.freeze(model)
    return model.requires_grad_(False)


def _ranges(model: Any, params: QuantoParams) -> dict[str, Any]:
    """Return the scales of the activations by buffer name, and which outputs are to be quantised.

    optimum-quanto finds both on the calibration text.
    """
    import torch
    from optimum import quanto

    with torch.no_grad(), quanto.Calibration():
        for window in calibration.windows(model, params):
            model(input_ids=window, use_cache=False)
    found: dict[str, Any] = {}
    for name, module in _calibrated(model):
        found |= {f"{name}.{scale}": getattr(module, scale) for scale in SCALES}
        hook = module._quantize_hooks["output"]
        found[f"{name}.{OUTPUT}"] = torch.tensor(hook.id in module._forward_hooks)
    return found


def _set_ranges(model: Any, ranges: Mapping[str, Any]) -> None:
    for name, module in _calibrated(model):
        for scale in SCALES:
            setattr(module, scale, ranges[f"{name}.{scale}"])
        if not ranges[f"{name}.{OUTPUT}"]:
            module.disable_output_quantization()


def _calibrated(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the layers in which activations are quantised too, with their names."""
    for name, module in model.named_modules():
        if getattr(module, "activation_qtype", None) is not None:
            yield name, module


def _needs_its_kernels(model: Any, params: QuantoParams, weights: str) -> bool:
    """Return whether a GPU needs optimum-quanto's own kernels for the model that ``quantize`` has prepared.

    They unpack weights, or multiply in float8. PyTorch has a kernel for int4 in bfloat16 and groups of 128.
    """
    import torch

    dtype = next(model.parameters()).dtype
    if weights == "float8":
        return params.activations is None and dtype is not torch.float32
    groups = {one.weight_group_size for one in model.modules() if hasattr(one, "weight_group_size")}
    return weights == "int2" or (weights == "int4" and (dtype is not torch.bfloat16 or groups != {128}))


def check_compiler(device: Any) -> None:
    """Raise Unsupported on a GPU without nvcc: optimum-quanto builds its kernels with it at first use."""
    from torch.utils.cpp_extension import CUDA_HOME

    if device.type == "cuda" and CUDA_HOME is None:
        raise Unsupported(
            "optimum-quanto builds its CUDA kernels here with nvcc, which is not found: set CUDA_HOME"
        )


def packed_evidence(
    before: Census, after: Census, params: QuantoParams, bits: float, *dtypes: str
) -> list[Check]:
    """Check for QLinear modules that store weights in few bits, as one of ``dtypes``.

    If the activations are quantised, each layer must also have a scale for its input.
    """
    checks = [*replaced(before, after, MODULE, *dtypes), bits_a_weight(before, after, MODULE, bits)]
    if params.activations:
        scales = [m.scalars.get("input_scale", 1.0) for m in after.of(MODULE)]
        set_ = sum(scale != 1.0 for scale in scales)
        checks.append(
            check("layers with a scale for their input", set_, 0 < set_ == len(scales), len(scales))
        )
    return checks
