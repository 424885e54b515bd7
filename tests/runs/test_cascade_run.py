"""A cascade of two models on the disk, from the config to ``run.json``: every request really runs."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import transformers
import yaml
from byte_tokenizer import write_tokenizer
from engines import saved, sizes

from bench.cli.main import main
from bench.config.reader import read_config
from bench.machine import noise
from bench.records import ArmRecord, RunRecord
from bench.report.formats import html, markdown
from bench.results.run_summary import RunSummary
from bench.results.summary import load_run
from bench.results.verify import verify_run
from bench.runs import run as harness
from bench.runs.run import run_spec
from bench.store.replay import load_record

REQUESTS, TOKENS, ITEMS = 4, 4, 12
NEVER, ALWAYS = -1e3, 0.0


def toy(path: Path, layers: int, words: tuple[str, ...] = ()) -> Path:
    saved(transformers.LlamaConfig(**{**sizes(96), "num_hidden_layers": layers}), path)
    write_tokenizer(path, words)
    return path


def variant(name: str, edge: Path, threshold: float) -> dict[str, Any]:
    step = {
        "cascade": "log-probability",
        "edge": {"model": str(edge), "usd_per_hour": 0.036},
        "threshold": threshold,
        "link": {"round_trip_ms": 4, "megabits_per_s": 10},
        "egress_usd_per_gb": 90.0,
    }
    return {"name": name, "optimise": [step]}


def ruled(name: str, edge: Path, **settings: Any) -> dict[str, Any]:
    """A cascade by a rule with settings of its own; half of its range is the threshold."""
    step = {**variant(name, edge, 0.5)["optimise"][0], **settings}
    return {"name": name, "optimise": [step]}


@dataclass(frozen=True)
class Done:
    """The run, as its journal and its summary have it."""

    directory: Path
    record: RunRecord
    summary: RunSummary

    def arm(self, name: str) -> ArmRecord:
        return next(arm for arm in self.record.arms if arm.name == name)

    def value(self, name: str, key: str) -> Any:
        figure = next(row for row in self.summary.rows if row.name == name).metrics[key]
        return figure and figure.value

    def notes(self, name: str, key: str) -> Any:
        figure = next(row for row in self.summary.rows if row.name == name).metrics[key]
        assert figure is not None
        return figure.notes


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, warm_workers: None) -> Done:
    """One run for all tests of this file."""
    place = tmp_path_factory.mktemp("cascades")
    small, other = toy(place / "small", 1), toy(place / "other", 1, ("more",))
    items = [
        {"id": f"{n}", "lang": "en", "prompt": f"{n} is", "choices": [" a", " b"], "right": n % 2}
        for n in range(ITEMS)
    ]
    (place / "items.jsonl").write_text("".join(json.dumps(one) + "\n" for one in items))
    config = {
        "name": "cascades",
        "model": {"path": str(toy(place / "large", 2))},
        "runtime": {"device": "cpu", "threads": 1},
        "workload": {"name": "chat", "requests": REQUESTS, "output_tokens": TOKENS},
        "variants": [
            variant("all", small, ALWAYS),
            variant("none", other, NEVER),  # the edge has another tokenizer
            ruled("learnt", small, cascade="learnt"),
            ruled("drawn", small, cascade="agreement", samples=2),
        ],
        "price": {"usd_per_hour": 0.36},
        "drift": {
            "tokens": 256, "window": 64, "suites": ["generation", "own"], "items": str(place / "items.jsonl")
        },
        "measure": {"processes": 1, "max_rounds": 1},
    }  # fmt: skip
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(place / "cache"))
        patch.setattr(harness, "source_digest", lambda: "0" * 64)
        patch.setattr(noise, "disturbed", lambda before, after, accepted: False)
        directory = run_spec(read_config(place / "config.yaml"), place / "results")
    found = Done(directory, load_record(directory), load_run(directory))
    assert [arm.status for arm in found.record.arms] == ["ok"] * 5, [arm.reason for arm in found.record.arms]
    return found


def test_each_request_is_answered_by_the_model_that_the_rule_chose(done: Done) -> None:
    assert done.value("all", "escalation_rate") == 1
    assert done.value("all", "exact_match") == 1
    assert done.value("none", "escalation_rate") == 0
    assert done.value("none", "exact_match") < 1
    assert done.value("none", "escalated_e2el_ms") is None
    assert done.value("all", "stayed_e2el_ms") is None
    assert "a cascade has no distribution" in done.arm("all").drift_reason
    assert done.value("baseline", "escalation_rate") is None


def test_a_requests_time_is_that_of_its_parts_and_pairs_keep_every_request(done: Done) -> None:
    for name in ("all", "none"):
        arm = done.arm(name)
        assert len(arm.cascaded) == REQUESTS
        for one, batch in zip(arm.cascaded, arm.solo, strict=True):
            parts = one.edge_s + one.cloud_s + one.link_s
            assert parts <= batch.duration_s < parts + 0.5
            assert one.escalated == (name == "all")
            assert (one.link_s >= 0.004) == one.escalated
        for unit in done.record.valid_units_of(arm):
            assert len(unit.cascaded) == len(unit.batches)


@pytest.mark.parametrize("name", ["all", "none"])
def test_the_dollars_by_hand_from_the_journal(done: Done, name: str) -> None:
    requests = done.arm(name).cascaded
    edge_usd = sum(one.edge_s for one in requests) * 0.036 / 3600
    cloud_usd = sum(one.cloud_s for one in requests) * 0.36 / 3600
    egress_usd = sum(one.received_bytes for one in requests) * 90e-9
    each = [done.value(name, f"{who}_usd_per_request") for who in ("edge", "cloud", "egress")]
    assert each == pytest.approx([one / REQUESTS for one in (edge_usd, cloud_usd, egress_usd)])
    assert done.notes(name, "cost_per_request_usd")["alone"] == pytest.approx(sum(each))
    assert each[0] > 0
    assert (each[1] > 0) == (name == "all")


@pytest.mark.parametrize("name", ["all", "none"])
def test_the_ratio_is_of_dollars_and_not_of_times(done: Done, name: str) -> None:
    (ratio,) = (
        one for one in done.summary.comparisons if (one.variant, one.metric) == (name, "cost_per_request_usd")
    )
    units = done.record.valid_units_of(done.arm(name))
    ours = sum(
        one.edge_s * 1e-5 + one.cloud_s * 1e-4 + one.received_bytes * 90e-9
        for unit in units
        for one in unit.cascaded
    )
    theirs = sum(sum(map(sum, unit.baseline_ns)) for unit in units) / 1e9 * 1e-4
    assert ratio.ratio == pytest.approx(ours / theirs, rel=1e-6)


@pytest.mark.parametrize("name", ["all", "none"])
def test_the_ends_of_the_curve_are_each_model_alone(done: Done, name: str) -> None:
    own, base = done.arm(name).suites["own"], done.arm("baseline").suites["own"]
    assert own.both is not None
    for one, together in zip(own.both.cloud.scores, base.scores, strict=True):
        assert one == pytest.approx(together, abs=1e-4)  # read whole, and behind what the choices share
    assert own.scores == (own.both.cloud if name == "all" else own.both.edge).scores
    gap = done.notes(name, "cascade_gap")
    assert (gap["n"], gap["differs_from_baseline"]) == (ITEMS, 0)
    first, last = gap["curve"][0], gap["curve"][-1]
    assert (first[1], last[1]) == (0, 1)
    assert last[3] == pytest.approx(done.value("baseline", "own_accuracy"))
    assert last[3] - first[3] == pytest.approx(done.value(name, "cascade_gap"))


def test_an_edge_with_another_tokenizer_is_compared_by_text(done: Done) -> None:
    assert done.notes("none", "exact_match")["text_level"]
    assert done.value("none", "first_divergence_token") is None
    assert "another tokenizer" in done.arm("none").drift_reason
    assert "text_level" not in done.notes("all", "exact_match")
    assert "another tokenizer" not in done.arm("all").drift_reason


def test_the_evidence_and_what_a_reader_sees(done: Done) -> None:
    loaded = done.arm("all").loaded
    assert loaded is not None
    steps = [one["step"] for one in loaded.evidence]
    assert steps == ["runtime", "edge: runtime", "cascade: log-probability"]
    claims = [check["claim"] for one in loaded.evidence for check in one["checks"] if check["holds"]]
    assert any("score of a short reply" in claim for claim in claims)
    text = markdown.render([done.summary])
    assert "no request went on" in text
    assert "every request went on" in text
    assert "100.0% of the replies are the baseline's;" in text
    assert "of the replies are the baseline's, as texts" in text
    assert "sent on" in text
    assert "<polyline" in html.render([done.summary])
    assert verify_run(done.directory)


def test_a_plan_has_what_each_place_costs(
    done: Done, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without limits each place works 80 % of the time in its busiest hour; the dollars are by hand."""
    monkeypatch.setattr(
        sys, "argv", ["bench", "plan", str(done.directory), "--requests-per-day", "1e7", "--json"]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    data = json.loads(capsys.readouterr().out)
    found = data["cascades"][0]
    assert found["title"] == "all"
    assert found["escalation_rate"]["value"] == 1
    hour_usd = {"edge": 0.036, "cloud": 0.36}
    for place, usd in hour_usd.items():
        side = found[place]
        machines = math.ceil(1e7 / 86_400 * side["request_s"] / 0.8 - 1e-9)
        assert side["paid"]["fleet"]["most"] == machines
        assert side["paid"]["month_usd"] == pytest.approx(machines * usd * 730)
    (why,) = [note for note in data["notes"] if note.startswith("none is a cascade")]
    assert f"none of its {REQUESTS} requests went on" in why


def test_a_rule_that_learns_is_trained_once_for_all_processes(done: Done) -> None:
    arm = done.arm("learnt")
    assert arm.cascade is not None
    learnt = arm.cascade["learnt"]
    assert [(one["form"], one["suite"]) for one in learnt] == [
        ("choices", "factuality"),
        ("replies", "arithmetic"),
    ]
    assert all(0 <= one["same"] <= one["n"] == len(one["ids"]) for one in learnt)
    assert all(0 <= one.score <= 1 for one in arm.cascaded)
    assert done.value("learnt", "one_off_usd") > 0
    (unit,) = done.record.valid_units_of(arm)
    assert {one.score for one in unit.cascaded} <= {one.score for one in arm.cascaded}
    assert "its rule was trained on other questions" in markdown.render([done.summary])


def test_a_rule_that_draws_gives_every_process_the_same_scores(done: Done) -> None:
    arm = done.arm("drawn")
    assert arm.cascade is not None
    assert arm.cascade["settings"] == {"samples": 2, "temperature": 0.7}
    assert {one.score for one in arm.cascaded} <= {0, 0.5, 1}
    (unit,) = done.record.valid_units_of(arm)
    assert {one.score for one in unit.cascaded} <= {one.score for one in arm.cascaded}
