"""Quantise the linear layers in place with torchao, and check the result.

Source: torchao's ``quantize_``, https://github.com/pytorch/ao. The layers stay ``Linear``. Their weights
become tensors of a subclass, so the evidence is the stored dtype.
"""

from __future__ import annotations

from typing import Any

from bench.engine.evidence import Census, Check, bits_a_weight, replaced
from bench.errors import Unsupported
from bench.optimisations.shared.linear import linears

EAGER = "without torch.compile its weights are converted in every step; add {compile: inductor} to fuse that"
INTEGER = (
    f"{EAGER}; on a GPU torch multiplies integers for 17 sequences or more, for fewer with mode: max-autotune"
)


def cuda_in_bfloat16(what: str, device: str, dtype: str) -> str | None:
    """Return why ``what`` does not run on this device in this dtype, or None.

    The generation of the GPU is not known before a worker has the GPU.
    """
    if device != "cuda":
        return f"{what} needs a CUDA device"
    return None if dtype == "bfloat16" else f"{what} needs runtime.dtype bfloat16, not {dtype}"


def check_capability(what: str, least: tuple[int, int]) -> None:
    """Raise Unsupported on a GPU older than compute capability ``least``."""
    import torch

    here = torch.cuda.get_device_capability()
    if here < least:
        raise Unsupported(f"{what} needs compute capability {_dotted(least)}, this GPU has {_dotted(here)}")


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


def quantise(model: Any, config: Any) -> Any:
    """Quantise every linear layer except the head, and return the model."""
    from torchao.quantization import quantize_

    chosen = {id(layer) for _parent, _name, layer in linears(model)}
    quantize_(model, config, filter_fn=lambda module, _name: id(module) in chosen)
    return model


def stored(before: Census, after: Census, bits: float, *dtypes: str) -> list[Check]:
    """Check that the linear layers hold their weights in few bits."""
    return [*replaced(before, after, "Linear", *dtypes), bits_a_weight(before, after, "Linear", bits)]
