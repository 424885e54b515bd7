"""AWQ: 4-bit weights; channels that see large activations are scaled up before they are rounded.

Source: Lin et al. 2024, arXiv 2306.00978, as implemented in llm-compressor. The layers run on PyTorch's int4
kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.engine import experts
from bench.engine.evidence import Census, Check
from bench.errors import Unsupported
from bench.optimisations.shared import int4, llm_compressor
from bench.optimisations.shared.llm_compressor import GroupParams as Params

__all__ = ["Params"]
REQUIRES = ("llmcompressor",)
KERNEL = int4.KERNEL
NOTE = int4.NOTE
NO_MIXTURES = (
    "AWQ would scale what the experts read, and llm-compressor knows no way to undo that in their router: "
    "gptq and torch-int4 take experts"
)


def unsupported(device: str, dtype: str) -> str | None:
    """Return why the int4 kernel does not run here, or None."""
    return int4.unsupported(device, dtype)


def refuse(params: Params, architecture: Mapping[str, Any]) -> str | None:
    """Return why the scheme does not fit a model of this shape, or None."""
    if architecture.get("mixture"):
        return NO_MIXTURES
    return int4.refuse(params.group_size, architecture)


def apply(model: Any, params: Params) -> Any:
    """Quantise every linear layer except the head; the scales go into the norms and layers in front.

    Raises Unsupported for a mixture of experts.
    """
    if next(experts.mixtures(model), None) is not None:
        raise Unsupported(NO_MIXTURES)

    def modifiers() -> list[Any]:
        from llmcompressor.modifiers.quantization import QuantizationModifier
        from llmcompressor.modifiers.transform.awq import AWQModifier

        groups = llm_compressor.int4_groups(params.group_size, symmetric=False)
        return [AWQModifier(duo_scaling="both"), QuantizationModifier(**groups)]

    return llm_compressor.to_int4("awq", model, params, modifiers)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check for packed layers of four bits per weight, and that the norms in front took up the scales."""
    return [*int4.evidence(before, after), llm_compressor.norms_changed(before, after)]
