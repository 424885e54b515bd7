"""List the ways to serve a stream of requests: measured rows of a run, and estimates from a model's card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bench.errors import UsageError
from bench.plan.bytes_and_flop import Loaded
from bench.plan.ceilings import DTYPES, ceilings_here
from bench.plan.devices import Device
from bench.plan.fleet import Stream
from bench.plan.pass_times import RooflineSteps, Steps, bound_words, measured_steps, most_in_cache
from bench.plan.served import Served, served_rows
from bench.pricing.cost import power_hours, price_of
from bench.pricing.hardware import HardwarePrice
from bench.results.run_summary import RunSummary
from bench.stats.intervals import Interval

BITS = {32.0: "float32", 16.0: "16 bits", 8.0: "8 bits", 4.0: "4 bits"}
SCALE_BITS = 0.5  # bits that a 16-bit scale per block of 32 weights adds to each weight
MEMORY_SHARE = 0.9  # of a device's memory for weights and cache; the engine needs the rest
LEAST_PLACES = 8  # sequences for which a server must have room in its cache
MOST_PLACES = 256  # sequences at once, vLLM's default
CHUNK = 2048  # tokens per pass, vLLM's default
MOST_DEVICES = 64
MOST_SIMULATED = 40  # rows of a run; each takes up to 0.2 s


@dataclass(frozen=True)
class Option:
    """One way to serve a stream: the speed of its passes, and the price of its machines.

    ``hardware`` names the devices of a server; it is empty for the machine of a run. A server occupies
    ``share`` of a machine; above 1 it occupies several. ``machine_usd`` is the price of a machine per hour.
    ``busy_hour_usd`` is the power that an hour of work of one server adds, if power is billed separately.
    ``rented`` machines can be paid by the hour, and reserved ones cost ``reserved_usd`` per hour. ``slower``
    has the 95 % bounds of the time per request, divided by the estimate; it is None for an estimate from a
    card, whose error is not known. ``drift`` says how far the answers are from the baseline's, and ``bound``
    what limits a step.
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


def measured_options(run: RunSummary) -> list[Option]:
    """Return an option for each row of a run.

    Cells of a sweep that differ only in batch size become one server, whose step time is fitted to them.
    Simulating a queue takes time, so if there are more than ``MOST_SIMULATED`` names, only the baselines and
    the names with the cheapest requests are kept. Raises UsageError if no row has times of its own.
    """
    names = {row.title: row.name for row in run.rows}
    by_name: dict[str, list[Served]] = {}
    for row in _with_queue(run):
        by_name.setdefault(names[row.title], []).append(row)
    options = []
    for cells in _cheapest(list(by_name.values())):
        name = names[cells[0].title]
        mixes = {(round(row.mix.input_tokens, 6), round(row.mix.output_tokens, 6)) for row in cells}
        together = len(mixes) == 1
        for cell in [cells] if together else [[row] for row in cells]:
            options.append(_measured(name if together else cell[0].title, cell))
    return options


def _with_queue(run: RunSummary) -> list[Served]:
    """Return the rows whose queue can be simulated. Raises UsageError if there is none.

    A simulation needs the time to the first token, which is unknown if answers came as a whole.
    """
    rows = served_rows(run)
    streamed = [row for row in rows if row.prefill_s is not None]
    if not streamed:
        raise UsageError(
            f"{rows[0].title}: its answers came as a whole, so no time of a token is known, and no queue "
            "can be simulated; `bench price RUN --against api` prices its requests"
        )
    return streamed


def not_simulated(run: RunSummary) -> int:
    """Return how many names of a run have times but are left out by ``measured_options``."""
    names = {row.title: row.name for row in run.rows}
    return max(len({names[row.title] for row in _with_queue(run)}) - MOST_SIMULATED, 0)


def _cheapest(rows: list[list[Served]]) -> list[list[Served]]:
    """Return the baselines and the rows with the cheapest requests, in the order of the run."""
    if len(rows) <= MOST_SIMULATED:
        return rows
    best = sorted(rows, key=lambda cells: (not cells[0].is_baseline, min(c.request_usd.value for c in cells)))
    kept = {cells[0].title for cells in best[:MOST_SIMULATED]}
    return [cells for cells in rows if cells[0].title in kept]


def _measured(title: str, cells: Sequence[Served]) -> Option:
    best = max(cells, key=lambda row: row.batch)
    points = [(row.batch, row.step_s) for row in cells]
    if best.prefill_s is None or not best.step_s:  # the answers came as a whole, or have one token
        raise UsageError(f"{title}: its run has no time of a further token, so no queue can be simulated")
    prompt_s = best.prefill_s / best.batch / best.mix.input_tokens
    own = best.own
    return Option(
        title=title,
        hardware="",
        steps=measured_steps(points, prompt_s),
        machine_usd=own.rented_hour_usd / best.share,
        share=best.share,
        drift=best.drift,
        busy_hour_usd=own.busy_hour_usd,
        rented=best.rented,
        slower=_bounds(own.request_s),
    )


def _bounds(time: Interval) -> tuple[float, float] | None:
    """Return the bounds of a time divided by its estimate, or None if it has no bounds."""
    if time.low is None or time.high is None or time.low <= 0:
        return None
    return time.low / time.value, time.high / time.value


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
    held = [
        (bits, loaded, count)
        for bits in how.bits
        if (count := _devices(loaded := _at(model, bits), device, tokens)) is not None
    ]
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
        )


def _at(model: Loaded, bits: float) -> Loaded:
    """Return the model with weights of ``bits``; below 8 bits the scales of the blocks are added."""
    return replace(model, bits=bits + SCALE_BITS if bits < 8 else bits)


def _power_of_a_device(price: HardwarePrice) -> tuple[float, float]:
    """Return (US dollars of power per idle hour of a device, US dollars that an hour of work adds)."""
    return power_hours(replace(price_of(price), devices=1.0))


def estimated_here(
    model: Loaded, price: HardwarePrice, memory_bytes: float, stream: Stream, layer_s: float
) -> Iterator[Option]:
    """Yield an option for each dtype on this machine's CPU, at the ``price`` of a CPU instance.

    The server is a loop that answers one request after the other, as transformers does. ``layer_s`` is the
    overhead per layer in seconds. Raises UsageError if the ceilings were not measured with the threads of
    ``price``, or if the model does not fit into ``memory_bytes``.
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
        best = replace(ceilings, layer_s=layer_s)
        steps = RooflineSteps(loaded, best, most=1, chunk=None, bandwidth_share=1.0, arithmetic_share=1.0)
        yield Option(
            title=dtype,
            hardware=price.id,
            steps=steps,
            machine_usd=price.hourly_usd + idle_usd,
            share=1.0,
            drift="not measured",
            bound=bound_words(loaded, best, stream.input_tokens, tokens, 1),
            busy_hour_usd=busy_usd,
            rented=price.ownership == "rented",
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
