"""Simulate the link: draw the delay of each message, with losses and repeats, and really wait that long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.errors import Outcome, VariantFailed
from bench.link.settings import Direction, LinkSettings

# A sleep ends up to a millisecond late on a busy machine, so the end of a wait is spent looking at the clock.
SPIN_NS = 1_000_000
PACKET_BYTES = 1448  # what a TCP segment carries in an Ethernet frame, with time stamps
# After so many packets that arrive behind a lost one it is sent again without a timeout (RFC 5681).
DUPLICATES = 3
LEAST_TIMEOUT_S = 0.2  # the retransmission timeout of Linux; it doubles each time (RFC 6298)
TRIES = 6
_process = 0


def draw_for(process: int) -> None:
    """Let the links that this process opens draw delays of their own, and not those of every process.

    ``process`` numbers the processes of a run that do the same work, from 1: the figure of a run would
    otherwise hold the luck of one draw, and its interval would not show that. 0 draws by the seed alone.
    """
    global _process
    _process = process


class LinkDown(VariantFailed):
    """Nothing crosses the link, and the sender has given up."""

    def __init__(self, reason: str, waited_s: float) -> None:
        super().__init__(Outcome.RUN_ERROR, reason)
        self.waited_s = waited_s


@dataclass
class Carried:
    """What crossed a link since it was last read: bytes by direction, packets sent again, and the seconds
    that were asked of the link and that were really waited."""

    up_bytes: int = 0
    down_bytes: int = 0
    messages: int = 0
    resent_packets: int = 0
    asked_s: float = 0.0
    waited_s: float = 0.0


class Link:
    """A link that is open. ``clock`` (ns) and ``sleep`` (s) are those of the machine, except in tests."""

    def __init__(
        self,
        settings: LinkSettings,
        clock: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings
        self.carried = Carried()
        self._clock, self._sleep = clock, sleep
        self._opened_ns = clock()
        self._random = random.Random(f"{settings.seed}/{_process}" if _process else settings.seed)

    def carry(self, n_bytes: int, direction: Direction) -> float:
        """Wait as long as a message of ``n_bytes`` takes, and return the seconds that it really was.

        Raises LinkDown, after the wait, if the link is down or a packet was lost ``TRIES`` times.
        """
        started = self._clock()
        try:
            asked_s = self.delay_s(n_bytes, direction)
        except LinkDown as down:
            self.carried.waited_s += self._wait(started, down.waited_s)
            raise
        waited_s = self._wait(started, asked_s)
        self.carried.asked_s += asked_s
        self.carried.waited_s += waited_s
        return waited_s

    def delay_s(self, n_bytes: int, direction: Direction) -> float:
        """Draw the seconds of one message and count it, without waiting, for a caller that waits itself.

        Raises LinkDown, whose ``waited_s`` says when the sender gave up.
        """
        outage_s = self._outage_s()
        jitter_ms = self._random.uniform(-1, 1) * self.settings.jitter_ms
        delay_s = outage_s + self.settings.one_way_s(n_bytes, direction) + jitter_ms / 1000
        delay_s += self._repairs_s(n_bytes, direction, outage_s)
        self.carried.messages += 1
        if direction == "up":
            self.carried.up_bytes += n_bytes
        else:
            self.carried.down_bytes += n_bytes
        return delay_s

    def read(self) -> Carried:
        """Return what crossed the link since the last call, and begin anew."""
        found, self.carried = self.carried, Carried()
        return found

    def _outage_s(self) -> float:
        """Return how long the sender waits for the link to come back."""
        outage = self.settings.outage
        since_s = (self._clock() - self._opened_ns) / 1e9
        left_s = 0.0 if outage is None else outage.left_s(since_s)
        if left_s > self.settings.patience_s:
            patience_s = self.settings.patience_s
            when = f"{since_s:.1f} s after it was opened, and the sender waited {patience_s:g} s"
            lasts = "has no end" if outage is None or outage.for_s is None else f"lasts {outage.for_s:g} s"
            raise LinkDown(f"the link is down {when} (the outage {lasts})", patience_s)
        return left_s

    def _repairs_s(self, n_bytes: int, direction: Direction, outage_s: float) -> float:
        """Return the seconds in which lost packets are sent again, each round with its own losses. Before the
        first one the sender waited ``outage_s``."""
        if not self.settings.loss:
            return 0.0
        count = sent = max(1, -(-n_bytes // PACKET_BYTES))
        round_trip_s = self.settings.round_trip_ms / 1000
        timeout_s, total_s = max(LEAST_TIMEOUT_S, 2 * round_trip_s), 0.0
        for _ in range(TRIES):
            lost = [place for place in range(sent) if self._random.random() < self.settings.loss]
            if not lost:
                return total_s
            if sent - 1 - lost[-1] >= DUPLICATES:
                total_s += round_trip_s
            else:
                total_s, timeout_s = total_s + timeout_s, 2 * timeout_s
            sent = len(lost)
            total_s += 8 * sent * min(PACKET_BYTES, n_bytes) / self.settings.bits_per_s(direction)
            self.carried.resent_packets += sent
        raise LinkDown(
            f"{sent} of {count} packets were lost {TRIES} times in a row, {direction} (loss "
            f"{self.settings.loss:g})",
            outage_s + total_s,
        )

    def _wait(self, started_ns: int, seconds: float) -> float:
        """Sleep until shortly before the end, and look at the clock from there on."""
        end_ns = started_ns + round(seconds * 1e9)
        while (left_ns := end_ns - self._clock()) > SPIN_NS:
            self._sleep((left_ns - SPIN_NS) / 1e9)
        while (now_ns := self._clock()) < end_ns:
            pass
        return (now_ns - started_ns) / 1e9
