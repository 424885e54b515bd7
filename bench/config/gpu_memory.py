"""Check that the models of a config fit the memory of its GPU, before anything is fetched or loaded.

Weights are counted as they are loaded: dense, in the row's dtype. Schemes quantise and prune loaded weights,
so a row needs that much at first, even if it needs less later. Only known models are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.config.settings import RuntimeBlock
from bench.config.spec import Arm, Group
from bench.formatting import GIB
from bench.machine.gpus import gpu_for
from bench.machine.nvml import Gpu
from bench.models.architecture import Architecture
from bench.models.reference import ModelRef, Named, Random
from bench.models.registry import FindModel

BITS = {"float32": 32, "bfloat16": 16, "float16": 16}
CONTEXT_BYTES = 600_000_000  # what CUDA, cuBLAS and their kernels take of a GPU in each process


def too_large_for_gpu(model: ModelRef, runtime: RuntimeBlock, find: FindModel) -> str | None:
    """Return why a model cannot be loaded on the GPU that a row asks for. None if it can, or if the size of
    the model or the memory of the GPU is not known."""
    gpu, facts = gpu_for(runtime.device), _facts(model, find)
    if not isinstance(gpu, Gpu) or not gpu.memory_bytes or facts is None or runtime.name != "transformers":
        return None
    weights = facts.weights_bytes(BITS[runtime.dtype])
    if weights + CONTEXT_BYTES <= gpu.memory_bytes:
        return None
    return (
        f"its weights take {weights / GIB:.1f} GiB in {runtime.dtype}, and the {gpu.words} has "
        f"{gpu.memory_bytes / GIB:.1f} GiB"
    )


def one_after_other(groups: Sequence[Group], find: FindModel) -> Iterator[str]:
    """Yield a sentence for rows that fit their GPU alone and not beside their baseline."""
    rows = [arm for group in groups for arm in group.variants if _apart(group.baseline, arm, find)]
    if rows:
        names = ", ".join(dict.fromkeys(arm.name for arm in rows))
        yield (
            f"{names}: two models do not fit the GPU together, so the sides run one after the other "
            "(baseline, variant, variant, baseline), and the intervals are wider"
        )


def _apart(base: Arm, variant: Arm, find: FindModel) -> bool:
    """Return whether a variant and its baseline share a GPU that is too small for both."""
    gpu, other = gpu_for(base.runtime.device), gpu_for(variant.runtime.device)
    if not isinstance(gpu, Gpu) or gpu != other or variant.unsupported or not gpu.memory_bytes:
        return False
    sizes = [_serving_bytes(arm, find) for arm in (base, variant)]
    return all(sizes) and sum(size or 0 for size in sizes) > gpu.memory_bytes


def _serving_bytes(arm: Arm, find: FindModel) -> int | None:
    """Return the memory of a row while it answers: weights, KV cache and CUDA; None for an unknown model."""
    facts = _facts(arm.model, find)
    if facts is None:
        return None
    load, bits = arm.workload, BITS[arm.runtime.dtype]
    tokens = (load.input_tokens or 1) + load.output_tokens
    cache = load.batch_size * facts.cache_bytes(tokens, bits // 8)
    return facts.weights_bytes(bits) + cache + CONTEXT_BYTES


def _facts(model: ModelRef, find: FindModel) -> Architecture | None:
    """Return what is known of a model's architecture, at the size asked for; None for any other model."""
    if not isinstance(model, Named | Random):
        return None
    known = find(model.name)
    return (known.sized(model.size) if isinstance(model, Random) else known).architecture
