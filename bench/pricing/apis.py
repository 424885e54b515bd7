"""Look up what hosted APIs bill for a request, in the price list of the package ``genai-prices``.

The list has a price for each model of each provider, in US dollars, and for some of them the day from which
the price is valid. The package is imported on first use and never uses the network.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from bench.errors import UsageError
from bench.formatting import did_you_mean, short_name
from bench.pricing.mix import TokenMix as TokenMix

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

FORMULA_API: Final = (
    "n_in * input price + n_out * output price; input that is read from a cache or written to it, and hours "
    "of the day, at their own prices"
)
POPULAR: Final = (
    "openai/gpt-5",
    "openai/gpt-5-mini",
    "openai/gpt-5-nano",
    "google/gemini-2.5-flash",
    "google/gemini-2.5-flash-lite",
    "deepseek/deepseek-chat",
    "openrouter/qwen/qwen3-235b-a22b-2507",
    "moonshotai/kimi-k2.5",
)  # the APIs that a run is compared with if the user names none
BATCH: Final = {"processing": "batch"}
FREE: Final = ":free"
_ANY_DAY: Final = dt.date(2000, 1, 1)  # of a model with a single price
_BETWEEN_DIGITS: Final = re.compile(r"(?<=\d)p(?=\d)")  # some providers write 2p5 for 2.5


@dataclass(frozen=True)
class ApiOffer:
    """The price, in US dollars, that one provider bills for one request of a token mix.

    ``uncached_usd`` is the price of the same request if nothing were cached. ``batch_usd`` is its price in a
    batch that may take hours, or None if the list has no batch price. ``caches`` says whether cache reads
    have their own price, ``writes`` whether cache writes do. ``since`` is the day from which the price is
    valid, or None if the list does not say.
    """

    ref: str
    request_usd: float
    uncached_usd: float
    batch_usd: float | None
    caches: bool
    writes: bool
    since: dt.date | None


def list_version() -> str:
    """Return the name and version of the price list. The list as a whole has no other date."""
    return f"genai-prices {version('genai-prices')}"


def offer(ref: str, mix: TokenMix, day: dt.date) -> ApiOffer:
    """Return what ``ref`` (``provider/model``, as in the list) bills on ``day``.

    Raises UsageError for an unknown provider or model (the message suggests the nearest name), and for a
    model that has no price for text on that day.
    """
    must_be_known(ref)
    offered = offer_if_any(ref, mix, day)
    if offered is None:
        raise UsageError(f"{ref} has no price for text on {day} in {list_version()}")
    return offered


def must_be_known(ref: str) -> None:
    """Raise UsageError, which suggests the nearest name, if the list does not have this provider or model,
    and for a model that is never billed for text in and out, such as one of embeddings."""
    if ref.lower() not in _known():
        hint = did_you_mean(ref.lower(), _known(), "write it as provider/model")
        raise UsageError(f"no API called {short_name(ref)!r} in {list_version()} ({hint})")
    if not any(price.input_mtok and price.output_mtok for price in _prices(_known()[ref.lower()][1])):
        raise UsageError(
            f"{ref} has no price for text that it writes in {list_version()}: it is free, or a model of "
            "embeddings, images or speech"
        )


def _prices(model: ModelInfo) -> list[ModelPrice]:
    """Return every price that a model has on some day or at some hour."""
    listed = model.prices if isinstance(model.prices, list) else ()
    return [conditional.prices for conditional in listed] if listed else [model.get_prices(_noon(_ANY_DAY))]


def token_usd(ref: str, day: dt.date) -> tuple[float, float]:
    """Return (US dollars per input token, US dollars per output token) of a short request.

    Both are computed from the prices of two requests with different output lengths. Raises UsageError as
    ``offer`` does.
    """
    short, long = (offer(ref, TokenMix(1000, tokens), day).request_usd for tokens in (1000, 2000))
    return (2 * short - long) / 1000, (long - short) / 1000


def offer_if_any(ref: str, mix: TokenMix, day: dt.date) -> ApiOffer | None:
    """Return the same as ``offer``, or None if the list lacks the model or its price for text."""
    if ref.lower() not in _known():
        return None
    provider, model = _known()[ref.lower()]
    standard, uncached = (_day_usd(provider, model, each, day, batch=False) for each in (mix, mix.uncached()))
    if standard is None or uncached is None:
        return None
    prices = model.get_prices(_noon(day))
    return ApiOffer(
        ref=f"{provider.id}/{model.id}",
        request_usd=standard,
        uncached_usd=uncached,
        batch_usd=_day_usd(provider, model, mix, day, batch=True) if _has_batch(model, day) else None,
        caches=prices.cache_read_mtok is not None,
        writes=prices.cache_write_mtok is not None,
        since=_since(model, day),
    )


def sold_as(names: Iterable[str]) -> list[str]:
    """Return each ``provider/model`` that sells the weights known under any of ``names``.

    ``names`` are those of the Hugging Face hub (``Qwen/Qwen3-32B``). Only the part after the last slash is
    compared, without regard to case or to how a decimal point is written (2.5 or 2p5). Free offers are left
    out, because their use is limited.
    """
    wanted = {_bare(name) for name in names}
    return sorted(
        f"{provider.id}/{model.id}"
        for provider, model in _known().values()
        if _bare(model.id) in wanted and not model.id.endswith(FREE)
    )


def _bare(name: str) -> str:
    return _BETWEEN_DIGITS.sub(".", name.rpartition("/")[2].lower())


@functools.cache
def _known() -> dict[str, tuple[Provider, ModelInfo]]:
    """Return a map from ``provider/model`` in lower case to the list's provider and model."""
    from genai_prices.data_snapshot import get_snapshot

    return {
        f"{provider.id}/{model.id}".lower(): (provider, model)
        for provider in get_snapshot().providers
        for model in provider.models
    }


