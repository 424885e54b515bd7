"""What hosted APIs bill: the sums by hand, which models count as the same weights, and what is refused."""

from __future__ import annotations

import datetime as dt

import pytest

from bench.errors import UsageError
from bench.pricing.apis import POPULAR, TokenMix, list_version, offer, offer_if_any, sold_as

DAY = dt.date(2026, 11, 27)
MIX = TokenMix(1000, 300)


def test_a_request_by_hand() -> None:
    """GPT-5: 1.25 dollars a million tokens in, 10 out, 0.125 cached; half of it in a batch."""
    found = offer("openai/gpt-5", MIX, DAY)
    assert found.request_usd == pytest.approx(1000 * 1.25e-6 + 300 * 10e-6)
    assert found.batch_usd == pytest.approx(found.request_usd / 2)
    half = offer("openai/gpt-5", TokenMix(1000, 300, 0.5), DAY)
    assert half.request_usd == pytest.approx(500 * 1.25e-6 + 500 * 0.125e-6 + 300 * 10e-6)


def test_tokens_of_a_mean_request_are_not_rounded() -> None:
    assert offer("openai/gpt-5", TokenMix(10.4, 2.6), DAY).request_usd == pytest.approx(
        10.4 * 1.25e-6 + 2.6 * 10e-6
    )


def test_a_long_prompt_has_the_price_of_its_tier() -> None:
    """The list bills the whole input of a long request at the higher price."""
    short, long = (offer("openai/gpt-5.4", TokenMix(tokens, 1), DAY).request_usd for tokens in (1e5, 4e5))
    assert long > 4.5 * short


def test_a_price_changes_with_the_day() -> None:
    dated = "openrouter/deepseek/deepseek-r1"
    before, after = (offer(dated, MIX, day) for day in (dt.date(2026, 10, 18), dt.date(2026, 10, 19)))
    assert before.request_usd < after.request_usd
    assert (before.since, after.since) == (None, dt.date(2026, 10, 19))


def test_the_popular_models_have_a_price() -> None:
    assert [ref for ref in POPULAR if offer_if_any(ref, MIX, DAY) is None] == []


@pytest.mark.parametrize(
    ("hub", "sold", "not_sold"),
    [
        ("Qwen/Qwen3-235B-A22B", "fireworks/qwen3-235b-a22b", "openrouter/qwen/qwen3-235b-a22b-2507"),
        ("moonshotai/Kimi-K2.5", "fireworks/kimi-k2p5", "fireworks/kimi-k2p6"),
        ("deepseek-ai/DeepSeek-R1", "novita/deepseek/deepseek-r1", "openrouter/deepseek/deepseek-r1:free"),
    ],
)
def test_the_same_weights_have_the_same_name(hub: str, sold: str, not_sold: str) -> None:
    found = sold_as([hub])
    assert sold in found
    assert not_sold not in found


def test_nobody_sells_a_name_that_is_not_there() -> None:
    assert sold_as(["HuggingFaceTB/SmolLM2-135M-Instruct"]) == sold_as([]) == []


@pytest.mark.bad_input(18)
def test_an_unknown_api_names_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"no API called 'openai/gpt-5-nan'.*did you mean 'openai/gpt-5-nano'"
    ):
        offer("openai/gpt-5-nan", MIX, DAY)
    with pytest.raises(UsageError, match="write it as provider/model"):
        offer("?", MIX, DAY)


def test_a_model_without_a_price_for_text_says_so() -> None:
    with pytest.raises(
        UsageError, match=r"has no price for text that it writes in genai-prices .* model of embeddings"
    ):
        offer("openai/whisper-1", MIX, DAY)
    assert offer_if_any("openai/whisper-1", MIX, DAY) is None
    assert list_version().startswith("genai-prices ")


@pytest.mark.parametrize(
    ("mix", "problem"),
    [
        ((0, 1), "each above 0"),
        ((1, 0), "each above 0"),
        ((float("nan"), 1), "each above 0"),
        ((1, 1, 1.5), "from 0 to 1"),
        ((1, 1, -0.1), "from 0 to 1"),
    ],
)
def test_a_mix_that_no_request_has(mix: tuple[float, ...], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        TokenMix(*mix)


def test_another_tokenizer_counts_other_tokens() -> None:
    assert MIX.scaled(0.5) == TokenMix(500, 150)
    for ratio in (0, float("nan"), float("inf"), 1e308):
        with pytest.raises(UsageError, match=r"from 0\.01 to 100"):
            MIX.scaled(ratio)


def test_a_price_that_depends_on_the_hour_is_the_mean_of_a_day() -> None:
    """DeepSeek bills half from 16:30 to 00:30 UTC: the mean lies between both."""
    found = offer("deepseek/deepseek-chat", MIX, DAY).request_usd
    assert 0.135e-6 * 1000 + 0.55e-6 * 300 < found < 0.27e-6 * 1000 + 1.1e-6 * 300


@pytest.mark.parametrize(
    ("cached", "written", "usd"),
    [
        (0.0, None, 1000 * 3.0),
        (0.6, None, 600 * 0.3 + 400 * 3.75),
        (0.6, 0.1, 600 * 0.3 + 100 * 3.75 + 300 * 3.0),
    ],
)
def test_what_is_written_to_a_cache_has_its_own_price(
    cached: float, written: float | None, usd: float
) -> None:
    """Claude Sonnet 4.5: 3 dollars a million tokens in, 0.3 read from a cache, 3.75 written, 15 out."""
    found = offer("anthropic/claude-sonnet-4-5", TokenMix(1000, 300, cached, written), DAY)
    assert found.request_usd == pytest.approx((usd + 300 * 15) / 1e6)
    assert found.uncached_usd == pytest.approx((3000 + 300 * 15) / 1e6)
    assert found.caches
    assert found.writes


def test_an_api_without_a_price_for_writing_bills_plain_input() -> None:
    found = offer("openai/gpt-5", TokenMix(1000, 300, 0.5, 0.5), DAY)
    assert found.request_usd == pytest.approx((500 * 0.125 + 500 * 1.25 + 300 * 10) / 1e6)
    assert not found.writes


def test_a_share_of_few_tokens_is_billed_as_that_share() -> None:
    """Half of three tokens is not two: rounded tokens would bill a share of 67 %."""
    found = offer("anthropic/claude-sonnet-4-5", TokenMix(3, 2, 0.5, 0.5), DAY)
    assert found.request_usd == pytest.approx((1.5 * 0.3 + 1.5 * 3.75 + 2 * 15) / 1e6)
    mean = offer("openai/gpt-5", TokenMix(18.25, 12, 0.6), DAY)
    assert mean.request_usd == pytest.approx((10.95 * 0.125 + 7.3 * 1.25 + 12 * 10) / 1e6)


def test_a_long_input_has_its_price_also_in_a_cache() -> None:
    """Claude Sonnet 4.5 bills 6 dollars for a million tokens, 0.6 read and 7.5 written, beyond 200,000 in."""
    found = offer("anthropic/claude-sonnet-4-5", TokenMix(250_000, 100, 0.5, 0.3), DAY)
    whole = 125_000 * 0.6 + 75_000 * 7.5 + 50_000 * 6
    assert found.request_usd == pytest.approx((whole + 100 * 22.5) / 1e6)
