"""A cascade of two models on the disk, from the config to ``run.json``: every request really runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import transformers
import yaml
from byte_tokenizer import write_tokenizer
from engines import saved, sizes

from bench.config.reader import read_config
from bench.machine import noise
from bench.pricing import two_prices
from bench.pricing.cost import Price
from bench.report.formats import html, markdown
from bench.results.summary import load_run, summarise
from bench.results.verify import verify_run
from bench.runs import run as harness
from bench.runs.run import run_spec
from bench.store.replay import load_record

REQUESTS, TOKENS, ITEMS = 6, 4, 24


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "source_digest", lambda: "0" * 64)
    monkeypatch.setattr(noise, "disturbed", lambda before, after, accepted: False)


def toy(path: Path, layers: int, words: tuple[str, ...] = ()) -> Path:
    saved(transformers.LlamaConfig(**{**sizes(96), "num_hidden_layers": layers}), path)
    write_tokenizer(path, words)
    return path


def step(edge: Path, threshold: float, **more: Any) -> dict[str, Any]:
    return {
        "cascade": "log-probability",
        "edge": {"model": str(edge), "usd_per_hour": 0.036},
        "threshold": threshold,
        "link": {"round_trip_ms": 4, "megabits_per_s": 10},
        "egress_usd_per_gb": 90.0,
        **more,
    }


def run(tmp_path: Path, variants: Mapping[str, dict[str, Any]], **drift: Any) -> tuple[Path, dict[str, Any]]:
    items = tmp_path / "items.jsonl"
    asked = [
        {"id": f"{n}", "lang": "en", "prompt": f"{n} is", "choices": [" a", " b"], "right": n % 2}
        for n in range(ITEMS)
    ]
    items.write_text("".join(json.dumps(one) + "\n" for one in asked))
    config = {
        "name": "cascades",
        "model": {"path": str(tmp_path / "large")},
        "runtime": {"device": "cpu", "threads": 1},
        "workload": {"name": "chat", "requests": REQUESTS, "output_tokens": TOKENS},
        "variants": [{"name": name, "optimise": [one]} for name, one in variants.items()],
        "price": {"usd_per_hour": 0.36},
        "drift": {"tokens": 256, "window": 64, "suites": ["generation", "own"], "items": str(items), **drift},
        "measure": {"processes": 2, "max_rounds": 1},
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    directory = run_spec(read_config(file), tmp_path / "results")
    found = json.loads((directory / "run.json").read_text())
    return directory, {row["name"]: row for row in found["variants"]}


def value(row: Mapping[str, Any], key: str) -> Any:
    figure = row["metrics"][key]
    return figure and figure["value"]


def test_a_cascade_from_the_config_to_the_report(tmp_path: Path) -> None:
    toy(tmp_path / "large", 2)
    edge = toy(tmp_path / "small", 1)
    wanted = {"all": step(edge, 0.0), "none": step(edge, -1e6), "some": step(edge, -1.5)}
    directory, rows = run(tmp_path, wanted)
    assert [row["status"] for row in rows.values()] == ["ok"] * 4, [row["reason"] for row in rows.values()]
    record = load_record(directory)
    arms = {arm.name: arm for arm in record.arms}

    # who answered: the replies are those of the large model where all went on, and others where none did
    assert value(rows["all"], "escalation_rate") == 1
    assert value(rows["all"], "exact_match") == 1
    assert value(rows["none"], "escalation_rate") == 0
    assert value(rows["none"], "exact_match") < 1
    assert 0 <= value(rows["some"], "escalation_rate") <= 1
    assert rows["none"]["metrics"]["escalated_e2el_ms"] is None
    assert rows["all"]["metrics"]["stayed_e2el_ms"] is None
    assert "a cascade has no distribution" in rows["all"]["drift_reason"]

    # what was counted: a request's time is that of its parts, and a pair keeps every request
    for name in wanted:
        arm = arms[name]
        assert len(arm.cascaded) == REQUESTS
        for one, batch in zip(arm.cascaded, arm.solo, strict=True):
            parts = one.edge_s + one.cloud_s + one.link_s
            assert parts <= batch.duration_s <= parts + 0.05
            assert one.escalated == (one.score < wanted[name]["threshold"])
            assert (one.link_s >= 0.004) == one.escalated
        for unit in record.pairs_of(arm):
            assert len(unit.cascaded) == len(unit.batches)

    # the dollars, by hand from the journal
    price = Price(0.36)
    for name in wanted:
        done = arms[name].cascaded
        edge_usd = sum(one.edge_s for one in done) * 0.036 / 3600
        cloud_usd = sum(one.cloud_s for one in done) * 0.36 / 3600
        egress_usd = sum(one.received_bytes for one in done) * 90e-9
        paid = two_prices.bill(
            done, two_prices.rates({"edge_usd_per_hour": 0.036, "egress_usd_per_gb": 90}, price)
        )
        assert paid.usd == pytest.approx(edge_usd + cloud_usd + egress_usd)
        each = [value(rows[name], f"{who}_usd_per_request") for who in ("edge", "cloud", "egress")]
        assert each == pytest.approx([one / REQUESTS for one in (edge_usd, cloud_usd, egress_usd)])
        assert rows[name]["metrics"]["cost_per_request_usd"]["alone"] == pytest.approx(paid.usd / REQUESTS)
    assert value(rows["none"], "cloud_usd_per_request") == 0
    assert value(rows["none"], "edge_usd_per_request") > 0

    # the ratio of dollars is no ratio of times
    summary = load_run(directory)
    for name in wanted:
        (ratio,) = (
            one for one in summary.comparisons if (one.variant, one.metric) == (name, "cost_per_request_usd")
        )
        arm, base = arms[name], arms["baseline"]
        units = record.pairs_of(arm)
        ours = sum(one.edge_s * 1e-5 + one.cloud_s * 1e-4 + one.received_bytes * 90e-9
                   for unit in units for one in unit.cascaded)  # fmt: skip
        theirs = sum(sum(map(sum, unit.baseline_ns)) for unit in units) / 1e9 * 1e-4
        assert base.is_baseline
        assert ratio.ratio == pytest.approx(ours / theirs, rel=1e-6)

    # the curve, from both models' answers to the suite, and its ends
    for name in wanted:
        both = arms[name].suites["own"].both
        assert both is not None
        assert both.cloud.scores == arms["baseline"].suites["own"].scores
        assert len([one for one in both.requests if one]) == ITEMS
        gap = rows[name]["metrics"]["cascade_gap"]
        assert (gap["n"], gap["differs_from_baseline"]) == (ITEMS, 0)
        first, last = gap["curve"][0], gap["curve"][-1]
        assert (first[1], last[1]) == (0, 1)
        assert last[3] == pytest.approx(value(rows["baseline"], "own_accuracy"))
        assert last[3] - first[3] == pytest.approx(gap["value"])
    assert value(rows["all"], "own_accuracy") == value(rows["baseline"], "own_accuracy")
    none = arms["none"].suites["own"]
    assert none.both is not None
    assert none.scores == none.both.edge.scores

    # the evidence, and what a reader sees
    checks = [check for one in rows["some"]["evidence"]["steps"] for check in one["checks"]]
    assert all(check["holds"] for check in checks)
    assert any("score of a short reply" in check["claim"] for check in checks)
    steps = [one["step"] for one in rows["some"]["evidence"]["steps"]]
    assert steps == ["runtime", "edge: runtime", "cascade: log-probability"]
    text = markdown.render([summary])
    assert "no request went on" in text
    assert "every request went on" in text
    assert "sent on" in text
    assert "<polyline" in html.render([summary])
    assert summarise(record).to_json()["variants"] == load_run(directory).to_json()["variants"]
    assert verify_run(directory)


def test_an_edge_with_another_tokenizer_is_compared_by_text(tmp_path: Path) -> None:
    toy(tmp_path / "large", 2)
    edge = toy(tmp_path / "small", 1, ("more",))
    _directory, rows = run(tmp_path, {"none": step(edge, -1e6), "all": step(edge, 0.0)}, tokens=0)
    assert [row["status"] for row in rows.values()] == ["ok"] * 3, [row["reason"] for row in rows.values()]
    assert value(rows["all"], "exact_match") == 1
    assert value(rows["none"], "exact_match") < 1
    for name in ("none", "all"):
        assert rows[name]["metrics"]["exact_match"]["text_level"]
        assert rows[name]["metrics"]["first_divergence_token"] is None
        assert "another tokenizer" in rows[name]["drift_reason"]


def test_a_link_that_is_down_leaves_the_edges_answer(tmp_path: Path) -> None:
    toy(tmp_path / "large", 2)
    edge = toy(tmp_path / "small", 1)
    down = step(edge, 0.0, link={"outage": {"after_s": 0.0}, "patience_s": 0.01})
    _directory, rows = run(tmp_path, {"offline": down}, tokens=0, suites=["generation"])
    row = rows["offline"]
    assert row["status"] == "ok", row["reason"]
    rate = row["metrics"]["escalation_rate"]
    assert (rate["escalated"], rate["offline"]) == (REQUESTS, REQUESTS)
    assert row["metrics"]["link_ms"]["value"] >= 10
    assert value(row, "cloud_usd_per_request") == 0
    assert value(row, "exact_match") < 1
