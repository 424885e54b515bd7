"""A variant says only what differs from its file."""

from __future__ import annotations

from typing import Any

import pytest
from config_files import BASE, Write

from bench.config.merging import merged
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


BASE_LOAD = {"name": "closed-loop", "users": 4, "requests": 9, "input_tokens": 5, "output_tokens": 7}


@pytest.mark.parametrize(
    ("over", "merges"),
    [
        ({"requests": 3}, {**BASE_LOAD, "requests": 3}),
        ({"name": "closed-loop", "users": 8}, {**BASE_LOAD, "users": 8}),
        (
            {"name": "search"},
            {"name": "search", "input_tokens": 5, "output_tokens": 7},
        ),  # it decides the requests
        ({"name": "chat"}, {"name": "chat", "requests": 9, "input_tokens": 5, "output_tokens": 7}),
        ({"name": "no-such-kind"}, {**BASE_LOAD, "name": "no-such-kind"}),  # refused later, by its name
    ],
)
def test_another_kind_of_load_takes_over_what_it_uses(over: dict[str, Any], merges: dict[str, Any]) -> None:
    assert merged({"workload": BASE_LOAD}, {"workload": over}) == {"workload": merges}


def test_other_blocks_are_replaced_as_a_whole() -> None:
    base = {"model": {"hub": "a", "revision": "b"}, "optimise": [1, 2], "runtime": {"dtype": "float32"}}
    assert merged(base, {"model": {"hub": "c"}, "optimise": [3]}) == {
        "model": {"hub": "c"}, "optimise": [3], "runtime": {"dtype": "float32"},
    }  # fmt: skip
    assert merged(base, {"runtime": "text"})["runtime"] == "text"
    assert merged({"runtime": None}, {"runtime": {"dtype": "float16"}}) == {"runtime": {"dtype": "float16"}}
    assert base["optimise"] == [1, 2]
