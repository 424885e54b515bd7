"""Schedules: their rates and shapes, traces with other tools' column names, and prompts that are unique."""

from __future__ import annotations

import asyncio
import json
import statistics
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import ConfigError, UsageError
from bench.serving.arrivals import ClosedLoop, OpenLoop, at_once, constant, gamma, poisson
from bench.serving.prompts import by_tokens, by_words
from bench.serving.traces import read_trace


def gaps(schedule: OpenLoop) -> list[float]:
    return [b - a for a, b in pairwise(schedule.times_s)]


@pytest.mark.parametrize(
    ("schedule", "variation"),
    [
        (constant(5, 4000), 0.0), (poisson(5, 4000, 1), 1.0), (gamma(5, 1, 4000, 1), 1.0),
        (gamma(5, 0.25, 4000, 1), 2.0), (gamma(5, 4, 4000, 1), 0.5),
    ],
    ids=lambda one: one.name if isinstance(one, OpenLoop) else str(one),
)  # fmt: skip
def test_the_rate_and_the_variation(schedule: OpenLoop, variation: float) -> None:
    found = gaps(schedule)
    assert schedule.times_s[0] == 0
    assert statistics.fmean(found) == pytest.approx(0.2, rel=0.1)
    assert statistics.pstdev(found) / statistics.fmean(found) == pytest.approx(variation, rel=0.1, abs=1e-9)


@given(st.floats(1e-3, 1e3), st.floats(0.05, 20), st.integers(1, 50), st.integers(0, 2**32))
def test_arrivals_are_in_order_and_the_seed_decides(rate: float, burst: float, n: int, seed: int) -> None:
    one = gamma(rate, burst, n, seed)
    assert one.requests == n
    assert list(one.times_s) == sorted(one.times_s)
    assert one == gamma(rate, burst, n, seed)


def test_all_at_once() -> None:
    assert at_once(3).times_s == (0, 0, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: constant(0, 5), lambda: constant(-1, 5), lambda: poisson(float("nan"), 5, 0),
        lambda: at_once(0),
        lambda: constant(1e-6, 9), lambda: poisson(1e-300, 5, 0), lambda: gamma(1e-200, 1e-200, 5, 0),
        lambda: ClosedLoop(-(10**20), 5),
        lambda: ClosedLoop(1, 27_000, turns=100, pause_s=600.0),
        lambda: gamma(1, 0, 5, 0), lambda: ClosedLoop(0, 5), lambda: ClosedLoop(1, 0), lambda: at_once(10**7),
    ],
)  # fmt: skip
def test_a_schedule_that_is_none(make: object) -> None:
    assert callable(make)
    with pytest.raises(UsageError):
        make()


# ---- traces ----

MOONCAKE = [
    {"timestamp": 3052, "input_length": 7, "output_length": 3, "hash_ids": [1]},
    {"timestamp": 1052, "input_length": 5, "output_length": 2, "hash_ids": [0]},
]
BURST_GPT = [
    {"Timestamp": 5, "Model": "x", "Request tokens": 5, "Response tokens": 2, "Total tokens": 7},
    {"Timestamp": 7, "Model": "x", "Request tokens": 7, "Response tokens": 3, "Total tokens": 10},
]
OURS = [
    {"arrival_s": 0.5, "input_tokens": 5, "output_tokens": 2},
    {"arrival_s": 2.5, "input_tokens": 7, "output_tokens": 3},
]


def written(tmp_path: Path, rows: list[dict[str, object]]) -> Path:
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("rows", [MOONCAKE, BURST_GPT, OURS], ids=["Mooncake", "BurstGPT", "ours"])
def test_a_trace_is_read(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    found = read_trace(written(tmp_path, rows))
    assert found.schedule.times_s == pytest.approx((0, 2))
    assert found.lengths == ((5, 2), (7, 3))
    assert read_trace(written(tmp_path, rows), speed=4).schedule.times_s == pytest.approx((0, 0.5))
    assert read_trace(written(tmp_path, rows), most=1).lengths == ((5, 2),)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{", "is not JSON"), ("[]", "not an object"),
        ('{"input_tokens": 1}', "arrival_s or timestamp or Timestamp"),
        ('{"arrival_s": NaN, "input_tokens": 1, "output_tokens": 1}', "arrival_s: no time"),
        ('{"arrival_s": -1, "input_tokens": 1, "output_tokens": 1}', "arrival_s: no time"),
        ('{"arrival_s": 1, "input_tokens": 0, "output_tokens": 1}', "input_tokens: no number"),
        ('{"arrival_s": 1, "input_tokens": "5", "output_tokens": 1}', "input_tokens: no number"),
        ('{"arrival_s": 1, "timestamp": 1, "input_tokens": 5, "output_tokens": 1}', "beside timestamp"),
    ],
)  # fmt: skip
def test_a_bad_line_of_a_trace_is_named(tmp_path: Path, row: str, words: str) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(json.dumps(OURS[0]) + "\n" + row + "\n")
    with pytest.raises(ConfigError, match=words) as bad:
        read_trace(path)
    assert f"{path}:2" in str(bad.value)


@pytest.mark.parametrize("line", ["[" + "[]," * 400_000 + "1]", " " * (1 << 20)], ids=["lists", "blanks"])
def test_a_line_of_a_trace_has_a_bound(tmp_path: Path, line: str) -> None:
    """A line of 256 MB of empty lists took five gigabytes."""
    path = tmp_path / "trace.jsonl"
    path.write_text(json.dumps(OURS[0]) + "\n" + line + "\n")
    with pytest.raises(ConfigError, match="has 1 MiB or more") as bad:
        read_trace(path)
    assert f"{path}:2" in str(bad.value)


@pytest.mark.parametrize("make", ["missing", "empty", "directory"])
def test_a_trace_that_is_none(tmp_path: Path, make: str) -> None:
    path = tmp_path / "trace.jsonl"
    if make == "empty":
        path.write_text("\n")
    elif make == "directory":
        path.mkdir()
    with pytest.raises(ConfigError, match=str(path)):
        read_trace(path)


# ---- prompts ----


def test_prompts_are_unique_within_a_run_and_between_runs() -> None:
    prompts = [one.prompt for seed in (1, 2) for one in by_words([(20, 4)] * 200, seed)]
    assert len({" ".join(prompt.split()[:8]) for prompt in prompts}) == 400
    assert {len(prompt.split()) for prompt in prompts} == {20}


def test_prompts_have_the_length_that_the_tokenizer_says() -> None:
    async def count(text: str) -> int:
        """A tokenizer with a mark at the begin, and two tokens for a long word."""
        return 1 + sum(1 + (len(word) > 6) for word in text.split())

    found = asyncio.run(by_tokens([(40, 4), (3, 1)] * 20, 7, count))
    assert max(abs(one.input_tokens - wanted) for one, wanted in zip(found, [40, 3] * 20, strict=True)) <= 1
    assert [one.input_tokens for one in found] == [asyncio.run(count(one.prompt)) for one in found]


@pytest.mark.parametrize("says", [0, 1, 10**6])
def test_a_tokenizer_that_counts_nonsense_makes_no_endless_prompt(says: int) -> None:
    """A server that finds one token in every text would be sent ever longer ones."""

    async def count(text: str) -> int:
        assert len(text.split()) <= 8 * 50 + 1
        return says

    found = asyncio.run(by_tokens([(50, 4)], 7, count))
    assert [one.input_tokens for one in found] == [says]
