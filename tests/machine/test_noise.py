"""Which passes are void: decided by processor time alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time

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
        (Ticks(60, 0, 0, 0, 1.0), False),  # too short to say
        (Ticks(1000, 0, 300, 900, 1.0), False),  # ours over-counted: never negative
    ],
)
def test_a_pass_is_void_when_others_had_more_than_a_twentieth(after: Ticks, void: bool) -> None:
    assert disturbed(BEFORE, after) is void
    assert 0 <= float(str(between("x", BEFORE, after)["foreign_share"])) <= 1


def test_a_busy_stranger_is_seen_and_a_busy_child_of_ours_is_not() -> None:
    burn = "import time\nend = time.monotonic() + 0.8\nwhile time.monotonic() < end: pass"
    with subprocess.Popen([sys.executable, "-c", burn]) as stranger:
        before, ours = read_ticks(), read_ticks([stranger.pid])
        time.sleep(0.6)
        after, with_ours = read_ticks(), read_ticks([stranger.pid])
    foreign = float(str(between("x", before, after)["foreign_share"]))
    rest = float(str(between("x", ours, with_ours)["foreign_share"]))
    assert foreign - rest > 0.3 / (os.cpu_count() or 1)


def test_a_process_that_is_gone_has_no_ticks() -> None:
    assert read_ticks([2**22 + 1]).own >= 0
