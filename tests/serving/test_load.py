"""Loads against the stub: schedules are kept, the client is measured, and a server that dies ends it."""

from __future__ import annotations

import asyncio
import gc
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from running_stub import running
from samples_of_serving import sample

from bench.errors import BenchError, IntegrityError, UsageError
from bench.metrics.requests import Limits
from bench.records.loads import ClientOverhead
from bench.records.samples import Sample
from bench.serving import load as module
from bench.serving import record
from bench.serving import search_run as searched_module
from bench.serving.address import Address, Secret
from bench.serving.arrivals import ClosedLoop, OpenLoop, Schedule, at_once, constant
from bench.serving.capacity_search import highest_rate, judge
from bench.serving.client import Settings
from bench.serving.client_overhead import tail
from bench.serving.load import INTERRUPTED, Load, load, run
from bench.serving.prompts import by_words, tokenizer_of
from bench.serving.reply import Asked

REAL_NO_COLLECTION = module._no_collection
HONEST = ClientOverhead(0.1, 0.2, 0.3, 0.1, 0.2, 0.1, "asyncio")


def loaded(server: Address, model: str, schedule: Schedule, **more: object) -> Load:
    asked = by_words([(5, 4)] * schedule.requests, 1)
    settings = replace(Settings(server, model, timeout_s=20), **more)  # type: ignore[arg-type]
    return run(load(settings, schedule, asked))


def together(samples: tuple[Sample, ...]) -> int:
    """The most requests that were under way at one time."""
    changes = sorted([(one.sent_ns, 1) for one in samples] + [(one.end_ns, -1) for one in samples])
    under_way = most = 0
    for _, change in changes:
        under_way += change
        most = max(most, under_way)
    return most


def test_a_closed_loop_has_so_many_users(stub: Address) -> None:
    found = loaded(stub, "ttft=20,gap=2,tokens=4", ClosedLoop(3, 12))
    assert [one.number for one in found.samples] == list(range(12))
    assert all(one.ok for one in found.samples)
    assert together(found.samples) == 3


def test_an_open_loop_does_not_wait(stub: Address) -> None:
    found = loaded(stub, "ttft=400,tokens=1", constant(50, 10))
    first = found.samples[0].scheduled_ns
    assert [round((one.scheduled_ns - first) / 1e6) for one in found.samples] == [20 * n for n in range(10)]
    assert all(one.sent_ns >= one.scheduled_ns for one in found.samples)
    assert together(found.samples) > 3


def test_all_at_once(stub: Address) -> None:
    found = loaded(stub, "ttft=300,gap=1", at_once(8))
    assert len({one.scheduled_ns for one in found.samples}) == 1
    assert together(found.samples) == 8


def test_failures_are_samples(stub: Address) -> None:
    found = loaded(stub, "mode=status,status=500", ClosedLoop(2, 6))
    assert [one.status for one in found.samples] == ["failed"] * 6
    assert found.stopped == ""


def test_a_server_that_is_gone_ends_the_load() -> None:
    with running("--die-after", "5") as server:
        settings, asked = Settings(server, "gap=1", timeout_s=20), by_words([(5, 4)] * 40, 1)
        found = run(load(settings, ClosedLoop(2, 40), asked, gone=lambda: "the server died (exit code 3)"))
    assert 0 < len(found.samples) < 40
    assert found.invalid[-1] == "the server died (exit code 3)"


def test_as_many_prompts_as_requests(stub: Address) -> None:
    with pytest.raises(UsageError, match="1 prompts for 2 requests"):
        run(load(Settings(stub, "x"), ClosedLoop(1, 2), [Asked("a", 1, 1)]))


def test_the_tokenizer_of_a_server(stub: Address) -> None:
    async def counted() -> int | None:
        count = await tokenizer_of(stub, "x", None)
        return None if count is None else await count("one two three four")

    assert run(counted()) == 4


# ---- the client ----


@pytest.mark.parametrize(
    ("client", "words"),
    [
        (replace(HONEST, late_p99_ms=5.1), "sent 5.1 ms late"),
        (replace(HONEST, lag_p99_ms=12.0), "event loop was 12.0 ms late"),
        (replace(HONEST, cpu_share=0.95), "used 95% of a core"),
    ],
)
def test_a_client_that_was_the_bottleneck(client: ClientOverhead, words: str) -> None:
    (reason,) = Load((sample(0),), client).invalid
    assert "the client was the bottleneck" in reason
    assert words in reason


@pytest.mark.parametrize(
    ("n", "late", "counted"), [(1, 1, 9), (2, 1, 0), (14, 1, 0), (14, 2, 9), (300, 3, 0), (300, 4, 9)]
)
def test_one_late_request_of_a_few_says_nothing(n: int, late: int, counted: float) -> None:
    assert tail([0.0] * (n - late) + [9.0] * late) == counted


def test_an_honest_client() -> None:
    assert Load((sample(0),), HONEST).invalid == ()


# ---- what is kept ----


def kept(directory: Path, secret: Secret | None = None, **more: object) -> record.Result:
    done = Load(tuple(sample(one, scheduled=50 * one, **more) for one in range(250)), HONEST)
    found = record.result({"target": "t", "model": "m", "schedule": "s"}, done, Limits({"ttft": 500}), None)
    record.write(directory, found, lambda: "2026-01-01T00:00:00Z", secret)
    return found


