"""Further statistics of drift as figures: those that a run wanted, of the windows that have them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import arm_record, drift_window, run_record

from bench.drift.statistics import jensen_shannon
from bench.metrics import drift_keys, drift_statistics, families
from bench.records import ArmRecord, DriftWindow, RunRecord
from bench.results.summarise import summarise

NAME, KEY = "jensen-shannon", jensen_shannon.METRIC.key
VALUES = ((0.1, 0.3), (0.2, 0.4), (0.0, 0.2), (0.1, 0.1), (0.3, 0.3))


def window(values: tuple[float, ...]) -> DriftWindow:
    plain = drift_window([0.1] * len(values), [1] * len(values), [-1.0] * len(values), [-1.0] * len(values))
    return replace(plain, more={NAME: values})


VARIANT = arm_record("v", drift=tuple(map(window, VALUES)))


def run_of(*arms: ArmRecord) -> RunRecord:
    spec = {"drift": {"tokens": 15, "window": 3}}
    return replace(run_record(*arms), spec=spec, text={"name": "english", "sha256": "01"})


def test_a_statistic_is_of_the_windows_and_says_so() -> None:
    found = drift_statistics.figures(VARIANT, run_of(arm_record(), VARIANT))[KEY]
    assert found is not None
    assert found.interval == jensen_shannon.figure(VALUES)
    assert found.value == pytest.approx(0.2)
    assert found.notes == {"n": 10, "windows": 5, "window": 3, "text": "english", "asked": 15}


def test_none_where_the_run_did_not_want_it_and_for_a_baseline() -> None:
    plain = replace(VARIANT, drift=tuple(replace(one, more={}) for one in VARIANT.drift))
    for arm in (plain, replace(VARIANT, drift=()), arm_record()):
        found = drift_statistics.figures(arm, run_of(arm_record(), arm))
        assert found == dict.fromkeys(metric.key for metric in drift_statistics.METRICS)


def test_it_stands_among_drift_in_the_summary() -> None:
    assert drift_statistics in families()
    assert KEY in drift_keys()
    _base, row = summarise(run_of(arm_record(), VARIANT)).rows
    assert row.drift[KEY] is not None
    assert KEY not in row.metrics
    assert row.figure(KEY) is row.figure(jensen_shannon.METRIC) is row.drift[KEY]


def test_windows_with_other_values_beside_them_are_the_same_text() -> None:
    """What tells windows apart is what each of them has."""
    plain = replace(window((0.1, 0.2)), more={})
    assert hash(window((0.1, 0.2))) == hash(plain)
    assert window((0.1, 0.2)) != plain
