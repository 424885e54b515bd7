"""Say whether a device multiplies bfloat16 itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.machine.proc import cpu_flags

if TYPE_CHECKING:
    import torch

CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # Intel and AMD; Intel with AMX; ARM


def multiplies(device: torch.device) -> bool:
    """Return whether the device has instructions that multiply bfloat16.

    Without them PyTorch converts each number, and a product of matrices takes many times as long as in
    float32.
    """
    if device.type == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(cpu_flags() & CPU_FLAGS)
