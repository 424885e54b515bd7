"""Choose by which prices a gate on two commits charges: the base's, unless the candidate's are higher.

A branch must not pass its own gate by writing a cheaper hour into its config, or a smaller share of the
machine that nothing enforces. What is more expensive costs more from the day on which it is merged, so it
counts against the branch that brings it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from bench.config.encoders import runs_own_code
from bench.config.spec import Arm, Group, Optimisation, Spec
from bench.measure.clouds import PER_1M, usd_of_token
from bench.optimisations import routes
from bench.pricing.cost import kept_price
from bench.records import Json
from bench.runs.before_measuring import price_of_spec
from bench.sides.side import Side, Sides


def price_at(side: Side, spec: Spec) -> Json:
    """Return the price of a config by the price files of a side."""
    with side.standing():
        return price_of_spec(spec)


def of_both(
    sides: Sides, groups: Sequence[Group], limits_from: Literal["base", "candidate"]
) -> tuple[Json, Json | None]:
    """Return the price by which the candidate is judged, and that of the base; None if both have one price.

    With the candidate's limits its own price counts, whatever it is.
    """
    base, candidate = (price_at(side, side.spec) for side in (sides.base, sides.candidate))
    charged = charged_threads(groups)
    threads = {charged.get(group.label, arm.runtime.threads) for group in groups for arm in group.variants}
    more_expensive = any(_hour(candidate, each) > _hour(base, each) for each in threads)
    return (candidate, base) if limits_from == "candidate" or more_expensive else (base, None)


def charged_threads(groups: Sequence[Group]) -> dict[str, int | None]:
    """Return the threads that the candidate is charged in each row in which they are more than it declares;
    None for all of the machine.

    Engines keep to their threads, which is checked. Nothing makes own code keep to those that it declares, so
    it is charged at least as many as its base.
    """
    charged: dict[str, int | None] = {}
    for group in groups:
        of_base = group.baseline.runtime.threads
        for arm in group.variants:
            own = arm.runtime.threads
            if runs_own_code(arm.runtime) and own is not None and (of_base is None or of_base > own):
                charged[group.label] = of_base
    return charged


def at_base_prices(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Return the groups in which no cascade of the candidate has a lower price than that of its base."""
    return tuple(
        replace(group, variants=tuple(_at_price_of(group.baseline, arm) for arm in group.variants))
        for group in groups
    )


def _at_price_of(base: Arm, candidate: Arm) -> Arm:
    known = next((dict(step.params) for step in base.optimise if routes(step.verb)), None)
    if known is None:
        return candidate
    steps = (_not_cheaper(step, known) if routes(step.verb) else step for step in candidate.optimise)
    return replace(candidate, optimise=tuple(steps))


def _not_cheaper(step: Optimisation, known: Mapping[str, Any]) -> Optimisation:
    """Return a cascade whose edge device, egress and server cost at least what those of the base cost. The
    price of another server, or of another model there, is its own."""
    params: dict[str, Any] = dict(step.params)
    edge, of_base = params["edge"], known["edge"]
    if edge.hourly_usd < of_base.hourly_usd:
        power = {key: getattr(of_base, key) for key in ("usd_per_hour", "watts", "usd_per_kwh")}
        params["edge"] = replace(edge, **power)
    params["egress_usd_per_gb"] = max(params["egress_usd_per_gb"], known["egress_usd_per_gb"])
    cloud, before = params.get("cloud"), known.get("cloud")
    if cloud is not None and before is not None and (cloud.url, cloud.model) == (before.url, before.model):
        now, highest = usd_of_token(cloud), tuple(map(max, usd_of_token(cloud), usd_of_token(before)))
        if now != highest:
            of_input, of_output = (usd / PER_1M for usd in highest)
            params["cloud"] = replace(
                cloud, price=None, usd_per_1m_input=of_input, usd_per_1m_output=of_output
            )
    return replace(step, params=tuple(params.items()))


def _hour(price: Json, threads: int | None) -> float:
    """Return the dollars of an hour in which requests are served; ``threads`` is None for all of them."""
    hour = kept_price(price, "the price", threads)
    return hour.hourly_usd * hour.devices / hour.utilisation