def test_everything_is_computed_again_from_the_journal(tmp_path: Path) -> None:
    found = kept(tmp_path)
    head, done, limits, price, drift = record.read(tmp_path)
    assert drift is None
    assert record.result(head, done, Limits(limits), price) == found
    assert json.loads((tmp_path / record.SUMMARY).read_text()) == found.to_json()


def test_a_journal_that_was_changed_is_refused(tmp_path: Path) -> None:
    kept(tmp_path)
    path = tmp_path / record.JOURNAL
    path.write_bytes(path.read_bytes().replace(b'"n_in":10', b'"n_in":99', 1))
    with pytest.raises(IntegrityError):
        record.read(tmp_path)


def test_a_key_is_written_nowhere(tmp_path: Path) -> None:
    secret = Secret("A_KEY", "sk-planted-0123456789")
    with pytest.raises(BenchError, match="nothing was written") as bad:
        kept(tmp_path, secret, reason=f"401: {secret.reveal()}")
    assert secret.reveal() not in str(bad.value)
    assert list(tmp_path.iterdir()) == []


# ---- search ----


def answered(rate: float, requests: int, capacity: float) -> Load:
    """A server with a sharp end: below its capacity all is good, above it half of the requests are late."""
    late = rate > capacity
    samples = [sample(one, ttft=900 if late and one % 2 else 100) for one in range(requests)]
    return Load(tuple(samples), HONEST)


@pytest.mark.parametrize("capacity", [0.3, 1.0, 7.7, 200.0])
def test_the_highest_rate_is_found(capacity: float) -> None:
    async def attempt(rate: float, requests: int) -> Load:
        return answered(rate, requests, capacity)

    found = run(highest_rate(attempt, Limits({"ttft": 500}), 0.9, 1.0))
    assert found.holds is not None
    assert found.fails is not None
    assert found.holds <= capacity < found.fails
    assert found.fails / found.holds <= 1.06
    assert all(step.requests >= 44 for step in found.steps)


def test_a_client_that_is_the_bottleneck_ends_the_search() -> None:
    async def attempt(rate: float, requests: int) -> Load:
        return replace(answered(rate, requests, 1e9), client=replace(HONEST, cpu_share=rate / 8))

    found = run(highest_rate(attempt, Limits({"ttft": 500}), 0.9, 1.0))
    assert (found.holds, found.fails) == (4.0, None)
    assert "bottleneck" in found.why


@pytest.mark.parametrize(
    ("bad", "n", "said"), [(0, 44, "holds"), (1, 44, "too few requests to say"), (20, 44, "fails")]
)
def test_a_load_is_judged_by_the_rule(bad: int, n: int, said: str) -> None:
    done = Load(tuple(sample(one, ttft=900 if one < bad else 100) for one in range(n)), HONEST)
    assert judge(done, Limits({"ttft": 500}), 0.9).found == said


def test_more_requests_are_needed_than_are_allowed() -> None:
    async def attempt(rate: float, requests: int) -> Load:
        raise AssertionError("nothing is measured")

    with pytest.raises(UsageError, match="at least 459"):
        run(highest_rate(attempt, Limits({"ttft": 500}), 0.99, 1.0, most_requests=100))


def test_a_server_that_never_keeps_its_limits_is_not_asked_ever_more_slowly() -> None:
    """Each halving of the rate doubles the time of a load."""
    rates: list[float] = []

    async def attempt(rate: float, requests: int) -> Load:
        rates.append(rate)
        return answered(rate, requests, 0.0)

    found = run(highest_rate(attempt, Limits({"ttft": 500}), 0.9, 1.0))
    assert found.holds is None
    assert "its load would take more than a day" in found.why
    assert 44 / min(rates) < 86_400
    with pytest.raises(UsageError, match="begin with a higher rate"):
        run(highest_rate(attempt, Limits({"ttft": 500}), 0.9, 1e-6))


def test_a_schedule_out_of_order() -> None:
    with pytest.raises(UsageError, match="in order"):
        OpenLoop((1.0, 0.5), "x")


def test_no_garbage_is_collected_during_a_load() -> None:
    with REAL_NO_COLLECTION():
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.parametrize("within", ["a load", "prompts"])
def test_a_search_that_is_interrupted_keeps_what_held(within: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third load is cut off, or never begins: the second rate held, and need not be the highest."""
    begun: list[float] = []

    def plan(rate: float, requests: int, _attempt: int) -> Any:
        begun.append(rate)
        return SimpleNamespace(lengths=(), schedule=requests)

    async def prompts(_lengths: object) -> list[Asked]:
        if within == "prompts" and len(begun) == 3:
            raise asyncio.CancelledError
        return []

    async def answering(_settings: object, requests: int, *_more: object) -> Load:
        done = answered(begun[-1], requests, 1e9)
        return replace(done, samples=done.samples[:5], stopped=INTERRUPTED) if len(begun) == 3 else done

    monkeypatch.setattr(searched_module, "load", answering)
    target: Any = SimpleNamespace(settings=None, gone=None)
    asking: Any = SimpleNamespace(of=prompts)
    found = run(searched_module.searched(target, plan, Limits({"ttft": 500}), 0.9, 1.0, asking))
    assert begun == [1.0, 2.0, 4.0]
    assert found.capacity.holds == 2.0
    assert found.load.stopped == INTERRUPTED
    assert len(found.load.samples) == found.capacity.steps[1].requests
    assert found.capacity.steps[2].requests == (5 if within == "a load" else 0)
