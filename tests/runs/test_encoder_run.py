"""Whole runs of encoders in real worker processes: a tiny BERT that embeds, and one that classifies."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from tiny_encoders import MEAN_NORMALISED, write_encoder

from bench.config.reader import read_config
from bench.measure import encoders
from bench.report.formats import markdown
from bench.report.table import render
from bench.results.summary import load_run
from bench.results.verify import verify_run
from bench.runs.run import run_spec

pytestmark = pytest.mark.usefixtures("warm_workers")
INT8 = {"name": "int8", "optimise": [{"quantise": "torch-int8-dynamic"}]}


def measured(tmp_path: Path, model: Path, variants: list[Any], **drift: Any) -> Any:
    content = {
        "name": "encoders",
        "model": {"path": str(model)},
        "runtime": {"device": "cpu", "threads": 1},
        "workload": {"name": "fixed", "input_tokens": 24, "requests": 6, "batch_size": 2},
        "variants": variants,
        "price": {"hardware": "cloud-2vcpu-8gb"},
        "drift": drift,
        "measure": {"processes": 1, "max_rounds": 1, "timeout_s": 60.0, "max_disturbance": 1.0},
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(content))
    directory = run_spec(read_config(file), tmp_path / "results")
    verify_run(directory)
    return load_run(directory)


def table(run: Any) -> str:
    console = Console(file=io.StringIO(), width=200)
    render(run, console)
    file: Any = console.file
    return " ".join(str(file.getvalue()).split())


@pytest.fixture
def few_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model needs no 512 texts: the first queries and documents of the docstrings."""
    whole = encoders.set_for

    def few(task: str, file: str | None) -> Any:
        found = whole(task, file)
        queries, documents, right = (part[:20] for part in (found.queries, found.documents, found.right))
        return replace(found, queries=queries, documents=documents, right=right)

    monkeypatch.setattr(encoders, "set_for", few)


def test_an_embedding_model_from_config_to_table(tmp_path: Path, few_texts: None) -> None:
    run = measured(tmp_path, write_encoder(tmp_path / "m", pooling=MEAN_NORMALISED), [INT8])
    base, int8 = run.rows
    assert [row.status for row in run.rows] == ["ok"] * 2, [row.reason for row in run.rows]
    assert base.metrics["total_token_throughput"].value > 0
    assert base.metrics["cost_per_1k_tokens_usd"].value > 0
    for key in ("ttft_ms", "tpot_ms", "itl_ms", "output_throughput", "prefill_throughput", "exact_match"):
        assert base.metrics[key] is None, key
    assert 0.9 < int8.drift["cosine_mean"].value < 1 - 1e-6
    assert int8.drift["rank_correlation"].notes["documents"] == 20
    assert int8.drift["cosine_mean"].notes["floor"] > 0.9999
    assert {one.metric for one in run.comparisons if one.variant == "int8"} >= {
        "cost_per_1k_tokens_usd", "cost_per_request_usd", "e2el_ms", "total_token_throughput",
    }  # fmt: skip
    shown = table(run)
    for words in ("ms/request", "tok/s", "cosine", "worst 1 %", "same first", "same first document for"):
        assert words in shown
    assert "KL" not in shown
    assert "its vector is the mean of its tokens, normalised" in shown
    assert "cosine" in markdown.render([run])


def test_a_classifier_with_labels_that_are_known(tmp_path: Path) -> None:
    texts = tmp_path / "mine.jsonl"
    names = ("bad", "good")
    texts.write_text(
        "".join(f'{{"text": "text number {n}", "label": "{names[n % 2]}"}}\n' for n in range(30))
    )
    head = "AutoModelForSequenceClassification"
    model = write_encoder(tmp_path / "m", head=head, num_labels=2, id2label=dict(enumerate(names)))
    other = write_encoder(tmp_path / "o", head=head, num_labels=2, id2label=dict(enumerate(names)), seed=5)
    variants = [{"name": "other", "model": {"path": str(other)}}]
    run = measured(tmp_path, model, variants, items=str(texts))
    _base, changed = run.rows
    flips, change = changed.drift["label_flips"], changed.drift["label_accuracy_change"]
    assert flips.notes["n"] == 30
    assert change.value == pytest.approx((change.notes["gained"] - change.notes["lost"]) / 30)
    assert flips.value == pytest.approx((change.notes["gained"] + change.notes["lost"]) / 30)
    assert "flips" in table(run)
    assert "another label for" in table(run)


def test_random_weights_are_measured(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "model: {random: bge-small-en-v1.5, layers: 1, hidden: 64}\n"
        "runtime: {device: cpu, threads: 1}\nworkload: {requests: 2}\n"
        "measure: {max_disturbance: 1.0}\n"
    )
    run = load_run(run_spec(read_config(file), tmp_path / "results"))
    assert [(row.status, row.reason) for row in run.rows] == [("ok", "")]
    assert run.rows[0].metrics["e2el_ms"].value > 0
