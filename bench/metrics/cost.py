"""Compute the cost in dollars, from the solo pass and a dated price."""

from __future__ import annotations

from dataclasses import replace

from bench.metrics import cascade_bills, processes
from bench.metrics.throughput import Totals, totals
from bench.pricing import cost as model
from bench.pricing.cascade_cost import bill
from bench.records import ArmRecord, RunRecord
from bench.records.devices_used import devices_used
from bench.stats.figure import Figure, Figures, Metric
from bench.stats.intervals import Interval, positive_mean, widened

PER_1K = Metric(
    "cost_per_1k_tokens_usd", "USD", "lower", model.FORMULA_1K_TOKENS, "cost of 1,000 input and output tokens"
)
PER_1K_IN = Metric(
    "cost_per_1k_input_tokens_usd",
    "USD",
    "lower",
    model.FORMULA_1K_INPUT,
    "prefill's part of the cost, per 1,000 input tokens",
)
PER_1K_OUT = Metric(
    "cost_per_1k_output_tokens_usd",
    "USD",
    "lower",
    model.FORMULA_1K_OUTPUT,
    "decode's part of the cost, per 1,000 output tokens",
)
PER_REQUEST = Metric("cost_per_request_usd", "USD", "lower", "C_run/N_ok", "cost of one request")
ALL_ON_INPUT = Metric(
    "cost_per_1m_tokens_all_on_input",
    "USD",
    "lower",
    model.FORMULA_1M_ALL_ON_INPUT,
    "if input tokens bear the whole cost",
)
ALL_ON_OUTPUT = Metric(
    "cost_per_1m_tokens_all_on_output",
    "USD",
    "lower",
    model.FORMULA_1M_ALL_ON_OUTPUT,
    "if output tokens bear the whole cost",
)
PLACE = 5
METRICS = (PER_1K, PER_1K_IN, PER_1K_OUT, PER_REQUEST, ALL_ON_INPUT, ALL_ON_OUTPUT)


def price_of(arm: ArmRecord, run: RunRecord) -> model.Price:
    """Return the price of an hour of what this arm occupies; a CPU instance counts by its share of vCPUs,
    and a model that is split over several devices by all of them."""
    return model.kept_price(run.price, run.run_id, _threads(arm, run), devices_used(arm.runtime))


def _threads(arm: ArmRecord, run: RunRecord) -> int | None:
    """Return the threads that the arm is charged; None for all. In a gate on commits own code may be charged
    more than it declares (``bench/runs/gate_price.py``)."""
    charged = (run.gate or {}).get("charged_threads", {})
    if not arm.is_baseline and arm.group in charged:
        most: int | None = charged[arm.group]
        return most
    return arm.loaded.facts.threads if arm.loaded else None


def _usage(arm: ArmRecord, sums: Totals) -> model.Usage:
    return model.Usage(
        wall_s=sums.wall_s,
        requests_ok=sums.requests,
        input_tokens=sums.input_tokens,
        output_tokens=sums.output_tokens,
        prefill_s=sums.prefill_s,
        decode_s=sums.decode_s,
        energy_j=_joules(arm, sums.requests),
    )


def worked(arm: ArmRecord, run: RunRecord) -> dict[str, str]:
    """Return the arithmetic of the dollars of the solo pass, each with C_run written out."""
    sums = totals(arm)
    if sums is None:
        return {}
    price, usage = price_of(arm, run), _usage(arm, sums)
    run_usd = _run_in_words(arm, price, usage)
    n_in, n_out = sums.input_tokens, sums.output_tokens
    arithmetic = {
        PER_1K.key: f"1000 * {run_usd} / ({n_in} + {n_out})",
        PER_REQUEST.key: f"{run_usd} / {sums.requests}",
    }
    if n_in and n_out:
        arithmetic[ALL_ON_INPUT.key] = f"1e6 * {run_usd} / {n_in}"
        arithmetic[ALL_ON_OUTPUT.key] = f"1e6 * {run_usd} / {n_out}"
    if model.split_by_phase(1.0, usage) != (None, None):
        prefill, decode = f"{sums.prefill_s:.6g}", f"{sums.decode_s:.6g}"
        arithmetic[PER_1K_IN.key] = f"1000 * {run_usd} * {prefill} / ({prefill} + {decode}) / {n_in}"
        arithmetic[PER_1K_OUT.key] = f"1000 * {run_usd} * {decode} / ({prefill} + {decode}) / {n_out}"
    return arithmetic