def _day_usd(
    provider: Provider, model: ModelInfo, mix: TokenMix, day: dt.date, *, batch: bool
) -> float | None:
    """Return the price of a mean request in US dollars, averaged over the day if it depends on the hour.

    Returns None if the list has no price for an hour of the day.
    """
    hours = range(24) if _by_the_hour(model) else (12,)
    prices = [
        _request_usd(provider, model, mix, dt.datetime.combine(day, dt.time(hour), dt.UTC), batch=batch)
        for hour in hours
    ]
    if any(usd is None for usd in prices):
        return None
    return math.fsum(usd for usd in prices if usd is not None) / len(prices)


def _by_the_hour(model: ModelInfo) -> bool:
    from genai_prices.types import TimeOfDateConstraint

    prices = model.prices if isinstance(model.prices, list) else []
    return any(isinstance(price.constraint, TimeOfDateConstraint) for price in prices)


def _request_usd(
    provider: Provider, model: ModelInfo, mix: TokenMix, when: dt.datetime, *, batch: bool
) -> float | None:
    """Return the US dollars of a mean request at one hour, or None if the list has no price for its tokens.

    The list bills whole tokens only, and some prices are higher for a long input. So the function prices
    requests with rounded token counts, and then scales the input and output amounts to the mean counts.
    Rounded tokens would change the shares that are read from a cache and written to it. So a request that is
    read whole, one that is written whole and a plain one are priced, and added up by their shares.
    """
    n_in, n_out = max(round(mix.input_tokens), 1), max(round(mix.output_tokens), 1)
    prices = model.get_prices(when, BATCH if batch else None)
    if prices.input_mtok is None or prices.output_mtok is None:
        return None

    def billed(**cache: int) -> Any:
        from genai_prices import Usage

        usage = Usage(input_tokens=n_in, output_tokens=n_out, **cache)
        context = BATCH if batch else None
        return model.calc_price(usage, provider, genai_request_timestamp=when, price_context=context)

    plain, read, written = billed(), mix.cached_share, min(mix.written, 1 - mix.cached_share)
    a_request = (1 - read - written) * float(plain.input_price)
    if read:
        a_request += read * float(billed(cache_read_tokens=n_in).input_price)
    if written:
        a_request += written * float(billed(cache_write_tokens=n_in).input_price)
    scaled_in = a_request * mix.input_tokens / n_in
    return scaled_in + float(plain.output_price) * mix.output_tokens / n_out


def _has_batch(model: ModelInfo, day: dt.date) -> bool:
    return any(
        variant.when == BATCH and (variant.constraint is None or variant.constraint.active(_noon(day)))
        for variant in model.price_variants or ()
    )


def _since(model: ModelInfo, day: dt.date) -> dt.date | None:
    """Return the start day of the newest price that is valid on ``day``, or None if no price has a start."""
    from genai_prices.types import ConditionalPrice, StartDateConstraint

    prices = model.prices if isinstance(model.prices, list) else []
    days = [
        price.constraint.start_date
        for price in prices
        if isinstance(price, ConditionalPrice) and isinstance(price.constraint, StartDateConstraint)
    ]
    return max((start for start in days if start <= day), default=None)


def _noon(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(12), dt.UTC)
