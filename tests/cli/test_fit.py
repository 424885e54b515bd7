"""What fits: the arithmetic to the byte, and where the size of the memory comes from."""

from __future__ import annotations

import pytest

from bench.cli import fit
from bench.cli.fit import Memory, fitting, memory_here, needed_bytes
from bench.models.registry import find_model

GIB = 1024**3
LLAMA = find_model("llama-3.1-8b").architecture


def test_weights_and_a_cache_of_4096_tokens() -> None:
    cache = 4096 * 131_072
    assert needed_bytes(LLAMA, 32) == 4 * LLAMA.parameters + 2 * cache
    assert needed_bytes(LLAMA, 16) == 2 * LLAMA.parameters + cache
    assert needed_bytes(LLAMA, 8) == LLAMA.parameters + cache
    assert needed_bytes(LLAMA, 4) == LLAMA.parameters // 2 + cache


def test_a_short_context_is_filled_and_no_more() -> None:
    facts = LLAMA.model_copy(update={"context": 1024})
    assert needed_bytes(facts, 16) == 2 * LLAMA.parameters + 1024 * 131_072


@pytest.mark.parametrize(
    ("bits", "words", "below"), [(32, "float32", "16 bits"), (8, "8 bits", "4 bits"), (4, "4 bits", "-")]
)
def test_a_tenth_is_left_for_the_rest(bits: int, words: str, below: str) -> None:
    enough = -(-needed_bytes(LLAMA, bits) * 10 // 9)
    assert fitting(LLAMA, Memory("RAM", enough)) == words
    assert fitting(LLAMA, Memory("RAM", enough - 2)) == below


def test_nothing_fits_a_memory_of_unknown_size() -> None:
    unknown = Memory("GPU memory", None)
    assert fitting(LLAMA, unknown) == "-"
    assert unknown.words == "an unknown size of GPU memory"


def test_a_gpu_comes_before_the_ram(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "available_bytes", lambda: 3 * GIB)
    monkeypatch.setattr(fit, "cuda_memory_bytes", lambda: 80 * GIB)
    for count, words in ((0, "3.0 GiB of RAM"), (2, "80.0 GiB of GPU memory")):
        monkeypatch.setattr(fit, "cuda_device_count", lambda count=count: count)
        assert memory_here().words == words
