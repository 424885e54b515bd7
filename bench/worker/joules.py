"""Measure the energy of whole requests, in a window that a counter of ten updates a second can resolve.

The window begins with an update of the counter and has at least twenty of them and two seconds (METRICS 4.5).
At its end the counter's next update is waited for, and shared out evenly over the time since the last one.
Where the hardware shows its power too, that is integrated at the same time as a check.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import sleep
from types import TracebackType

from bench.engine import Engine, energy_counters
from bench.engine.energy_counters import Counter, CounterReset, NoCounter
from bench.records import EnergyReading
from bench.worker.counter_windows import begun, edges, joules_until, now
from bench.worker.passes import timed_request

WINDOW_S, UPDATES = 2.0, 20
SAMPLE_S, MOST_GAP_S = 0.05, 3.0
DIFFER = 0.05  # of counter and integrated power, at most
Sample = tuple[float, float]  # seconds, watts
Request = Callable[[], int]  # decodes one batch, and returns the tokens of its replies
STUCK = "counter_stuck", "the counter did not move"
RESET = "counter_reset", "the counter was set back during the window"


def measure(
    engine: Engine, batch: Sequence[Sequence[int]], new_tokens: int, idle_s: float = 0.0
) -> EnergyReading:
    """Return the energy (J) of at least two seconds of whole requests, or say why there is no figure.

    With ``idle_s`` the power of the idle device is measured first, for so many seconds.
    """
    counter = energy_counters.of_all(_devices(engine))
    if isinstance(counter, NoCounter):
        return EnergyReading(None, energy_valid=False, code=counter.code, reason=counter.reason)
    idle_w = _idle_watts(counter, idle_s) if idle_s else None

    def request() -> int:
        return sum(map(len, timed_request(engine, batch, new_tokens).tokens))

    try:
        window = _by_power(counter, request) if counter.read is None else _by_counter(counter, request)
    except CounterReset:
        window = Window(None, *RESET)
    return EnergyReading(
        energy_j=window.joules,
        energy_valid=window.joules is not None and window.joules > 0,
        code=window.code,
        reason=window.reason,
        boundary=counter.boundary,
        window_s=window.seconds,
        requests=window.batches * len(batch),
        output_tokens=window.tokens,
        idle_w=idle_w,
        integrated_j=window.integrated_j,
        update_s=window.update_s,
    )


def _devices(engine: Engine) -> list[str]:
    """Return the devices whose energy a request takes: all that the model is split over."""
    facts, ranks = engine.facts(), engine.ranks
    several = facts.on_gpu and ranks is not None
    return [f"cuda:{index}" for index in range(ranks.size)] if several and ranks else [facts.device]


@dataclass(frozen=True)
class Window:
    """What a window of requests gave: joules, or None with the reason."""

    joules: float | None
    code: str = "ok"
    reason: str = ""
    seconds: float = 0.0
    batches: int = 0
    tokens: int = 0
    integrated_j: float | None = None
    update_s: float | None = None


def _by_counter(counter: Counter, request: Request) -> Window:
    """Run requests between two updates of the counter."""
    assert counter.read is not None
    reads = [counter.read]
    window = begun(reads)
    if window is None:
        return Window(None, *STUCK)
    start, update_s = window.start, window.update_s
    with Sampler(counter.power) as samples:
        batches, tokens, end = _run(request, start, max(WINDOW_S, UPDATES * update_s))
        total = joules_until(reads, window, end)
    if total is None:
        return Window(None, *STUCK)
    checked = integrated(samples.found, start, end)
    code, reason = _agreement(total, checked)
    return Window(
        total, code, reason, seconds=end - start, batches=batches, tokens=tokens, integrated_j=checked,
        update_s=update_s,
    )  # fmt: skip


def _by_power(counter: Counter, request: Request) -> Window:
    """Run requests while the power is sampled, where nothing counts energy."""
    with Sampler(counter.power) as samples:
        start = now()
        batches, tokens, end = _run(request, start, WINDOW_S)
        sleep(2 * SAMPLE_S)  # the last sample is after the window
    total = integrated(samples.found, start, end)
    if total is None:
        return Window(None, "power_gaps", f"the power was not seen for {MOST_GAP_S:g} s of the window")
    words = "power integrated: this GPU has no counter of energy"
    return Window(
        total, "power_integrated", words, seconds=end - start, batches=batches, tokens=tokens,
        integrated_j=total,
    )  # fmt: skip


def _run(request: Request, start: float, least_s: float) -> tuple[int, int, float]:
    """Run two batches or more until ``least_s`` after ``start``. Return how many, the tokens of the replies,
    and when they ended."""
    batches = tokens = 0
    while batches < 2 or now() - start < least_s:
        tokens += request()
        batches += 1
    return batches, tokens, now()


def _agreement(total: float, checked: float | None) -> tuple[str, str]:
    if checked is None or total <= 0 or abs(checked / total - 1) <= DIFFER:
        return "ok", ""
    apart = f"{checked / total - 1:+.0%}"
    return "counters_differ", f"the integrated power is {apart} from the counter of energy, which is shown"


def _idle_watts(counter: Counter, seconds: float) -> float | None:
    """Return the mean power of the device with a model and nothing to do; None if it cannot be known."""
    with Sampler(counter.power) as samples:
        if counter.read is None:
            start = now()
            sleep(seconds)
            end = now()
            joules = integrated(samples.found, start, end)
            return None if joules is None else joules / (end - start)
        try:
            first = edges([counter.read])
            sleep(seconds)
            last = edges([counter.read])
        except CounterReset:
            return None
    if first is None or last is None:
        return None
    ((began, at_first),), ((ended, at_last),) = first, last
    return (at_last - at_first) / (ended - began)


def integrated(samples: Sequence[Sample], start: float, end: float) -> float | None:
    """Return the joules between two moments (s) from samples of power, by the trapezoid rule with linear
    interpolation at both edges (METRICS 4.5).

    None if the samples do not bracket the window, or leave a gap of more than three seconds in it.
    """
    joules, seen = 0.0, start
    for (left, low), (right, high) in pairwise(samples):
        if right <= start or left >= end or right <= left:
            continue
        if right - left > MOST_GAP_S or left > seen:
            return None
        a, b = max(left, start), min(right, end)
        slope = (high - low) / (right - left)
        joules += (b - a) * (2 * low + slope * (a - left + b - left)) / 2
        seen = b
    return joules if seen >= end > start else None


class Sampler:
    """Samples the power twenty times a second in a thread, from before a block until after it. Nothing is
    sampled where there is no power to see."""

    def __init__(self, power: Callable[[], float | None] | None) -> None:
        self.found: list[Sample] = []
        self._power = power
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Sampler:
        if self._power is not None:
            self._look()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        if self._power is not None:
            self._thread.join()
            self._look()

    def _sample(self) -> None:
        while not self._end.wait(SAMPLE_S):
            self._look()

    def _look(self) -> None:
        assert self._power is not None
        watts = self._power()
        if watts is not None:
            self.found.append((now(), watts))
