"""What a scheme that quantises the KV cache must prove."""

from __future__ import annotations

import pytest

from bench.engine.evidence import Census, Decoding
from bench.optimisations.shared.kv_cache import smaller_cache


def census(cache: str, a_token: float | None) -> Census:
    return Census((), 0, {}, decoding=Decoding(cache, a_token, compiled=False))


@pytest.mark.parametrize(
    ("cache", "a_token", "holds"),
    [
        ("QuantizedLayer", 400.0, [True, True]),
        ("QuantizedLayer", 500.0, [True, False]),  # the bound for 4 bits is half
        ("DynamicLayer", 400.0, [False, True]),
        ("QuantizedLayer", None, [False]),
    ],
)
def test_its_class_and_its_bytes(cache: str, a_token: float | None, holds: list[bool]) -> None:
    checks = smaller_cache(census("DynamicLayer", 1000.0), census(cache, a_token), "QuantizedLayer", 4)
    assert [one.holds for one in checks] == holds


def test_a_cache_that_nothing_counts() -> None:
    (check,) = smaller_cache(
        census("DynamicLayer", None), census("QuantizedLayer", None), "QuantizedLayer", 4
    )
    assert (check.holds, check.found) == (False, "not counted by this engine")
