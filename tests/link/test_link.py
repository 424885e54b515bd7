"""The simulated link: its delay to the digit with a clock that is data, and within 5 % with the real one."""

from __future__ import annotations

import statistics
import time

import pytest

from bench.link import Link, LinkDown, LinkSettings, Outage, draw_for, waiting
from bench.link.waiting import LEAST_TIMEOUT_S, PACKET_BYTES, TRIES

HOME = LinkSettings(round_trip_ms=40, up_megabits_per_s=10, down_megabits_per_s=50)


class Clock:
    """A clock (ns) that moves when somebody sleeps, and a little at each look."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += 100
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


def link(settings: LinkSettings) -> Link:
    clock = Clock()
    return Link(settings, clock, clock.sleep)


@pytest.mark.parametrize(
    ("n_bytes", "direction", "seconds"),
    [(0, "up", 0.020), (125_000, "up", 0.020 + 0.1), (125_000, "down", 0.020 + 0.02)],
)
def test_a_message_takes_half_the_round_trip_and_its_bits(
    n_bytes: int, direction: str, seconds: float
) -> None:
    assert link(HOME).carry(n_bytes, direction) == pytest.approx(seconds, abs=1e-6)  # type: ignore[arg-type]


def test_one_bandwidth_serves_both_directions() -> None:
    both = LinkSettings(megabits_per_s=8)
    assert both.one_way_s(1_000_000, "up") == both.one_way_s(1_000_000, "down") == pytest.approx(1)
    assert LinkSettings().one_way_s(10**12, "up") == 0


def test_what_crossed_is_counted_and_read_once() -> None:
    open_link = link(HOME)
    open_link.carry(1000, "up")
    open_link.carry(50, "down")
    carried = open_link.read()
    assert (carried.up_bytes, carried.down_bytes, carried.messages) == (1000, 50, 2)
    assert carried.asked_s == pytest.approx(0.04 + 8 * 1000 / 10e6 + 8 * 50 / 50e6)
    assert carried.waited_s == pytest.approx(carried.asked_s, abs=1e-5)
    assert open_link.read().messages == 0


def test_jitter_is_uniform_and_comes_from_the_seed() -> None:
    settings = LinkSettings(round_trip_ms=40, jitter_ms=10, seed=3)
    delays = [delay for one in [link(settings)] for delay in (one.delay_s(0, "up") for _ in range(4000))]
    again = link(settings)
    assert delays[:20] == [again.delay_s(0, "up") for _ in range(20)]
    assert min(delays) >= 0.010
    assert max(delays) <= 0.030
    assert statistics.fmean(delays) == pytest.approx(0.020, abs=0.0005)
    assert statistics.pstdev(delays) == pytest.approx(0.010 / 3**0.5, rel=0.05)


def test_each_process_draws_delays_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all pairs of a run have the same luck, and its interval does not show how much there is."""
    monkeypatch.setattr(waiting, "_process", 0)

    def delays(process: int, seed: int = 0) -> list[float]:
        draw_for(process)
        own = link(LinkSettings(round_trip_ms=40, jitter_ms=10, seed=seed))
        return [own.delay_s(0, "up") for _ in range(20)]

    assert delays(2) == delays(2)
    assert len({tuple(delays(process, seed)) for process in (0, 1, 2) for seed in (0, 1)}) == 6


def test_a_lost_packet_waits_for_its_timeout() -> None:
    """One packet is lost with chance p: then it waits 0.2 s, and if it is lost again twice as long."""
    loss, count = 0.1, 20_000
    lossy = link(LinkSettings(loss=loss, seed=1))
    mean = statistics.fmean(lossy.delay_s(100, "up") for _ in range(count))
    expected = sum(loss**lost * LEAST_TIMEOUT_S * 2 ** (lost - 1) for lost in range(1, TRIES))
    assert mean == pytest.approx(expected, rel=0.05)
    assert lossy.carried.resent_packets == pytest.approx(count * loss / (1 - loss), rel=0.05)


def test_a_packet_lost_within_a_long_message_is_sent_again_after_a_round_trip() -> None:
    """With many packets behind the lost ones no timeout is needed; they take the bandwidth again."""
    settings = LinkSettings(round_trip_ms=100, megabits_per_s=8, loss=0.001, seed=2)
    packets = 1000
    plain_s = settings.one_way_s(packets * PACKET_BYTES, "up")
    delays = []
    for seed in range(40):
        lossy = link(LinkSettings(round_trip_ms=100, megabits_per_s=8, loss=0.001, seed=seed))
        extra_s = lossy.delay_s(packets * PACKET_BYTES, "up") - plain_s
        again_s = lossy.carried.resent_packets * 8 * PACKET_BYTES / 8e6
        delays.append((lossy.carried.resent_packets, extra_s - again_s))
    assert {round(wait, 6) for count, wait in delays if count == 0} == {0.0}
    assert 0.1 in {round(wait, 6) for count, wait in delays if count}


