"""What probes have found, as figures of a row."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fakes import FakeEngine, arm_record, run_record

from bench import plugins
from bench.metrics import drift_keys, families, probed
from bench.probes import page_faults
from bench.records import ArmRecord
from bench.results.summarise import summarise
from bench.stats.figure import Figures

MINOR, MAJOR = page_faults.MINOR.key, page_faults.MAJOR.key


def figures(**probes: dict[str, float | None]) -> Figures:
    return probed.figures(probing(**probes), run_record())


def probing(**probes: dict[str, float | None]) -> ArmRecord:
    """A row of which these probes have found this."""
    return arm_record(probes={name.replace("_", "-"): said for name, said in probes.items()})


def test_each_number_stands_under_the_metric_of_its_probe() -> None:
    found = figures(page_faults={MINOR: 12.5, MAJOR: 0.0})
    assert found[MINOR] == page_faults.MINOR.scalar(12.5)
    assert found[MAJOR] == page_faults.MAJOR.scalar(0.0)
    assert set(found) == {metric.key for metric in probed.METRICS}


def test_what_was_not_found_is_none_and_never_nought() -> None:
    nothing = dict.fromkeys(metric.key for metric in probed.METRICS)
    assert figures() == figures(page_faults={}) == figures(page_faults={MINOR: None}) == nothing


def test_a_probe_that_is_not_known_here_gives_no_figure() -> None:
    """A journal of a machine on which another package brought one."""
    assert figures(her_probe={"her_number": 1.0}) == figures()


def test_they_stand_among_the_metrics_of_a_row() -> None:
    assert probed in families()
    (row,) = summarise(run_record(probing(page_faults={MINOR: 3.0}))).rows
    assert row.metrics[MINOR] == page_faults.MINOR.scalar(3.0)
    assert row.metrics[MAJOR] is None
    assert not drift_keys() & {metric.key for metric in probed.METRICS}


@pytest.mark.parametrize("name", plugins.names("probes"))
def test_a_probe_measures_its_own_metrics(name: str) -> None:
    """A reply is decoded as a request is, and every number that comes back has a metric."""
    module, engine = plugins.load("probes", name), FakeEngine()
    found = module.measure(engine, [[1, 2, 3], [4, 5]], 4)
    assert set(found) <= {metric.key for metric in module.METRICS}
    assert all(value is None or value >= 0 for value in found.values())
    assert [kind for kind, _number in engine.log] == ["prefill", "step", "step", "step"]


def test_page_faults_are_those_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([SimpleNamespace(ru_minflt=100, ru_majflt=3), SimpleNamespace(ru_minflt=140, ru_majflt=4)])
    monkeypatch.setattr("resource.getrusage", lambda who: next(seen))
    assert page_faults.measure(FakeEngine(), [[1], [2], [3], [4]], 2) == {MINOR: 10.0, MAJOR: 0.25}
