"""Rows with a prompt cache beside the row without one: which row that is, and the ratio of their costs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bench.plan.prompt_cache import CachedRow, Without, cached_rows
from bench.stats.intervals import Interval

RUNTIME = {"name": "vllm", "device": "cuda", "dtype": "bfloat16", "options": {"prefix_caching": True}}


def row(title: str, **more: Any) -> Any:
    settings = more.pop("settings", None)
    steps = ({"step": "x"}, {"server": {"settings": settings} if settings is not None else {}})
    known = {
        "title": title, "group": "", "model": {"name": "m"}, "optimisations": (), "workload": {"users": 2},
        "runtime": RUNTIME, "evidence": SimpleNamespace(steps=steps),
    }  # fmt: skip
    return SimpleNamespace(**{**known, **more})


def served(title: str, usd: float, hit_rate: float | None) -> Any:
    mix = SimpleNamespace(input_tokens=200.0)
    cost = Interval(usd, usd * 0.9, usd * 1.1)
    return SimpleNamespace(title=title, mix=mix, hit_rate=hit_rate, request_usd=cost)


def run(*rows: Any, ratio: Any = None) -> Any:
    return SimpleNamespace(rows=rows, baseline_of=lambda of: rows[0], comparison=lambda of, metric: ratio)


WITH, FRESH = row("with"), row("fresh")
SERVED = [served("fresh", 4.0, 0.0), served("with", 3.0, 0.25)]


def test_what_a_cache_saves() -> None:
    (found,) = cached_rows(run(FRESH, WITH), SERVED)
    assert found == CachedRow(
        "with", 0.25, 50.0, 200.0, SERVED[1].request_usd,
        Without("fresh", SERVED[0].request_usd, Interval(0.75, None, None)),
    )  # fmt: skip


def test_a_ratio_that_was_measured_comes_before_one_of_two_costs() -> None:
    measured = SimpleNamespace(ratio=0.7, ci_low=0.6, ci_high=0.8)
    (found,) = cached_rows(run(FRESH, WITH, ratio=measured), SERVED)
    assert found.without is not None
    assert found.without.ratio == Interval(0.7, 0.6, 0.8)


def test_the_baseline_is_the_first_choice() -> None:
    """A ratio is measured to the baseline only; the other row without a cache has the ratio of the costs."""
    rows, of_all = (row("first"), FRESH, WITH), [served("first", 5.0, 0.0), *SERVED]
    measured = SimpleNamespace(ratio=0.7, ci_low=0.6, ci_high=0.8)
    (found,) = cached_rows(run(*rows, ratio=measured), of_all)
    assert found.without is not None
    assert found.without.title == "first"
    (other,) = cached_rows(run(row("first", group="b"), FRESH, WITH, ratio=measured), of_all)
    assert other.without == Without("fresh", SERVED[0].request_usd, Interval(0.75, None, None))


@pytest.mark.parametrize(
    "changed",
    [{"group": "b"}, {"model": {"name": "n"}}, {"optimisations": ("x",)}, {"workload": {"users": 3}},
     {"runtime": {**RUNTIME, "name": "sglang"}}, {"runtime": {**RUNTIME, "device": "cpu"}},
     {"runtime": {**RUNTIME, "dtype": "float16"}}],
)  # fmt: skip
def test_a_row_that_differs_in_more_is_no_comparison(changed: dict[str, Any]) -> None:
    (found,) = cached_rows(run(row("fresh", **changed), WITH), SERVED)
    assert found.without is None


def test_the_engine_s_options_may_differ() -> None:
    other = row("fresh", runtime={**RUNTIME, "options": {}})
    assert cached_rows(run(other, WITH), SERVED)[0].without is not None


@pytest.mark.parametrize(
    ("settings", "hit_rate", "none"),
    [
        ({"prefix_caching": False}, 0.1, True),
        ({"prefix_caching": True}, 0.1, False),
        (None, None, False),  # it did not say
        ({}, 0.0, True),
    ],
)
def test_a_server_without_a_cache(
    settings: dict[str, bool] | None, hit_rate: float | None, none: bool
) -> None:
    rows = run(row("fresh", settings=settings), WITH)
    found = {one.title: one for one in cached_rows(rows, [served("fresh", 4.0, hit_rate), SERVED[1]])}
    assert (found["with"].without is not None) is none
    assert cached_rows(run(row("fresh", evidence=None), WITH), SERVED)[-1].without is not None
