"""The ratio of costs where both sides ran in turns: time, price and the tokens of each side, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import arm_record, pairs, run_record, timed_batch

from bench.metrics import cost, latency, unit_ratios
from bench.metrics.ratios import ratios_of
from bench.records import RunRecord


def run_of(tokens: int = 3, threads: int = 2) -> RunRecord:
    """A variant that takes half the time; the baseline has 10 + 3 tokens a request."""
    base = arm_record(solo=(timed_batch(0, [1, 2, 3], 3, [10], [[1, 2, 3]]),))
    solo = (timed_batch(0, [1, *range(2, tokens + 1)], tokens, [10], [[1] * tokens]),)
    variant = arm_record("v", solo=solo)
    assert variant.loaded is not None
    loaded = replace(variant.loaded, facts=replace(variant.loaded.facts, threads=threads))
    units = pairs(*[([[1000, 500, 500]], [[500, 250, 250]])] * 4)
    return run_record(base, replace(variant, loaded=loaded), units=units)


@pytest.mark.parametrize(
    ("tokens", "threads", "per_token", "per_request"),
    [
        (3, 2, 0.5, 0.5),
        (13, 2, 0.5 * 13 / 23, 0.5),  # more tokens share the cost of a request
        (3, 4, 1.0, 1.0),  # twice the processors for half the time
        (13, 4, 13 / 23, 1.0),
    ],
)
def test_the_cost_of_a_token_and_of_a_request(
    tokens: int, threads: int, per_token: float, per_request: float
) -> None:
    run = run_of(tokens, threads)
    found = {ratio.metric.key: ratio.interval.value for ratio in ratios_of(run, run.arms[1])}
    assert found[cost.PER_1K.key] == pytest.approx(per_token)
    assert found[cost.PER_REQUEST.key] == pytest.approx(per_request)
    assert found[latency.E2EL.key] == pytest.approx(0.5)


def test_nothing_is_compared_with_a_row_that_failed() -> None:
    run = run_of()
    base, variant = run.arms
    assert list(ratios_of(run, base)) == []
    for arms in ((replace(base, status="oom_host"), variant), (base, replace(variant, status="oom_host"))):
        assert list(ratios_of(replace(run, arms=arms), arms[1])) == []


def test_divisors_of_a_unit_s_times() -> None:
    """Two batches of two requests with three turns each: 4 requests, 2 batches, 4 steps, 12 output tokens."""
    batches = [[5, 1, 1], [6, 2, 2]]
    assert unit_ratios._per_request(batches, 4) == 4
    assert unit_ratios._per_batch(batches, 4) == 2
    assert unit_ratios._per_step(batches, 4) == 4
    assert unit_ratios._per_token(batches, 4) == 12
    assert (unit_ratios._whole(batches), unit_ratios._first(batches), unit_ratios._steps(batches)) == (
        17,
        11,
        6,
    )


def test_a_price_without_a_utilisation_is_of_every_hour() -> None:
    run = run_of()
    price = {key: value for key, value in run.price.items() if key != "utilisation"}
    assert cost.price_of(run.arms[0], replace(run, price=price)).utilisation == 1.0
