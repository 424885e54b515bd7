"""Choose the APIs that a model is compared with, and compute what each bills."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from bench.pricing.apis import POPULAR, ApiOffer, TokenMix, offer, offer_if_any, sold_as


def offers(
    weights: Sequence[str], apis: Sequence[str], mix: TokenMix, token_ratio: float, day: dt.date
) -> list[tuple[ApiOffer, bool]]:
    """Return (offer, whether it sells the same weights) for each API.

    Offers of the same weights come first, and the cheapest come first among each kind. ``weights`` are the
    names of the model. Without ``apis`` the result has all APIs that sell the weights, and the popular ones.
    An API with the same weights has the same tokenizer; any other is billed for ``token_ratio`` times the
    tokens of ``mix``. Raises UsageError for an API that the list does not have, and for a ratio out of range.
    """
    others, sold = mix.scaled(token_ratio), {ref.lower() for ref in sold_as(weights)}

    def candidates() -> Iterator[ApiOffer | None]:
        for ref in apis:
            yield offer(ref, mix if ref.lower() in sold else others, day)
        if not apis:
            yield from (offer_if_any(ref, mix, day) for ref in sold)
            yield from (offer_if_any(ref, others, day) for ref in POPULAR if ref not in sold)

    pairs = [(each, each.ref.lower() in sold) for each in candidates() if each is not None]
    return sorted(pairs, key=lambda pair: (not pair[1], pair[0].request_usd, pair[0].ref))
