"""Answer a plan: how many machines each option needs, and what APIs bill for the same requests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.plan.cascade_fleet import PlannedCascade, cascade_at, cascade_pays_from, planned_cascade
from bench.plan.cascades import CascadeOption
from bench.plan.fleet import Slo, Stream
from bench.plan.offers import offers
from bench.plan.option_cost import Planned, cheapest, month_at, pays_from, planned
from bench.plan.options import Option
from bench.plan.reserved import must_fit, same_machine
from bench.pricing.apis import ApiOffer, TokenMix
from bench.pricing.hardware import HOURS_PER_MONTH, HardwarePrice

FORMULA_MONTH = f"machines * dollars an hour * {HOURS_PER_MONTH}, and power where it is billed apart"
MOST_SAME = 5  # cheapest offers of the same weights that are shown


@dataclass(frozen=True)
class Plan:
    """What the user asks: a stream of requests, when a reply is good, and the options to serve it.

    ``weights`` are the names of the model on a hub. ``cached_share`` is the share of the input that the run's
    servers found in their prompt caches.
    """

    title: str
    prices: tuple[str, ...]
    stream: Stream
    slo: Slo
    options: tuple[Option, ...]
    weights: tuple[str, ...]
    notes: tuple[str, ...]
    cascades: tuple[CascadeOption, ...] = ()
    cached_share: float = 0.0

    def reserving(self, reserved: HardwarePrice) -> Plan:
        """Return the same plan with a price of reserved machines, for the options on machines of its kind.

        Edge devices keep their price, because they are owned and cannot be reserved. Raises UsageError if no
        option is on such a machine: the hours of two machines cannot be added up as one.
        """
        must_fit(reserved, [option.price for option in self.options if option.price is not None])
        hour_usd = reserved.hourly_usd
        options = tuple(
            replace(option, reserved_usd=hour_usd)
            if option.price is None or same_machine(reserved, option.price)
            else option
            for option in self.options
        )
        cascades = tuple(
            replace(option, cloud=replace(option.cloud, reserved_usd=hour_usd)) for option in self.cascades
        )
        name = f"reserved: {reserved.name}, {reserved.date}"
        return replace(self, prices=(*self.prices, name), options=options, cascades=cascades)

    def answered(
        self, apis: Sequence[str], cached_share: float | None, token_ratio: float, day: dt.date
    ) -> Answer:
        """Simulate every option, and compute what APIs bill for the same requests on ``day``.

        They read ``cached_share`` of the input from a prompt cache; None means as much as the run's servers.
        """
        cached = self.cached_share if cached_share is None else cached_share
        mix = TokenMix(self.stream.input_tokens, self.stream.output_tokens, cached)
        every_offer = offers(self.weights, apis, mix, token_ratio, day)
        same = [offer for offer, is_same in every_offer if is_same]
        theirs = [offer for offer, is_same in every_offer if not is_same]
        rows = tuple(planned(option, self.stream, self.slo) for option in self.options)
        routed = tuple(planned_cascade(option, self.stream, self.slo) for option in self.cascades)
        offered = tuple(same if apis else same[:MOST_SAME])
        return Answer(self, rows, offered, tuple(theirs), day, token_ratio, routed, cached)


@dataclass(frozen=True)
class Answer:
    """The answer to a plan: the machines of each option (``rows``) and cascade, and the offers of APIs."""

    plan: Plan
    rows: tuple[Planned, ...]
    same_weights: tuple[ApiOffer, ...]
    others: tuple[ApiOffer, ...]
    day: dt.date
    token_ratio: float
    cascades: tuple[PlannedCascade, ...] = ()
    cached_share: float = 0.0

    @property
    def every(self) -> tuple[Planned | PlannedCascade, ...]:
        """Return every option, cascades last."""
        return (*self.rows, *self.cascades)

    @property
    def reserves(self) -> bool:
        """Return whether any option has a price for reserved machines."""
        prices = [row.option.reserved_usd for row in self.rows]
        return any(
            usd is not None for usd in [*prices, *(row.option.cloud.reserved_usd for row in self.cascades)]
        )

    def cheapest(self) -> Planned | PlannedCascade | None:
        """Return the option with the cheapest month, or None if no option answers in time."""
        return cheapest(self.every)

    def pays_from(self, row: Planned | PlannedCascade, api_usd: float) -> float | None:
        """Return from how many requests per day an option costs less than an API, or None if it never does.

        ``api_usd`` is what the API bills for a request.
        """
        stream = self.plan.stream
        if isinstance(row, PlannedCascade):
            return cascade_pays_from(row, stream, api_usd)
        return pays_from(row, stream, api_usd)

    def at(self, row: Planned | PlannedCascade, per_day: float) -> tuple[int, float] | None:
        """Return (machines, US dollars per month) of an option for another number of requests per day.

        Returns None if too few replies would be good.
        """
        stream = replace(self.plan.stream, per_day=per_day)
        return cascade_at(row, stream) if isinstance(row, PlannedCascade) else month_at(row, stream)
