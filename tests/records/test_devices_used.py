"""How many devices a row occupies, by what its config says of the engine."""

from __future__ import annotations

from typing import Any

import pytest

from bench.records.devices_used import devices_used


@pytest.mark.parametrize(
    ("runtime", "count"),
    [
        ({"name": "transformers", "device": "cuda"}, 1),
        ({"name": "transformers-parallel", "devices": 4}, 4),
        ({"name": "vllm", "args": {"tensor-parallel-size": 2}}, 2),
        ({"name": "vllm", "args": {"tensor_parallel_size": "2", "pipeline-parallel-size": 3}}, 6),
        ({"name": "vllm", "args": {"max-model-len": 2048}}, 1),
        ({"name": "sglang", "args": {"tp": 8}}, 8),
        ({"name": "sglang", "args": {"tp-size": 2, "dp_size": 2}}, 4),
        ({"name": "vllm", "args": {"tensor-parallel-size": "two"}}, 1),
        ({"name": "vllm", "args": {"tensor-parallel-size": 0}}, 1),
        ({"name": "vllm", "args": {"tensor-parallel-size": 10**30}}, 1),
        ({"name": "vllm", "args": None}, 1),
    ],
)
def test_devices_of_a_row(runtime: dict[str, Any], count: int) -> None:
    assert devices_used(runtime) == count