def _run_in_words(arm: ArmRecord, price: model.Price, usage: model.Usage) -> str:
    """Return the arithmetic of C_run; a cascade has the dollars of two models and of egress."""
    if (paid := cascade_bills.bill_of(arm, price)) is not None:
        return f"({paid.edge_usd:.6g} + {paid.cloud_usd:.6g} + {paid.egress_usd:.6g})"
    hour = f"{price.hourly_usd:.6g} * {price.devices:g}"
    run_usd = f"{hour} * {usage.wall_s:.6g} / 3600 / {price.utilisation:g}"
    energy_usd, _basis = model.energy_bill(price, usage)
    return f"({run_usd} + {energy_usd:.6g})" if energy_usd else run_usd


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Compute the dollars. Their intervals come from the measured requests; the price itself has none."""
    sums = totals(arm)
    if sums is None:
        return {metric.key: None for metric in METRICS}
    usage = _usage(arm, sums)
    price = price_of(arm, run)
    by = cascade_bills.rates_of(arm, price)
    if by is None or not arm.cascaded:
        cost, spread = model.run_cost(price, usage), processes.mean_time(arm, run)
    else:
        paid = bill(arm.cascaded, by)
        cost = model.shared_out(paid.usd, 0.0, price.power_basis, usage)
        spread = widened(
            positive_mean(cascade_bills.usd_of_requests(arm, by)), processes.half_width(arm, run)
        )

    def spread_like(usd: float | None) -> Interval | None:
        if usd is None or spread.low is None or spread.high is None:
            return None if usd is None else Interval(usd, None, None)
        return Interval(usd, usd * spread.low / spread.value, usd * spread.high / spread.value)

    return {
        PER_1K.key: PER_1K.scalar(spread_like(cost.per_1k_tokens_usd), power_basis=cost.power_basis),
        PER_1K_IN.key: PER_1K_IN.scalar(spread_like(cost.per_1k_input_tokens_usd)),
        PER_1K_OUT.key: PER_1K_OUT.scalar(spread_like(cost.per_1k_output_tokens_usd)),
        PER_REQUEST.key: PER_REQUEST.scalar(spread_like(cost.per_request_usd)),
        ALL_ON_INPUT.key: ALL_ON_INPUT.scalar(cost.per_1m_all_on_input_usd),
        ALL_ON_OUTPUT.key: ALL_ON_OUTPUT.scalar(cost.per_1m_all_on_output_usd),
    }


def as_paired(alone: Figures, per_1k: Interval) -> Figures:
    """Return the dollars of a variant that ran in turns with its baseline: baseline's dollars × ratio.

    ``per_1k`` is that product for a thousand tokens. The other figures are scaled in proportion, so that the
    dollars of two rows have the same ratio as the table shows. The figure of the solo pass is kept in the
    notes. Dollars that include an energy bill are not changed.
    """
    before = alone[PER_1K.key]
    if before is None or before.notes["power_basis"] != "included" or not before.value:
        return alone
    return {
        key: figure and _scaled(figure, per_1k, figure.value / before.value) for key, figure in alone.items()
    }


def _scaled(figure: Figure, per_1k: Interval, scale: float) -> Figure:
    scaled, notes = per_1k.times(scale), {**figure.notes, "alone": figure.value}
    return replace(figure, value=scaled.value, ci_low=scaled.low, ci_high=scaled.high, notes=notes)


def _joules(arm: ArmRecord, requests: int) -> float | None:
    """Return the joules of the solo pass, from the joules per request of the energy pass."""
    energy = arm.energy
    return None if energy is None or energy.joules is None else energy.joules / energy.requests * requests


def hourly_usd(arm: ArmRecord, run: RunRecord) -> float:
    """Return the dollars per hour of the hardware that this arm occupies: R · G/u, without power."""
    price = price_of(arm, run)
    return price.hourly_usd * price.devices / price.utilisation
