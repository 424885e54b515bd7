"""A variant says only what differs from its file."""

from __future__ import annotations

import pytest
from config_files import BASE, Write

from bench.config.reader import read_config
from bench.models.reference import Named

pytestmark = pytest.mark.usefixtures("cpu_machine")


def test_a_variant_says_only_what_differs(write: Write) -> None:
    text = BASE + "optimise: [{prune: magnitude, sparsity: 0.3}]\n"
    text = text.replace(
        "    runtime: {dtype: bfloat16}\n",
        "    runtime: {dtype: bfloat16}\n  - name: same\n  - name: bare\n    optimise: []\n"
        "  - name: other\n    model: smollm2-135m\n    workload: {requests: 3}\n",
    )
    group = read_config(write(text)).groups[0]
    bf16, same, bare, other = group.variants
    assert (bf16.runtime.dtype, bf16.runtime.threads) == ("bfloat16", 1)
    assert bf16.optimise == group.baseline.optimise
    assert (same.runtime, same.workload, same.model) == (
        group.baseline.runtime, group.baseline.workload, group.baseline.model,
    )  # fmt: skip
    assert bare.optimise == ()
    assert other.model == Named("smollm2-135m")
    assert (other.workload.requests, other.workload.output_tokens) == (3, 8)
