"""The figures of a model in two processes, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import arm_record, run_record, timed_batch

from bench.metrics import split
from bench.records import SplitPhase, SplitWork

PREFILL = SplitPhase(2, 20, 0.02, 0.03, 0.1, 0.1, 0.01, 5000, 56)
DECODE = SplitPhase(6, 6, 0.012, 0.018, 0.6, 0.6, 0.006, 1600, 168)
WORK = SplitWork(10, 20, (1, 2), 64, PREFILL, DECODE, 0.01, 3.6, 0.09)
SOLO = tuple(
    timed_batch(400 * i, [400 * i + ms for ms in (80, 180, 290, 400)], 400 * (i + 1), [10], [[5] * 4])
    for i in range(2)
)


def figures(work: SplitWork | None) -> dict[str, float | None]:
    run = run_record(arm_record(solo=SOLO), arm_record("v", solo=SOLO, split=work))
    return {key: one and one.value for key, one in split.figures(run.arms[1], run).items()}


def test_a_step_is_the_sum_of_its_parts() -> None:
    found = figures(WORK)
    assert found["split_prompt_ms"] == pytest.approx(1000 * 0.16 / 2)
    assert found["split_step_ms"] == pytest.approx(1000 * 0.636 / 6)


def test_the_bytes_of_a_token_are_those_of_both_phases_and_directions() -> None:
    assert figures(WORK)["split_bytes_per_token"] == (5000 + 1600 + 56 + 168) / 8


def test_both_sides_are_paid() -> None:
    """0.8 s of the edge at 0.01 USD an hour, 48 ms of the cloud at 3.60, 224 bytes at 0.09 USD a gigabyte."""
    usd = 0.01 * 0.8 / 3600 + 3.6 * 0.048 / 3600 + 0.09 * 224 / 1e9
    assert figures(WORK)["split_cost_per_1k_tokens_usd"] == pytest.approx(1000 * usd / 28)
    without = figures(replace(WORK, egress_usd_per_gb=None))["split_cost_per_1k_tokens_usd"]
    assert without == pytest.approx(1000 * (usd - 0.09 * 224 / 1e9) / 28)


@pytest.mark.parametrize("missing", ["edge_usd_per_hour", "cloud_usd_per_hour"])
def test_a_side_without_a_price_is_not_free(missing: str) -> None:
    assert figures(replace(WORK, **{missing: None}))["split_cost_per_1k_tokens_usd"] is None


def test_a_model_in_one_process_has_none() -> None:
    assert set(figures(None).values()) == {None}


def test_the_parts_are_in_the_notes() -> None:
    run = run_record(arm_record(solo=SOLO), arm_record("v", solo=SOLO, split=WORK))
    step = split.figures(run.arms[1], run)["split_step_ms"]
    assert step is not None
    parts = sum(step.notes[part] for part in ("edge_s", "cloud_s", "link_s", "socket_s"))
    assert 1000 * parts == pytest.approx(step.value)
    assert step.notes["received_bytes"] == 28
