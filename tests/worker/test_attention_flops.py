"""The operations of attention on CUDA, whose operators can be called by their shapes alone without a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils import flop_counter

from bench.worker import counters

ATEN = torch.ops.aten
KERNELS = {
    "flash": lambda q, k: ATEN._scaled_dot_product_flash_attention(q, k, k),
    "cudnn": lambda q, k: ATEN._scaled_dot_product_cudnn_attention(q, k, k, None, False),
    "efficient": lambda q, k: ATEN._scaled_dot_product_efficient_attention(q, k, k, None, False),
}


class Calls:
    """An engine whose step is one call of attention, with 8 heads of queries for 2 of keys."""

    def __init__(self, kernel: Any) -> None:
        self.model, self._kernel = torch.nn.Identity(), kernel

    def split_work(self) -> None:
        return None

    def work(self) -> None:
        return None

    def prefill(self, _batch: object, _new_tokens: int) -> None:
        query, key = (torch.empty(2, heads, 16, 64, device="meta", dtype=torch.bfloat16) for heads in (8, 2))
        self._kernel(query, key)

    def synchronise(self) -> None:
        return None

    def tokens(self, _generation: object) -> list[list[int]]:
        return [[1]]

    def cache_bytes(self, _generation: object) -> int:
        return 0


@pytest.mark.parametrize("name", KERNELS)
def test_heads_that_share_keys_are_counted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def as_torch_2_11(*_shapes: object) -> int:
        raise AssertionError("sdpa_flop_count: query/key/value shapes are incompatible")

    monkeypatch.setattr(flop_counter, "sdpa_flop_count", as_torch_2_11)
    engine: Any = Calls(KERNELS[name])
    assert counters.count(engine, [[1, 2]], 1).flops == 2 * 2 * 8 * 16 * 16 * (64 + 64)
