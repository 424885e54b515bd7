"""GPTQ: 4-bit weights chosen column by column; each column compensates for the error of those before it.

Source: Frantar et al. 2023, arXiv 2210.17323, as implemented in llm-compressor. The layers run on PyTorch's
int4 kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.engine.evidence import Census, Check
from bench.optimisations.shared import int4, llm_compressor

REQUIRES = ("llmcompressor",)
KERNEL = int4.KERNEL
NOTE = int4.NOTE


@dataclass(frozen=True)
class Params(llm_compressor.GroupParams):
    """``symmetric`` means groups without zero points, as most kernels of serving engines need them."""

    symmetric: bool = False


def unsupported(device: str, dtype: str) -> str | None:
    """Return why the int4 kernel does not run here, or None."""
    return int4.unsupported(device, dtype)


def refuse(params: Params, architecture: Mapping[str, Any]) -> str | None:
    """Return why the groups do not fill the rows of a model of this shape, or None."""
    return int4.refuse(params.group_size, architecture)


def apply(model: Any, params: Params) -> Any:
    """Quantise every linear layer except the head."""

    def modifiers() -> list[Any]:
        from llmcompressor.modifiers.quantization import GPTQModifier

        return [GPTQModifier(**llm_compressor.int4_groups(params.group_size, symmetric=params.symmetric))]

    return llm_compressor.to_int4("gptq", model, params, modifiers)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check for packed layers of four bits per weight."""
    return int4.evidence(before, after)
