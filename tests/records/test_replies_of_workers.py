"""What follows from a worker's reply: peaks, joules, a split pass, and how records become JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fakes import timed_batch, unit

from bench.records import EnergyReading, MemoryPeaks
from bench.records.json_form import plain
from bench.records.splits import SplitPhase

PEAKS = MemoryPeaks({"rss": 5, "gpu": None}, {"rss": 7, "gpu": 3})


@pytest.mark.parametrize(
    ("kind", "by_phase", "largest"),
    [
        ("rss", {"prefill": 5.0, "decode": 7.0}, 7.0),
        ("gpu", {"prefill": None, "decode": 3.0}, 3.0),
        ("unknown", {"prefill": None, "decode": None}, None),
    ],
)
def test_the_larger_of_two_peaks(kind: str, by_phase: dict[str, float | None], largest: float | None) -> None:
    assert PEAKS.by_phase(kind) == by_phase
    assert PEAKS.largest(kind) == largest


def test_a_server_has_one_phase() -> None:
    served = replace(PEAKS, served={"rss": 6})
    assert served.by_phase("rss") == {"under load": 6.0}
    assert (served.largest("rss"), served.largest("gpu")) == (6.0, None)


def test_joules_that_are_not_valid_are_none() -> None:
    reading = EnergyReading(12.5, True, "ok", "")
    assert reading.joules == 12.5
    assert replace(reading, energy_valid=False).joules is None
    assert replace(reading, energy_j=None).joules is None


def test_a_pass_is_the_sum_of_its_parts() -> None:
    assert SplitPhase(edge_s=1, cloud_s=2, link_s=4, link_asked_s=8, socket_s=16).total_s == 23


@pytest.mark.parametrize(("stamps", "whole"), [([5], True), ([5, 6], False)])
def test_an_answer_that_came_all_at_once(stamps: list[float], whole: bool) -> None:
    assert timed_batch(0, stamps, 9, [1], [[1, 2]]).whole is whole


@pytest.mark.parametrize(("design", "apart"), [("steps", False), ("requests", False), ("abba", True)])
def test_sides_that_ran_one_after_the_other(design: str, apart: bool) -> None:
    assert unit([[1]], [[1]], design=design).apart is apart


def test_nested_records_become_json() -> None:
    batch = timed_batch(0, [1], 2, [3], [[4]])
    found = json.loads(json.dumps({"at": batch}, default=plain))
    assert found["at"]["sent_ns"] == 0
    assert found["at"]["tokens"] == [[4]]
    for other in (object(), EnergyReading, {1, 2}):
        with pytest.raises(TypeError, match="cannot be written as JSON"):
            plain(other)
