"""Compute figures from the hardware's energy counters; without a counter they are null, with a reason code.

Gross figures contain all the energy. Net figures leave out the energy that the idle device would use in the
same time. Grams of CO2 and modelled figures exist only if the config's ``energy`` block asks for them. A
modelled figure has its own key, and is never shown as measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.metrics import processes
from bench.records import ArmRecord, EnergyReading, RunRecord
from bench.stats.figure import Figure, Figures, Metric
from bench.stats.intervals import Interval
from bench.stats.plain_sum import plain_sum

PER_TOKEN = Metric(
    "energy_per_output_token_j", "J", "lower", "E/Σ n_out over the energy window", "energy per output token"
)
PER_REQUEST = Metric(
    "energy_per_request_j", "J", "lower", "E/N_ok over the energy window", "energy per request"
)
NET_PER_TOKEN = Metric(
    "energy_net_per_output_token_j",
    "J",
    "lower",
    "(E − P_idle·W)/Σ n_out",
    "energy per output token, without idle power",
)
NET_PER_REQUEST = Metric(
    "energy_net_per_request_j", "J", "lower", "(E − P_idle·W)/N_ok", "energy per request, without idle power"
)
CO2_PER_REQUEST = Metric(
    "co2_per_request_g", "g", "lower", "E/N_ok/3.6e6 · PUE · g/kWh of the config's grid", "CO2 per request"
)
MODELLED_PER_REQUEST = Metric(
    "energy_modelled_per_request_j",
    "J",
    "lower",
    "modelled, not measured: watts of the config · W/N_ok",
    "energy per request, MODELLED from the config's watts",
)
PLACE = 4
JOULES_PER_KWH = 3.6e6
MEASURED = (PER_TOKEN, PER_REQUEST, NET_PER_TOKEN, NET_PER_REQUEST)
METRICS = (*MEASURED, CO2_PER_REQUEST, MODELLED_PER_REQUEST)
# These figures exist only if the ``energy`` block has this key.
NEEDS = {CO2_PER_REQUEST.key: "g_co2_per_kwh", MODELLED_PER_REQUEST.key: "modelled_watts"}


def worked(arm: ArmRecord, run: RunRecord) -> dict[str, str]:
    """Return the arithmetic of the joules of the window, divided by its requests and tokens."""
    energy = arm.energy
    if energy is None or energy.joules is None:
        return {}
    arithmetic = {PER_REQUEST.key: f"{energy.joules:.6g} / {energy.requests}"}
    if energy.output_tokens:
        arithmetic[PER_TOKEN.key] = f"{energy.joules:.6g} / {energy.output_tokens}"
    idle_w = _idle_watts(arm, run)
    if _net(energy, idle_w) is not None:
        net = f"({energy.joules:.6g} - {idle_w:.6g} * {energy.window_s:.6g})"
        arithmetic[NET_PER_REQUEST.key] = f"{net} / {energy.requests}"
        if energy.output_tokens:
            arithmetic[NET_PER_TOKEN.key] = f"{net} / {energy.output_tokens}"
    return arithmetic


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return energy per token and per request, with the boundary (GPU board, CPU package) in the notes."""
    energy, asked = arm.energy, run.spec.get("energy") or {}
    result: Figures = dict.fromkeys(metric.key for metric in METRICS)
    measured = energy.joules if energy is not None else None
    if energy is not None and measured is not None:
        notes = _notes(energy)
        result[PER_TOKEN.key] = PER_TOKEN.scalar(_each(measured, energy.output_tokens), **notes)
        result[PER_REQUEST.key] = PER_REQUEST.scalar(measured / energy.requests, **notes)
        idle_w = _idle_watts(arm, run)
        net = _net(energy, idle_w)
        if net is not None:
            notes = {"boundary": energy.boundary, "idle_w": idle_w}
            result[NET_PER_TOKEN.key] = NET_PER_TOKEN.scalar(_each(net, energy.output_tokens), **notes)
            result[NET_PER_REQUEST.key] = NET_PER_REQUEST.scalar(net / energy.requests, **notes)
    modelled = _modelled(arm, run, asked) if measured is None else None
    if modelled is not None:
        source = {"basis": "modelled", "watts": asked["modelled_watts"]}
        result[MODELLED_PER_REQUEST.key] = MODELLED_PER_REQUEST.scalar(modelled, **source)
    if energy is None or measured is None:
        per_request, basis = modelled, "modelled"
    else:
        per_request, basis = Interval(measured / energy.requests, None, None), "measured"
    result[CO2_PER_REQUEST.key] = _co2(per_request, asked, basis)
    return result


def _each(joules: float, tokens: int) -> float | None:
    """Return the joules per token; None if no token was written, as by an encoder."""
    return joules / tokens if tokens else None


def _notes(energy: EnergyReading) -> dict[str, Any]:
    """Return the notes of a measured figure: boundary, validity, and the check by integrated power."""
    notes: dict[str, Any] = {"boundary": energy.boundary}
    if energy.code != "ok":
        notes["energy_valid"] = energy.code
    if energy.integrated_j is not None and energy.joules:
        notes["integrated_power_ratio"] = energy.integrated_j / energy.joules
    return notes


def _idle_watts(arm: ArmRecord, run: RunRecord) -> float | None:
    """Return the power of the idle device, from the row itself or from its baseline on the same hardware."""
    base = run.baseline_of(arm)
    for row in (arm, base):
        reading = row.energy if row is not None else None
        same = reading is not None and arm.energy is not None and reading.boundary == arm.energy.boundary
        if reading is not None and same and reading.idle_w is not None:
            return reading.idle_w
    return None


def _net(energy: EnergyReading, idle_w: float | None) -> float | None:
    """Return E − P_idle · W; None if the idle power is not known, or if the result is not above 0."""
    if idle_w is None or energy.joules is None:
        return None
    left = energy.joules - idle_w * energy.window_s
    return left if left > 0 else None


def _modelled(arm: ArmRecord, run: RunRecord, asked: Mapping[str, Any]) -> Interval | None:
    """Return the joules per request from the config's watts and the row's seconds, with the bounds of the
    time."""
    watts, requests = asked.get("modelled_watts"), sum(batch.requests for batch in arm.solo)
    if watts is None or not requests:
        return None
    joules = float(watts) * plain_sum(batch.duration_s for batch in arm.solo) / requests
    return processes.like_time(joules, arm, run)


def _co2(joules: Interval | None, asked: Mapping[str, Any], basis: str) -> Figure | None:
    grams = asked.get("g_co2_per_kwh")
    if joules is None or grams is None:
        return None
    pue = float(asked.get("pue") or 1.0)
    value, low, high = (
        None if end is None else end / JOULES_PER_KWH * pue * float(grams)
        for end in (joules.value, joules.low, joules.high)
    )
    assert value is not None
    notes = {"basis": basis, "grid_date": asked.get("date"), "grid_source": asked.get("source")}
    return CO2_PER_REQUEST.scalar(Interval(value, low, high), **notes)
