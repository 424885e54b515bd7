"""Which APIs stand beside a model, and what each bills: those that sell its weights first, then others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from bench.pricing.apis import POPULAR, ApiOffer, TokenMix, offer, offer_if_any, sold_as


def offers(
    weights: Sequence[str], apis: Sequence[str], mix: TokenMix, token_ratio: float, day: dt.date
) -> list[tuple[ApiOffer, bool]]:
    """Return each offer with whether it sells the weights called by one of ``weights``; the cheapest first.

    Without ``apis`` these are all that sell the weights, and the popular ones. An API of the same weights has
    the same tokenizer; any other is billed for ``token_ratio`` times the tokens of ``mix``. Raises UsageError
    for an API that the list does not have, and for a ratio out of range.
    """
    others, sold = mix.scaled(token_ratio), {ref.lower() for ref in sold_as(weights)}

    def found() -> Iterator[ApiOffer | None]:
        for ref in apis:
            yield offer(ref, mix if ref.lower() in sold else others, day)
        if not apis:
            yield from (offer_if_any(ref, mix, day) for ref in sold)
            yield from (offer_if_any(ref, others, day) for ref in POPULAR if ref not in sold)

    there = [(one, one.ref.lower() in sold) for one in found() if one is not None]
    return sorted(there, key=lambda pair: (not pair[1], pair[0].request_usd, pair[0].ref))
