"""Choose the price of an hour in a gate on two commits: the base's, unless the candidate's is more expensive.

A branch must not pass its own gate by writing a cheaper hour into its config. A more expensive hour costs
more from the day on which it is merged, so it counts against the branch that brings it.
"""

from __future__ import annotations

from typing import Literal

from bench.config.spec import Spec
from bench.pricing.cost import kept_price
from bench.records import Json
from bench.runs.before_measuring import price_of_spec
from bench.sides.side import Side, Sides


def price_at(side: Side, spec: Spec) -> Json:
    """Return the price of a config by the price files of a side."""
    with side.standing():
        return price_of_spec(spec)


def of_both(sides: Sides, limits_from: Literal["base", "candidate"]) -> tuple[Json, Json | None]:
    """Return the price by which the candidate is judged, and that of the base; None if both have one price.

    With the candidate's limits its own price counts, whatever it is.
    """
    base, candidate = (price_at(side, side.spec) for side in (sides.base, sides.candidate))
    threads = {arm.runtime.threads for group in sides.candidate.spec.groups for arm in group.arms}
    more_expensive = any(_hour(candidate, each) > _hour(base, each) for each in threads)
    return (candidate, base) if limits_from == "candidate" or more_expensive else (base, None)


def _hour(price: Json, threads: int | None) -> float:
    """Return the dollars of an hour in which requests are served; ``threads`` is None for all of them."""
    hour = kept_price(price, "the price", threads)
    return hour.hourly_usd * hour.devices / hour.utilisation
