"""A container whose processor quota is used up: the kernel counts how long it was halted; units are void."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.machine import noise
from bench.machine.cpu_quota import throttled_ticks

SECOND = os.sysconf("SC_CLK_TCK")
STAT = "usage_usec 9000000\nuser_usec 8000000\nnr_periods 100\nnr_throttled 7\nthrottled_usec {}\n"
# The function itself: the suite switches the name in the module off, because tests share the machine.
stolen = noise.stolen


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    ("own", "files", "seconds"),
    [
        ("0::/\n", {"cpu.stat": STAT.format(2_500_000)}, 2.5),
        ("0::/a/b\n", {"cpu.stat": "usage_usec 1\n", "a/b/cpu.stat": STAT.format(1_000_000)}, 1.0),
        ("0::/a/b\n", {"a/cpu.stat": STAT.format(3_000_000), "a/b/cpu.stat": STAT.format(0)}, 3.0),
        ("3:cpu:/x\n", {"cpu/cpu.stat": "nr_periods 9\nthrottled_time 4000000000\n"}, 4.0),
        ("0::/\n", {"cpu.stat": "usage_usec 9\n"}, 0.0),
        ("0::/\n", {"cpu.stat": "throttled_usec many\nthrottled_usec\n"}, 0.0),
        ("", {}, 0.0),
    ],
    ids=["version 2", "own cgroup", "quota around it", "version 1", "no quota", "nonsense", "nothing"],
)
def test_how_long_the_kernel_has_halted_us(
    tmp_path: Path, own: str, files: dict[str, str], seconds: float
) -> None:
    root = written(tmp_path / "cgroup", files)
    (tmp_path / "own").write_text(own)
    assert throttled_ticks(root, tmp_path / "own") == seconds * SECOND


@pytest.mark.fault(27)
@pytest.mark.parametrize(("halted_s", "void"), [(0, False), (1, False), (3, True)])
def test_a_round_in_which_we_were_halted_is_void(
    monkeypatch: pytest.MonkeyPatch, halted_s: int, void: bool
) -> None:
    """Ten seconds of two processors: half of them idle, the rest ours, and nobody else on the machine."""
    busy, halts, own = iter([0, 10 * SECOND]), iter([0, halted_s * SECOND]), iter([0, 10 * SECOND])

    class ProcStat:
        def read_text(self) -> str:
            ours = next(busy)
            return f"cpu {ours} 0 0 {ours} 0 0 0 0\n"

    monkeypatch.setattr(noise, "Path", lambda place: ProcStat())
    monkeypatch.setattr(noise, "throttled_ticks", lambda: next(halts))
    monkeypatch.setattr(noise, "_ticks_of", lambda pid: next(own))
    before, after = noise.read_ticks(), noise.read_ticks()
    assert noise.between("x", before, after)["steal_share"] == halted_s / 20
    assert stolen(before, after) is void