def test_a_link_that_loses_nearly_all_gives_up_with_words() -> None:
    words = rf"1 of 1 packets were lost {TRIES} times in a row, up \(loss 0.99\)"
    with pytest.raises(LinkDown, match=words):
        link(LinkSettings(loss=0.99, seed=5)).carry(10, "up")


def test_an_outage_begins_and_ends() -> None:
    outage = Outage(after_s=10, for_s=2, every_s=5)
    found = {since: outage.left_s(since) for since in (0, 9.9, 10, 11.5, 12.5, 15.5, 18)}
    assert found == {0: 0, 9.9: 0, 10: 2, 11.5: 0.5, 12.5: 0, 15.5: 1.5, 18: 0}


def test_a_sender_without_patience_fails_at_once_and_one_with_patience_waits() -> None:
    outage = Outage(after_s=0, for_s=2)
    with pytest.raises(
        LinkDown, match=r"the link is down 0\.0 s after it was opened, and the sender waited 0 s"
    ):
        link(LinkSettings(outage=outage)).carry(1, "up")
    assert link(LinkSettings(outage=outage, patience_s=3)).carry(1, "up") == pytest.approx(2, abs=1e-4)


def test_what_a_sender_waited_in_vain_is_counted() -> None:
    offline = link(LinkSettings(outage=Outage(), patience_s=3))
    with pytest.raises(LinkDown):
        offline.carry(1, "up")
    assert offline.carried.waited_s == pytest.approx(3, abs=1e-4)
    assert offline.carried.messages == 0


def test_a_sender_that_gives_up_after_an_outage_waited_for_that_too() -> None:
    lossy = link(LinkSettings(loss=0.99, seed=5, outage=Outage(for_s=50), patience_s=100))
    timeouts_s = sum(LEAST_TIMEOUT_S * 2**lost for lost in range(TRIES))
    with pytest.raises(LinkDown, match="were lost"):
        lossy.carry(10, "up")
    assert lossy.carried.waited_s == pytest.approx(50 + timeouts_s, abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "n_bytes"),
    [
        (LinkSettings(round_trip_ms=10), 100),
        (LinkSettings(round_trip_ms=40, megabits_per_s=10), 2304),
        (LinkSettings(round_trip_ms=4, megabits_per_s=1), 2304),
        (LinkSettings(megabits_per_s=100), 250_000),
        (LinkSettings(round_trip_ms=80, up_megabits_per_s=2, down_megabits_per_s=20, jitter_ms=5), 5000),
    ],
    ids=str,
)
def test_the_real_wait_is_what_was_asked_within_five_percent(settings: LinkSettings, n_bytes: int) -> None:
    """The best of a few messages, because others may take the processor; never one that is too short."""
    real, shares = Link(settings), []
    for _ in range(6):
        before = time.monotonic_ns()
        real.carry(n_bytes, "up")
        took_s, asked_s = (time.monotonic_ns() - before) / 1e9, real.read().asked_s
        shares.append(took_s / asked_s)
    assert min(shares) >= 1
    assert min(shares) < 1.05


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"round_trip_ms": -1}, "round_trip_ms must be 0 to 600000, not -1"),
        ({"round_trip_ms": float("nan")}, "round_trip_ms must be"),
        ({"megabits_per_s": 0}, "megabits_per_s must be 0.001 to"),
        ({"megabits_per_s": 1e-300}, "megabits_per_s must be 0.001 to"),
        ({"up_megabits_per_s": -3}, "up_megabits_per_s must be 0.001 to"),
        ({"down_megabits_per_s": float("inf")}, "down_megabits_per_s must be 0.001 to"),
        ({"megabits_per_s": 1, "up_megabits_per_s": 1, "down_megabits_per_s": 1}, "is not used"),
        ({"round_trip_ms": 10, "jitter_ms": 6}, "jitter_ms must be 0 to half of round_trip_ms"),
        ({"loss": 1}, "loss must be 0 or more and below 1, not 1"),
        ({"loss": -0.1}, "loss must be"),
        ({"patience_s": -1}, "patience_s must be"),
        ({"patience_s": 1}, "there is no outage"),
        ({"outage": {"for_s": 0}}, "for_s must be"),
        ({"outage": {"after_s": -1}}, "after_s must be"),
        ({"outage": {"for_s": 5, "every_s": 5}}, "the link never comes back"),
    ],
    ids=str,
)
def test_settings_that_cannot_be(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LinkSettings.of(wrong)


def test_settings_read_as_they_are_written() -> None:
    assert str(HOME) == "{round_trip_ms: 40, up_megabits_per_s: 10, down_megabits_per_s: 50}"
    assert (
        str(LinkSettings.of({"loss": 0.01, "outage": {"after_s": 5}})) == "{loss: 0.01, outage: {after_s: 5}}"
    )
    assert (
        str(LinkSettings.of({"outage": {"after_s": 0}})) == "{outage: {after_s: 0}}"
    )  # and not {outage: {}}
