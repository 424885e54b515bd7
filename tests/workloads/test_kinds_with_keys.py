"""Keys of each kind of workload: what they are when absent, and the values on both sides of each bound."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import pytest

from bench.workloads import closed_loop, data_set, multi_turn, open_loop, reasoning, search, trace


def test_what_they_are_when_absent() -> None:
    assert astuple(multi_turn.Params(3)) == (3, 3, 0, 0.0)
    assert astuple(open_loop.Params(2.0)) == (2.0, "poisson", None)
    assert astuple(data_set.Params(users=1)) == (1, None, 1024, "recorded")
    assert astuple(search.Params()) == (0.9, 1.0)
    assert astuple(trace.Params()) == (1.0,)
    assert astuple(reasoning.Params()) == (None, None)


TAKEN: list[tuple[type, dict[str, Any]]] = [
    (closed_loop.Params, {"users": 1}),
    (closed_loop.Params, {"users": 8192}),
    (data_set.Params, {"users": 1, "max_input_tokens": 1}),
    (data_set.Params, {"users": 8192, "max_input_tokens": 1_000_000}),
    (data_set.Params, {"rate": 1e-9}),
    (data_set.Params, {"rate": 100_000}),
    (multi_turn.Params, {"users": 1, "turns": 1}),
    (multi_turn.Params, {"users": 8192, "turns": 100, "shared_tokens": 1_000_000, "pause_s": 600}),
    (open_loop.Params, {"rate": 1e-9}),
    (open_loop.Params, {"rate": 100_000, "arrivals": "constant"}),
    (open_loop.Params, {"rate": 1, "arrivals": "gamma", "burstiness": 1000}),
    (open_loop.Params, {"rate": 1, "arrivals": "gamma", "burstiness": 1e-9}),
    (search.Params, {"share": 0.5, "rate": 1e-9}),
    (search.Params, {"share": 0.99, "rate": 100_000}),
    (trace.Params, {"speed": 1e6}),
    (trace.Params, {"speed": 1e-9}),
]


@pytest.mark.parametrize(("kind", "keys"), TAKEN)
def test_the_last_value_within_a_bound_is_taken(kind: type, keys: dict[str, Any]) -> None:
    assert vars(kind(**keys)).items() >= keys.items()


REFUSED: list[tuple[type, dict[str, Any], str]] = [
    (closed_loop.Params, {"users": 0}, "users"),
    (closed_loop.Params, {"users": 8193}, "users"),
    (data_set.Params, {}, "either users .* or rate"),
    (data_set.Params, {"users": 1, "rate": 1.0}, "either users .* or rate"),
    (data_set.Params, {"users": 0}, "users"),
    (data_set.Params, {"users": 8193}, "users"),
    (data_set.Params, {"rate": 0}, "rate"),
    (data_set.Params, {"rate": 100_001}, "rate"),
    (data_set.Params, {"users": 1, "max_input_tokens": 0}, "max_input_tokens"),
    (data_set.Params, {"users": 1, "max_input_tokens": 1_000_001}, "max_input_tokens"),
    (multi_turn.Params, {"users": 0}, "users"),
    (multi_turn.Params, {"users": 8193}, "users"),
    (multi_turn.Params, {"users": 1, "turns": 0}, "turns"),
    (multi_turn.Params, {"users": 1, "turns": 101}, "turns"),
    (multi_turn.Params, {"users": 1, "shared_tokens": -1}, "shared_tokens"),
    (multi_turn.Params, {"users": 1, "shared_tokens": 1_000_001}, "shared_tokens"),
    (multi_turn.Params, {"users": 1, "pause_s": -0.1}, "pause_s"),
    (multi_turn.Params, {"users": 1, "pause_s": 600.1}, "pause_s"),
    (open_loop.Params, {"rate": 0}, "rate"),
    (open_loop.Params, {"rate": 100_001}, "rate"),
    (open_loop.Params, {"rate": 1, "arrivals": "gamma"}, "gamma needs burstiness"),
    (open_loop.Params, {"rate": 1, "burstiness": 1.0}, "gamma needs burstiness"),
    (open_loop.Params, {"rate": 1, "arrivals": "gamma", "burstiness": 0}, "burstiness must"),
    (open_loop.Params, {"rate": 1, "arrivals": "gamma", "burstiness": 1000.1}, "burstiness must"),
    (search.Params, {"share": 0.499}, "share"),
    (search.Params, {"share": 0.991}, "share"),
    (search.Params, {"rate": 0}, "rate"),
    (search.Params, {"rate": 100_001}, "rate"),
    (trace.Params, {"speed": 0}, "speed"),
    (trace.Params, {"speed": 1.1e6}, "speed"),
]


@pytest.mark.parametrize(("kind", "keys", "said"), REFUSED)
def test_the_first_value_beyond_a_bound_is_refused(kind: type, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        kind(**keys)
