"""Which passes are void: decided by processor time alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.machine.noise import Ticks, between, disturbed, read_ticks

BEFORE = Ticks(total=0, steal=0, idle=0, own=0, load1=0.0)


@pytest.mark.parametrize(
    ("after", "void"),
    [
        (Ticks(1000, 0, 500, 500, 1.0), False),  # half idle, the rest ours
        (Ticks(1000, 0, 450, 500, 1.0), False),  # 5 % to others: at the limit
        (Ticks(1000, 0, 400, 500, 1.0), True),  # 10 % to others
        (Ticks(1000, 80, 420, 500, 1.0), True),  # 8 % stolen by the hypervisor
        (Ticks(60, 0, 49, 0, 1.0), False),  # a short pass: 11 ticks of others may be rounding
        (Ticks(60, 0, 48, 0, 1.0), True),  # 12 are more than 5 % and the rounding
        (Ticks(60, 0, 0, 0, 1.0), True),  # short, and others had all of it
        (Ticks(8, 0, 0, 0, 1.0), False),  # too short to say
        (Ticks(1000, 0, 300, 900, 1.0), False),  # ours over-counted: never negative
    ],
)
def test_a_pass_is_void_when_others_had_more_than_a_twentieth(after: Ticks, void: bool) -> None:
    assert disturbed(BEFORE, after, 0.05) is void
    assert 0 <= float(str(between("x", BEFORE, after)["foreign_share"])) <= 1


def test_a_busy_stranger_is_seen_and_a_busy_child_of_ours_is_not() -> None:
    """It burns processor time, not time: beside load it gets less of it, and takes longer."""
    burn = "import time\nwhile time.process_time() < 0.8: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as stranger:
        assert stranger.stdin is not None
        assert stranger.stdout is not None
        before, ours = read_ticks(), read_ticks([stranger.pid])
        stranger.stdout.readline()
        after, with_ours = read_ticks(), read_ticks([stranger.pid])
        stranger.stdin.close()
    foreign = float(str(between("x", before, after)["foreign_share"])) * (after.total - before.total)
    rest = float(str(between("x", ours, with_ours)["foreign_share"])) * (with_ours.total - ours.total)
    assert foreign - rest > 0.4 * os.sysconf("SC_CLK_TCK")


def test_a_process_that_is_gone_has_no_ticks() -> None:
    assert read_ticks([2**22 + 1]).own >= 0
