"""A plan, as asked and as answered: the machines of each option, and what APIs bill for the same requests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from bench.plan.fleet import Slo, Stream
from bench.plan.offers import offers
from bench.plan.options import Option
from bench.plan.planned import Planned, planned
from bench.pricing.apis import ApiOffer, TokenMix

FORMULA_MONTH = "machines * dollars an hour * 730, and power where it is billed apart"
MOST_SAME = 5  # offers of the same weights, the cheapest


@dataclass(frozen=True)
class Plan:
    """What is asked: a stream, what is good, and the options. ``weights`` are names of the model on a hub."""

    title: str
    prices: tuple[str, ...]
    stream: Stream
    slo: Slo
    options: tuple[Option, ...]
    weights: tuple[str, ...]
    notes: tuple[str, ...]

    def answered(self, apis: Sequence[str], cached_share: float, token_ratio: float, day: dt.date) -> Answer:
        """Simulate every option, and bill the APIs for the same requests at the prices of ``day``."""
        mix = TokenMix(self.stream.input_tokens, self.stream.output_tokens, cached_share)
        found = offers(self.weights, apis, mix, token_ratio, day)
        same = [one for one, is_same in found if is_same]
        theirs = [one for one, is_same in found if not is_same]
        rows = tuple(planned(option, self.stream, self.slo) for option in self.options)
        return Answer(self, rows, tuple(same if apis else same[:MOST_SAME]), tuple(theirs), day, token_ratio)


@dataclass(frozen=True)
class Answer:
    """The plan worked out: each option with its machines, and the offers of APIs."""

    plan: Plan
    rows: tuple[Planned, ...]
    same_weights: tuple[ApiOffer, ...]
    others: tuple[ApiOffer, ...]
    day: dt.date
    token_ratio: float

    @property
    def reserves(self) -> bool:
        """Return whether any option has a price for reserved machines."""
        return any(row.option.reserved_usd is not None for row in self.rows)
