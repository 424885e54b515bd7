"""The mix of a request that an API bills: both sides of every bound, and the same text in other tokens."""

from __future__ import annotations

import pytest

from bench.errors import UsageError
from bench.pricing.mix import MOST_RATIO, MOST_TOKENS, TokenMix


@pytest.mark.parametrize("tokens", [1e-9, 0.5, MOST_TOKENS])
def test_tokens_within_the_bounds(tokens: float) -> None:
    assert TokenMix(tokens, 1).input_tokens == tokens
    assert TokenMix(1, tokens).output_tokens == tokens


@pytest.mark.parametrize("tokens", [0, -1, MOST_TOKENS * (1 + 1e-9), float("nan"), float("inf")])
def test_tokens_beyond_them(tokens: float) -> None:
    for mix in ((tokens, 1), (1, tokens)):
        with pytest.raises(UsageError, match="each above 0 and at most"):
            TokenMix(*mix)


@pytest.mark.parametrize(
    ("cached", "written", "of_input"),
    [
        (0.0, None, 0.0),  # no cache, so nothing is written
        (0.25, None, 0.75),
        (1.0, None, 0.0),
        (0.25, 0.5, 0.5),
        (0.25, 0.75, 0.75),
        (0.9, 0.1, 0.1),  # 1 − 0.9 is a little less than 0.1
        (0.0, 1.0, 1.0),
    ],
)
def test_what_is_written_to_the_cache(cached: float, written: float | None, of_input: float) -> None:
    assert TokenMix(10, 10, cached, written).written == of_input


@pytest.mark.parametrize(
    ("cached", "written", "said"),
    [(-0.01, None, "cached share"), (1.01, None, "cached share"), (0.5, 0.51, "written share"),
     (0.5, -0.01, "written share")],
)  # fmt: skip
def test_shares_beyond_the_input(cached: float, written: float | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TokenMix(10, 10, cached, written)


def test_another_tokenizer_and_no_cache() -> None:
    mix = TokenMix(100, 40, 0.25, 0.5)
    assert mix.scaled(1.5) == TokenMix(150, 60, 0.25, 0.5)
    assert mix.uncached() == TokenMix(100, 40)


@pytest.mark.parametrize("ratio", [MOST_RATIO, 1 / MOST_RATIO])
def test_the_largest_ratio_of_tokens(ratio: float) -> None:
    assert TokenMix(100, 40).scaled(ratio).input_tokens == 100 * ratio
    for beyond in (ratio * 1.01 if ratio > 1 else ratio / 1.01, 0.0, -1.0):
        with pytest.raises(UsageError, match="ratio of tokens"):
            TokenMix(100, 40).scaled(beyond)
