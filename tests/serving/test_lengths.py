"""Lengths of prompts and replies: what is drawn, that a seed repeats it, and what is refused."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.errors import ConfigError, UsageError
from bench.serving.arrivals import gamma
from bench.serving.lengths import lengths


def test_one_length_for_all() -> None:
    assert lengths("128", 3, 1) == (128, 128, 128)


def test_uniform() -> None:
    found = lengths("uniform:32-35", 4000, 1)
    assert set(found) == {32, 33, 34, 35}
    assert statistics.fmean(found) == pytest.approx(33.5, abs=0.1)
    assert lengths("uniform:7-7", 2, 1) == (7, 7)


def test_lognormal() -> None:
    found = lengths("lognormal:200,0.5", 4000, 1)
    assert statistics.median(found) == pytest.approx(200, rel=0.05)
    assert statistics.stdev(map(math.log, found)) == pytest.approx(0.5, rel=0.05)
    assert min(lengths("lognormal:1,10", 1000, 1)) >= 1
    assert max(lengths("lognormal:1000,10", 1000, 1)) == 1_000_000


def test_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "lengths"
    path.write_text("3\n\n5\n")
    assert set(lengths(f"file:{path}", 50, 1)) == {3, 5}


@pytest.mark.parametrize("text", ["uniform:1-900", "lognormal:100,1"])
def test_a_seed_repeats_them(text: str) -> None:
    assert lengths(text, 50, 3) == lengths(text, 50, 3)
    assert lengths(text, 50, 3) != lengths(text, 50, 4)


def ranks(values: Sequence[float]) -> list[int]:
    order = sorted(range(len(values)), key=lambda at: values[at])
    return sorted(range(len(values)), key=lambda place: order[place])


@pytest.mark.parametrize("shape", [0.5, 2])
def test_lengths_know_nothing_of_arrivals_and_of_each_other(shape: float) -> None:
    """From the same random numbers a long prompt came after a long pause: both are drawn pair by pair."""
    gaps, prompts, replies = list[int](), list[int](), list[int]()
    for seed in range(300):
        times = gamma(10, shape, 65, seed).times_s
        gaps += ranks([later - sooner for sooner, later in itertools.pairwise(times)])
        prompts += ranks(lengths("lognormal:200,0.5", 64, seed, "input"))
        replies += ranks(lengths("lognormal:200,0.5", 64, seed, "output"))
    for one, other in ((gaps, prompts), (gaps, replies), (prompts, replies)):
        assert abs(statistics.correlation(one, other)) < 0.03, "4 standard errors"


@pytest.mark.parametrize("text", [
    "", "0", "-1", "1.5", "x", "1000001", "uniform:5", "uniform:9-3", "uniform:0-3", "uniform:-",
    "lognormal:5", "lognormal:0,1", "lognormal:5,0", "lognormal:5,nan", "lognormal:5,x", "normal:5,1",
    "9" * 5000, "²",
])  # fmt: skip
def test_what_is_no_length(text: str) -> None:
    with pytest.raises(UsageError):
        lengths(text, 1, 1)


@pytest.mark.parametrize(
    ("content", "said"), [("3\nx\n", "2"), ("", "holds no length"), ("0\n", "no length")]
)
def test_a_file_without_lengths(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "lengths"
    path.write_text(content)
    with pytest.raises(ConfigError, match=said):
        lengths(f"file:{path}", 1, 1)
    with pytest.raises(ConfigError):
        lengths(f"file:{tmp_path}", 1, 1)


def test_the_mark_that_editors_write_is_no_length(tmp_path: Path) -> None:
    """A file that Windows saved was refused at its first line."""
    file = tmp_path / "lengths.txt"
    file.write_bytes(b"\xef\xbb\xbf5\r\n6\r\n")
    assert set(lengths(f"file:{file}", 50, 1)) == {5, 6}
