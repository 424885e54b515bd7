"""List the ways to serve a stream of requests that are estimated from a model's card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench.errors import UsageError
from bench.plan.bytes_and_flop import Loaded
from bench.plan.ceilings import DTYPES, ceilings_here
from bench.plan.devices import Device
from bench.plan.fleet import Stream
from bench.plan.pass_times import RooflineSteps, Steps, bound_words, most_in_cache
from bench.pricing.cost import power_hours, price_of
from bench.pricing.hardware import HardwarePrice

BITS = {32.0: "float32", 16.0: "16 bits", 8.0: "8 bits", 4.0: "4 bits"}
SCALE_BITS = 0.5  # bits that a 16-bit scale per block of 32 weights adds to each weight
MEMORY_SHARE = 0.9  # of a device's memory for weights and cache; the engine needs the rest
LEAST_PLACES = 8  # sequences for which a server must have room in its cache
MOST_PLACES = 256  # sequences at once, vLLM's default
CHUNK = 2048  # tokens per pass, vLLM's default
MOST_DEVICES = 64


@dataclass(frozen=True)
class Option:
    """One way to serve a stream: the speed of its passes, and the price of its machines.

    ``hardware`` names the devices of a server; it is empty for the machine of a run. A server occupies
    ``share`` of a machine; above 1 it occupies several. ``machine_usd`` is the price of a machine per hour.
    ``busy_hour_usd`` is the power that an hour of work of one server adds, if power is billed separately.
    ``rented`` machines can be paid by the hour, and reserved ones cost ``reserved_usd`` per hour. ``slower``
    has the 95 % bounds of the time per request, divided by the estimate; it is None for an estimate from a
    card, whose error is not known. ``drift`` says how far the answers are from the baseline's, and ``bound``
    what limits a step. ``passes`` says which of the times of passes were measured and which interpolated.
    ``price`` is the price of its machines, as far as it is known.
    """

    title: str
    hardware: str
    steps: Steps
    machine_usd: float
    share: float
    drift: str
    bound: str = ""
    busy_hour_usd: float = 0.0
    rented: bool = True
    reserved_usd: float | None = None
    slower: tuple[float, float] | None = None
    passes: str = ""
    price: HardwarePrice | None = None


@dataclass(frozen=True)
class Estimate:
    """The assumptions of an estimate from a card.

    ``bits`` are the weight precisions to try. The shares say how much of a data sheet's memory bandwidth and
    arithmetic rate a serving engine reaches.
    """

    bits: tuple[float, ...] = (16.0, 8.0, 4.0)
    bandwidth_share: float = 0.65
    arithmetic_share: float = 0.5


def estimated_options(
    model: Loaded, price: HardwarePrice, device: Device, stream: Stream, how: Estimate
) -> Iterator[Option]:
    """Yield an option for each precision, with enough devices to hold the model and a few sequences.

    A precision is left out if not even the largest server can hold the model. Raises UsageError if that is so
    for all of them, and if a request does not fit the model's context.
    """
    tokens = stream.input_tokens + stream.output_tokens
    if tokens > model.facts.context:
        raise UsageError(
            f"{tokens:,.0f} tokens in and out do not fit the model's context of {model.facts.context:,}"
        )
    sized = ((bits, loaded := _at(model, bits), _devices(loaded, device, tokens)) for bits in how.bits)
    held = [(bits, loaded, count) for bits, loaded, count in sized if count is not None]
    if not held:
        raise UsageError(
            f"not even {MOST_DEVICES} × {device.name} hold the model at {min(how.bits):g} bits and the "
            f"caches of {LEAST_PLACES} sequences"
        )
    idle_usd, busy_usd = _power_of_a_device(price)
    for bits, loaded, count in held:
        room = MEMORY_SHARE * device.memory_bytes * count
        ceilings = device.ceilings(bits).shared(count)
        most = min(most_in_cache(loaded, room, tokens), MOST_PLACES)
        steps = RooflineSteps(loaded, ceilings, most, CHUNK, how.bandwidth_share, how.arithmetic_share)
        yield Option(
            title=BITS.get(bits, f"{bits:g} bits"),
            hardware=f"{count} × {price.id}",
            steps=steps,
            machine_usd=price.hourly_usd + idle_usd,
            share=float(count),
            drift="not measured",
            bound=bound_words(loaded, ceilings, stream.input_tokens, tokens, most),
            busy_hour_usd=busy_usd * count,
            rented=price.ownership == "rented",
            price=price,
        )


def _at(model: Loaded, bits: float) -> Loaded:
    """Return the model with weights of ``bits``; below 8 bits the scales of the blocks are added."""
    return replace(model, bits=bits + SCALE_BITS if bits < 8 else bits)


def _power_of_a_device(price: HardwarePrice) -> tuple[float, float]:
    """Return (US dollars of power per idle hour of a device, US dollars that an hour of work adds)."""
    return power_hours(replace(price_of(price), devices=1.0))


def estimated_here(
    model: Loaded, price: HardwarePrice, memory_bytes: float, stream: Stream
) -> Iterator[Option]:
    """Yield an option for each dtype on this machine's CPU, at the ``price`` of a CPU instance.

    The server is a loop that answers one request after the other, as transformers does. Raises
    UsageError if the ceilings were not measured with the threads of ``price``, or if the model does not fit
    into ``memory_bytes``.
    """
    threads, tokens = price.vcpus or 1, stream.input_tokens + stream.output_tokens
    idle_usd, busy_usd = _power_of_a_device(price)
    for dtype, bits in DTYPES.items():
        ceilings = ceilings_here("cpu", threads, dtype)
        if ceilings is None:
            raise UsageError(
                f"the ceilings of {threads} threads of this machine are not known: `bench doctor --ceilings` "
                f"measures them (on a machine of the kind of {price.id})"
            )
        loaded = replace(model, bits=float(bits), cache_item_bytes=bits // 8, expanded=True)
        if most_in_cache(loaded, MEMORY_SHARE * memory_bytes, tokens) < 1:
            raise UsageError(f"the model does not fit this machine's memory in {dtype}")
        steps = RooflineSteps(loaded, ceilings, most=1, chunk=None, bandwidth_share=1.0, arithmetic_share=1.0)
        yield Option(
            title=dtype,
            hardware=price.id,
            steps=steps,
            machine_usd=price.hourly_usd + idle_usd,
            share=1.0,
            drift="not measured",
            bound=bound_words(loaded, ceilings, stream.input_tokens, tokens, 1),
            busy_hour_usd=busy_usd,
            rented=price.ownership == "rented",
            price=price,
        )


def _devices(model: Loaded, device: Device, tokens: float) -> int | None:
    """Return the smallest power of two of devices that can hold the weights and ``LEAST_PLACES`` sequences.

    Returns None if not even ``MOST_DEVICES`` can.
    """
    count = 1
    while count <= MOST_DEVICES:
        if most_in_cache(model, MEMORY_SHARE * device.memory_bytes * count, tokens) >= LEAST_PLACES:
            return count
        count *= 2
    return None
