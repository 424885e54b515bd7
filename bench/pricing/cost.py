"""Compute what a run cost in US dollars: in total, by phase and per unit of work.

The functions are pure: they use no file, no clock and no torch. In the formulas, R is dollars per
device-hour, G devices, W wall seconds, u the expected utilisation, N requests, n tokens, T the seconds of a
phase, E joules and P watts. A report prints the ``FORMULA_*`` text next to the figure that is computed here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from bench.errors import UsageError
from bench.pricing.hardware import HardwarePrice, recorded_price

PowerBasis = Literal["included", "measured", "declared"]
FORMULA_RUN: Final = "C_run = R * G * W / 3600 / u + C_energy"
FORMULA_ENERGY: Final = (
    "C_energy = (E + idle_watts * G * W * (1/u - 1)) / 3.6e6 * usd_per_kwh * PUE "
    "(0 where the price includes power)"
)
FORMULA_REQUEST: Final = "C_run / N_ok"
FORMULA_GOOD_REQUEST: Final = "C_run / N_good"
FORMULA_1K_TOKENS: Final = "1000 * C_run / sum(n_in + n_out)"
FORMULA_1K_INPUT: Final = "1000 * C_run * T_prefill / (T_prefill + T_decode) / sum(n_in)"
FORMULA_1K_OUTPUT: Final = "1000 * C_run * T_decode / (T_prefill + T_decode) / sum(n_out)"
FORMULA_1M_ALL_ON_INPUT: Final = "1e6 * C_run / sum(n_in), the whole run charged to the input"
FORMULA_1M_ALL_ON_OUTPUT: Final = "1e6 * C_run / sum(n_out), the whole run charged to the output"
FORMULA_BREAK_EVEN: Final = "one_off / (cost_base - cost_opt), requests"
JOULES_PER_KWH: Final = 3.6e6


@dataclass(frozen=True)
class Price:
    """What a device-hour costs, how many devices a run occupies, and how its power is billed.

    ``devices`` is G (below 1 for part of a CPU instance) and ``utilisation`` is u in (0, 1]. ``power_basis``
    is ``included`` if ``hourly_usd`` includes power, ``measured`` if the run must have measured it, and
    ``declared`` if a run without a measurement is billed ``power_watts`` per device. ``idle_watts`` per
    device are billed for the paid hours in which nothing is served; 0 means that they are not known. Raises
    UsageError for numbers out of range and for power that would be billed twice.
    """

    hourly_usd: float
    devices: float = 1.0
    utilisation: float = 1.0
    usd_per_kwh: float | None = None
    pue: float = 1.0
    power_watts: float | None = None
    power_basis: PowerBasis = "included"
    idle_watts: float = 0.0

    def __post_init__(self) -> None:
        for name in ("hourly_usd", "devices", "utilisation", "pue"):
            _require_positive(name, getattr(self, name))
        _require_positive("idle_watts", self.idle_watts, or_zero=True)
        if self.utilisation > 1 or self.pue < 1:
            raise UsageError(f"utilisation {self.utilisation:g} is above 1, or pue {self.pue:g} below 1")
        if self.power_basis != "included":
            _require_positive("usd_per_kwh", self.usd_per_kwh)
        elif self.usd_per_kwh is not None or self.power_watts is not None or self.idle_watts:
            raise UsageError("the price already includes power: billing it again would count it twice")
        if self.power_basis == "declared":
            _require_positive("power_watts", self.power_watts)


@dataclass(frozen=True)
class Usage:
    """What one run used: seconds, joules, and counts over the successful requests.

    ``wall_s`` is the time from the start of the first request to the end of the last one, including failed
    requests. ``prefill_s`` and ``decode_s`` are timed separately, so their sum need not be ``wall_s``.
    ``energy_j`` is measured over all devices. What was not measured is None. Raises UsageError for an empty
    run.
    """

    wall_s: float
    requests_ok: int
    input_tokens: int
    output_tokens: int
    requests_good: int | None = None
    prefill_s: float | None = None
    decode_s: float | None = None
    energy_j: float | None = None

    def __post_init__(self) -> None:
        _require_positive("wall_s", self.wall_s)
        _require_positive("requests_ok", self.requests_ok)
        _require_positive("input_tokens + output_tokens", self.input_tokens + self.output_tokens)
        _require_positive("energy_j", 1.0 if self.energy_j is None else self.energy_j)
        for name in ("input_tokens", "output_tokens", "requests_good", "prefill_s", "decode_s"):
            _require_positive(name, getattr(self, name) or 0, or_zero=True)
        if self.requests_good is not None and self.requests_good > self.requests_ok:
            raise UsageError(f"{self.requests_good} good requests out of {self.requests_ok} successful ones")


@dataclass(frozen=True)
class Cost:
    """The cost figures of one run, in USD. None means "cannot be computed", never 0.

    ``per_1k_input_tokens_usd`` and ``per_1k_output_tokens_usd`` split the run: multiplied by their tokens
    they add up to ``run_usd``. Each ``all_on`` figure charges the whole run to one side, so they must not be
    added. ``power_basis`` says where the energy bill comes from: mark a ``declared`` one wherever the cost is
    shown, because nobody measured it.
    """

    run_usd: float
    capital_usd: float
    energy_usd: float
    power_basis: PowerBasis
    per_request_usd: float
    per_good_request_usd: float | None
    per_1k_tokens_usd: float
    per_1k_input_tokens_usd: float | None
    per_1k_output_tokens_usd: float | None
    per_1m_all_on_input_usd: float | None
    per_1m_all_on_output_usd: float | None


def run_cost(price: Price, usage: Usage) -> Cost:
    """Return the cost figures of one run. Raises UsageError if power must be billed but is not known."""
    capital_usd = price.hourly_usd * price.devices * usage.wall_s / 3600 / price.utilisation
    energy_usd, basis = energy_bill(price, usage)
    return shared_out(capital_usd, energy_usd, basis, usage)


def shared_out(capital_usd: float, energy_usd: float, basis: PowerBasis, usage: Usage) -> Cost:
    """Divide the known dollars of a run among its requests, tokens and phases."""
    run_usd = capital_usd + energy_usd
    input_usd, output_usd = split_by_phase(run_usd, usage)
    return Cost(
        run_usd=run_usd,
        capital_usd=capital_usd,
        energy_usd=energy_usd,
        power_basis=basis,
        per_request_usd=run_usd / usage.requests_ok,
        per_good_request_usd=_per(run_usd, usage.requests_good),
        per_1k_tokens_usd=1000 * run_usd / (usage.input_tokens + usage.output_tokens),
        per_1k_input_tokens_usd=_per(input_usd, usage.input_tokens, 1000),
        per_1k_output_tokens_usd=_per(output_usd, usage.output_tokens, 1000),
        per_1m_all_on_input_usd=_per(run_usd, usage.input_tokens, 1e6),
        per_1m_all_on_output_usd=_per(run_usd, usage.output_tokens, 1e6),
    )


def energy_bill(price: Price, usage: Usage) -> tuple[float, PowerBasis]:
    """Return (US dollars for power, their basis), by ``FORMULA_ENERGY``.

    The amount is 0 if the price includes power. E is the run's measured joules, or else declared watts *
    devices * wall_s. E is not divided by u, because an idle machine draws less power than a busy one: the
    idle seconds that the run must pay for, wall_s * (1/u - 1), are billed at ``idle_watts``.
    """
    if price.power_basis == "included" or price.usd_per_kwh is None:
        return 0.0, "included"
    rate = price.usd_per_kwh * price.pue / JOULES_PER_KWH
    idle_s = usage.wall_s * (1 / price.utilisation - 1)
    idle_usd = price.idle_watts * price.devices * idle_s * rate
    if usage.energy_j is not None:
        return usage.energy_j * rate + idle_usd, "measured"
    if price.power_basis == "declared" and price.power_watts is not None:
        return price.power_watts * price.devices * usage.wall_s * rate + idle_usd, "declared"
    raise UsageError("the price leaves power out, and the run's energy was not measured")


def split_by_phase(run_usd: float, usage: Usage) -> tuple[float | None, float | None]:
    """Split the run's dollars by prefill and decode seconds; (C_in, C_out) add up to ``run_usd``.

    Returns (None, None) if the phases were not timed separately, or if a phase took time but has no tokens
    that could be charged for it.
    """
    prefill_s, decode_s = usage.prefill_s, usage.decode_s
    if prefill_s is None or decode_s is None or prefill_s + decode_s == 0:
        return None, None
    if (prefill_s and not usage.input_tokens) or (decode_s and not usage.output_tokens):
        return None, None
    input_usd = run_usd * prefill_s / (prefill_s + decode_s)
    return input_usd, run_usd - input_usd


def price_of(
    hardware: HardwarePrice, threads: int | None = None, utilisation: float = 1.0, devices: int = 1
) -> Price:
    """Return the price of a run that occupies ``threads`` vCPUs (None: all) on each of ``devices``."""
    return Price(
        hourly_usd=hardware.hourly_usd,
        devices=device_share(hardware, threads, devices),
        utilisation=utilisation,
        usd_per_kwh=hardware.usd_per_kwh,
        pue=hardware.pue or 1.0,
        power_watts=hardware.average_watts,
        idle_watts=hardware.idle_watts or 0.0,
        power_basis="included" if hardware.includes_power else "declared",
    )


def kept_price(block: Mapping[str, Any], run_id: str, threads: int | None, devices: int = 1) -> Price:
    """Return the price of a run from its stored price block; see ``price_of``.

    Raises IntegrityError for a block that ``bench`` cannot have written.
    """
    hardware = recorded_price(block, run_id)
    utilisation = float(block.get("utilisation", 1.0))
    return price_of(hardware, threads if hardware.kind == "cpu" else None, utilisation, devices)


def power_hours(price: Price, watts: float | None = None) -> tuple[float, float]:
    """Return (US dollars of power per hour of an idle machine, US dollars that an hour of work adds).

    Both are of all ``price.devices``. ``watts`` are theirs under load; None means those that the price
    declares.
    """
    if watts is None:
        watts = (price.power_watts or 0.0) * price.devices
    idle_watts = min(price.idle_watts * price.devices, watts)
    usd = (price.usd_per_kwh or 0.0) * price.pue / 1000
    return idle_watts * usd, (watts - idle_watts) * usd


def device_share(price: HardwarePrice, threads: int | None, devices: int = 1) -> float:
    """Return G, the number of devices that a run is charged for.

    For a GPU price it is the number of GPUs (the price's or the run's, whichever is larger), times the share
    of a slice (MIG). For a CPU price it is the share of the vCPUs that ``threads`` of each process occupy.
    """
    if price.kind == "gpu":
        return float(max(price.gpus or 1, devices)) * (price.share or 1.0)
    if threads is None or price.vcpus is None:
        return 1.0
    _require_positive("threads", threads)
    return min(threads * devices / price.vcpus, 1.0)


def break_even_requests(one_off_usd: float, base_per_request: float, opt_per_request: float) -> float | None:
    """Return after how many requests an optimisation's one-off cost is earned back, or None if never."""
    _require_positive("base_per_request", base_per_request)
    _require_positive("opt_per_request", opt_per_request)
    _require_positive("one_off_usd", one_off_usd, or_zero=True)
    saving_usd = base_per_request - opt_per_request
    return one_off_usd / saving_usd if saving_usd > 0 else None


def _per(usd: float | None, count: int | None, scale: float = 1.0) -> float | None:
    return scale * usd / count if usd is not None and count else None


def _require_positive(name: str, value: float | None, or_zero: bool = False) -> None:
    if value is None or not math.isfinite(value) or value < 0 or (value == 0 and not or_zero):
        raise UsageError(f"{name} must be a number {'from' if or_zero else 'above'} 0, got {value!r}")
