"""What was measured, as records: what they can be asked, and how a journal's own words are read."""

from __future__ import annotations

import pytest
from fakes import arm_record, drift_window, facts_record, run_record, timed_batch, unit

from bench.records import DriftWindow


@pytest.mark.parametrize(
    ("device", "on_gpu", "kind"), [("cpu", False, "cpu"), ("cuda", True, "cuda"), ("cuda:1", True, "cuda")]
)
def test_where_a_model_is(device: str, on_gpu: bool, kind: str) -> None:
    facts = facts_record(device=device)
    assert (facts.on_gpu, facts.kind_of_device) == (on_gpu, kind)


def test_times_of_a_batch_are_in_seconds() -> None:
    batch = timed_batch(100, [300, 400, 700], 800, [3, 4], [[1, 2, 3], [4, 5, 6]])
    assert batch.requests == 2
    assert (batch.prefill_s, batch.decode_s, batch.duration_s) == pytest.approx((0.2, 0.4, 0.7))


def test_windows_are_told_apart_by_their_values() -> None:
    one, same = (drift_window([0.1], [1], [-1.0], [-2.0]) for _ in range(2))
    other = drift_window([0.1], [1], [-1.0], [-2.5])
    assert tuple(dict.fromkeys([one, same, other])) == (one, other)
    assert DriftWindow((0.1,), (1,), (-1.0,), (-2.0,)).more == {}


def test_pairs_and_the_baseline_are_of_the_row_s_own_cell() -> None:
    rows = [arm_record(name, group=group) for group in ("", "cell") for name in ("baseline", "v")]
    units = (
        unit([[1, 1]], [[1, 1]], number=1),
        unit([[1, 1]], [[1, 1]], number=2, void="busy"),
        unit([[1, 1]], [[1, 1]], number=3, group="cell"),
    )
    run = run_record(*rows, units=units)
    assert [run.valid_units_of(row) for row in rows] == [(), units[:1], (), units[2:]]
    assert [run.baseline_of(row) for row in rows] == [rows[0], rows[0], rows[2], rows[2]]
    assert run_record(rows[1]).baseline_of(rows[1]) is None
