"""Find the highest precision at which a model and its KV cache fit into the memory of this machine."""

from __future__ import annotations

from dataclasses import dataclass

from bench.cli.doctor import available_bytes
from bench.formatting import GIB
from bench.machine.devices import cuda_device_count, cuda_memory_bytes
from bench.machine.gpus import gpu_for
from bench.machine.nvml import Gpu
from bench.models.architecture import Architecture

TOKENS = 4096  # tokens in the cache, or the whole context of a model if that is shorter
SHARE = 0.9  # of the memory; the engine, its buffers and other programs need the rest
PRECISIONS = {32: "float32", 16: "16 bits", 8: "8 bits", 4: "4 bits"}


@dataclass(frozen=True)
class Memory:
    """The memory in which a model would run here; ``size_bytes`` is None if it is not known."""

    name: str
    size_bytes: int | None

    @property
    def words(self) -> str:
        """Return the size and kind of the memory, such as ``5.9 GiB of RAM``."""
        size = "an unknown size" if self.size_bytes is None else f"{self.size_bytes / GIB:.1f} GiB"
        return f"{size} of {self.name}"


def memory_here() -> Memory:
    """Return the total memory of the first GPU, or without a GPU the RAM that is available now."""
    if cuda_device_count():
        gpu = gpu_for("auto")
        return Memory("GPU memory", gpu.memory_bytes if isinstance(gpu, Gpu) else cuda_memory_bytes())
    return Memory("RAM", available_bytes())


def needed_bytes(facts: Architecture, bits: int) -> int:
    """Return the bytes of weights and KV cache. The cache has at least 16 bits, whatever the weights have."""
    tokens = min(TOKENS, facts.context)
    return facts.weights_bytes(bits) + facts.cache_bytes(tokens, max(bits, 16) // 8)


def fitting(facts: Architecture, memory: Memory) -> str:
    """Return the highest precision that fits, from ``float32`` to ``4 bits``, or ``-`` if none fits."""
    room = (memory.size_bytes or 0) * SHARE
    return next((words for bits, words in PRECISIONS.items() if needed_bytes(facts, bits) <= room), "-")
