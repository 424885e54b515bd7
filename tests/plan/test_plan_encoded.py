"""Plans of encoders: texts a second as measured, machines and dollars by hand, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main  # it registers every command in its order
from bench.cli.encoder_plan import encoder_plan
from bench.cli.plan_options import PlanOptions
from bench.errors import UsageError
from bench.metrics import energy, latency, throughput
from bench.plan.encoded import is_of_encoders, planned_encoders
from bench.plan.fleet import Stream
from bench.plan.served import served_rows
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.results.summary import load_run

QUICKSTART = Path(__file__).resolve().parents[2] / "results" / "reference" / "quickstart-no-bf16"
NONE = (
    throughput.OUTPUT,
    throughput.PREFILL,
    throughput.DECODE,
    latency.TTFT,
    latency.TPOT,
    energy.PER_REQUEST,
)
TEXTS = 50.0  # a second: a text takes 20 ms of a server's time


def encoder(row: Row) -> Row:
    """The row as one of an encoder: it reads fifty texts a second in batches of four."""
    requests = row.figure(throughput.REQUESTS)
    assert requests is not None
    metrics = {**row.metrics, **{metric.key: None for metric in NONE}}
    metrics[throughput.REQUESTS.key] = replace(requests, value=TEXTS, ci_low=40.0, ci_high=62.5)
    workload = {**row.workload, "batch_size": 4}
    return replace(
        row, runtime={**row.runtime, "task": "embedding"}, metrics=metrics, workload=workload, drift={}
    )


@pytest.fixture(scope="module")
def run() -> RunSummary:
    found = load_run(QUICKSTART)
    rows = tuple(encoder(row) for row in found.rows if row.ok)
    price = {**found.price, "utilisation": 1.0}
    return replace(found, rows=rows, comparisons=(), price=price)


def asked(**more: Any) -> PlanOptions:
    return PlanOptions(run=QUICKSTART, **{"requests_per_day": 8_640_000.0, **more})


def test_by_hand(run: RunSummary) -> None:
    """100 texts a second, of which a server of 50 takes 40: three servers, each a machine or a part."""
    first, *_others = planned_encoders(run, Stream(8_640_000, 1, 1))
    assert (first.batch, first.batch_s) == (4, pytest.approx(0.08))
    assert (first.texts_per_s.low, first.texts_per_s.high) == (pytest.approx(40), pytest.approx(62.5))
    servers = 3 * first.share
    machines = int(servers) + (servers % 1 > 1e-9)
    assert first.fleet.most == max(machines, 1)
    hour = run.price["usd_per_hour"]
    assert first.month_usd == pytest.approx(first.fleet.most * hour * 730)
    assert first.scaled_usd == pytest.approx(first.month_usd)  # a flat day needs as many in each hour


def test_the_busiest_hour_decides(run: RunSummary) -> None:
    flat, busy = (planned_encoders(run, Stream(8_640_000, 1, 1, peak))[0] for peak in (1.0, 2.0))
    assert busy.fleet.most >= 2 * flat.fleet.most - 1
    assert busy.fleet.least <= flat.fleet.least
    assert busy.scaled_usd is not None
    assert busy.scaled_usd < busy.month_usd


def test_a_page_and_its_data(run: RunSummary) -> None:
    page = encoder_plan(run, asked())
    for words in ("8.64 million texts a day (100 a second, a flat day)", "50.0 [40.0, 62.5]", "the baseline"):
        assert words in page
    data = json.loads(encoder_plan(run, asked(as_json=True)))
    (first, *_others) = data["encoders"]
    assert first["texts_per_s"] == {"value": 50.0, "low": 40.0, "high": 62.5}
    assert first["text_usd"] * 8_640_000 * 365 / 12 == pytest.approx(first["month_usd"])


@pytest.mark.parametrize(
    "more",
    [{"slo": "ttft:500"}, {"good": 0.9}, {"api": ["openai/gpt-5"]}, {"cached": 0.5}, {"volumes": "1e5"}],
    ids=lambda more: next(iter(more)),
)
def test_options_of_replies_are_refused(run: RunSummary, more: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(more))} does nothing here: an encoder"):
        encoder_plan(run, asked(**more))


def test_a_run_without_times_has_no_plan(run: RunSummary) -> None:
    bare = replace(run, rows=tuple(replace(row, metrics={}) for row in run.rows))
    with pytest.raises(UsageError, match="no row with texts a second of its own"):
        planned_encoders(bare, Stream(1, 1, 1))


def test_an_encoder_is_told_from_what_writes(run: RunSummary) -> None:
    assert is_of_encoders(run)
    assert not is_of_encoders(load_run(QUICKSTART))
    with pytest.raises(UsageError, match="writes no tokens, so nothing of it is billed by an API"):
        served_rows(run)


def test_the_command_takes_either(
    run: RunSummary, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for found, words in ((run, "texts/s of a server"), (load_run(QUICKSTART), "takes req/s")):
        monkeypatch.setattr("bench.results.summary.load_run", lambda _directory, found=found: found)
        assert words in main.plan_command._shown(asked(requests_per_day=1000.0))


def test_the_power_of_work_comes_on_top_of_the_machines(run: RunSummary) -> None:
    """A machine of 45 W under load and 20 W idle: 25 W for the 20 ms of each text, at 0.3 USD a kWh."""
    bought = {"purchase_usd": 360.0, "overhead": 0.0, "life_hours": 1000, "usd_per_kwh": 0.2, "pue": 1.5}
    watts = {"average_watts": 45, "idle_watts": 20, "includes_power": False, "ownership": "owned"}
    price = {key: value for key, value in run.price.items() if key != "usd_per_hour"}
    owned = replace(run, price={**price, **bought, **watts})
    stream = Stream(8_640_000, 1, 1)
    first, *_others = planned_encoders(owned, stream)
    work_usd = 25 * first.share * 0.02 / 3600 * 0.2 * 1.5 / 1000 * stream.per_month
    assert first.month_usd == pytest.approx(first.fleet.fixed_usd + work_usd)
    assert first.scaled_usd is None
