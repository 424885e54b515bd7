"""A project's history: a lasting change is found, noise is none, unlike runs are kept apart."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from typing import Any

import pytest

from bench.errors import UsageError
from bench.metrics import cost, output_drift
from bench.results.history import FEWEST, histories, render
from bench.results.run_summary import RunSummary

KEY = cost.PER_1K.key


def run(number: int, value: float | None, **more: Any) -> RunSummary:
    figure = cost.PER_1K.scalar(value)
    row = {
        "group": "", "name": "baseline", "is_baseline": True, "status": "ok", "reason": "",
        "workload": {"requests": 4}, "runtime": {"threads": 1}, "optimisations": [],
        "model": {"location": "m"}, "evidence": None, "facts": None, "drift": {},
        "metrics": {KEY: figure.to_json() if figure else None}, **more.pop("row", {}),
    }  # fmt: skip
    return RunSummary.from_json({
        "run_id": f"run-{number:03d}", "started_utc": f"2026-01-01T00:{number:02d}:00Z", "name": "ci",
        "machine": {"cpu_model": "a", "cpus": 2, "packages": {"torch": str(number)}},
        "price": {"usd_per_hour": 1.0}, "variants": [row], "schema_version": 1, "finished_utc": None,
        "status": "ok", "reasons": [], "harness": {}, "spec": {}, "spec_digest": "", "model": None,
        "text": {}, "comparisons": [], **more,
    })  # fmt: skip


def noisy(count: int, level: float, seed: int, start: int = 0) -> list[RunSummary]:
    draw = random.Random(seed)
    return [run(start + i, level * (1 + draw.gauss(0, 0.005))) for i in range(count)]


def test_a_lasting_increase_is_found_where_it_began() -> None:
    (series,) = histories([*noisy(12, 1.0, 1), *noisy(12, 1.03, 2, start=12)], [KEY])
    assert series.changes is not None
    (change,) = series.changes
    assert change.run_id == "run-012"
    assert change.after / change.before == pytest.approx(1.03, abs=0.005)
    assert change.p_value < 0.001
    assert "from run-012" in render([series])
    assert "+3" in render([series]) or "+2.9" in render([series])


def test_five_small_steps_that_a_gate_lets_pass() -> None:
    steps = [one for i in range(6) for one in noisy(8, 1.007**i, 10 + i, start=8 * i)]
    (series,) = histories(steps, [KEY])
    assert series.changes
    assert series.changes[-1].after / series.changes[0].before > 1.02


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_no_change(seed: int) -> None:
    (series,) = histories(noisy(30, 1.0, seed), [KEY])
    assert series.changes == ()


def test_the_order_is_that_of_time() -> None:
    runs = [*noisy(8, 1.0, 1), *noisy(8, 1.1, 2, start=8)]
    (series,) = histories(reversed(runs), [KEY])
    assert series.runs[0] == "run-000"
    assert series.changes


def test_unlike_conditions_are_series_of_their_own() -> None:
    runs = [
        *noisy(3, 1.0, 1),
        run(3, 1.0, machine={"cpu_model": "b"}),
        run(4, 1.0, price={"usd_per_hour": 2.0}),
    ]
    assert [len(one.values) for one in histories(runs, [KEY])] == [3, 1, 1]


@pytest.mark.parametrize(
    "other",
    [
        {"price": {"usd_per_hour": 1.0, "vcpus": 4}},
        {"inputs": {"elsewhere/prompts.jsonl": "b"}},
        {"row": {"prompts_sha256": "b"}},
    ],
    ids=["vcpus", "file", "prompts"],
)
def test_what_makes_two_runs_incomparable_makes_two_series(other: dict[str, Any]) -> None:
    known = {"inputs": {"here/prompts.jsonl": "a"}, "row": {"prompts_sha256": "a"}}
    same = [run(1, 1.0, **known), run(2, 1.0, **{**known, "inputs": {"there/prompts.jsonl": "a"}})]
    assert [len(one.values) for one in histories(same, [KEY])] == [2]
    assert [len(one.values) for one in histories([*same, run(3, 2.0, **{**known, **other})], [KEY])] == [2, 1]


def pruned(number: int, *, text: str = "a", window: int = 64, dtype: str = "float32") -> RunSummary:
    """Return a run with a variant that has a cost and a KL."""
    kld = output_drift.KLD.scalar(0.1)
    assert kld is not None
    variant = {"name": "pruned", "is_baseline": False, "drift": {output_drift.KLD.key: kld.to_json()}}
    baseline = run(number, 1.0, row={"runtime": {"dtype": dtype}})
    whole = run(
        number, 1.0, row=variant, text={"sha256": text}, spec={"drift": {"tokens": 512, "window": window}}
    )
    return replace(whole, rows=(*baseline.rows, *whole.rows))


@pytest.mark.parametrize("other", [{"text": "b"}, {"window": 128}, {"dtype": "bfloat16"}])
def test_drift_from_another_baseline_or_on_another_text_is_another_series(other: dict[str, Any]) -> None:
    runs = [pruned(1), pruned(2), pruned(3, **other)]
    assert [len(one.values) for one in histories(runs, [output_drift.KLD.key])] == [2, 1]


def test_another_text_leaves_the_history_of_a_cost() -> None:
    lengths = [len(one.values) for one in histories([pruned(1), pruned(2, text="b")], [KEY])]
    assert lengths == [2, 2]  # the baseline and the variant


def test_too_few_runs_and_missing_values() -> None:
    runs = [*noisy(FEWEST - 1, 1.0, 1), run(20, None), run(21, 1.0, row={"status": "timeout"})]
    (series,) = histories(runs, [KEY])
    assert series.changes is None
    assert render([series]).endswith(f"at most: too few to look for changes, {FEWEST} are needed")
    assert render([series] * 3).startswith("3 figures of variants have ")
    assert len(render([series] * 3).splitlines()) == 1


def test_without_otava(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "otava.analysis", None)
    with pytest.raises(UsageError, match="pip install"):
        histories(noisy(10, 1.0, 1), [KEY])
