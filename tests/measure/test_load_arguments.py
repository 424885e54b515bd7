"""What a worker is told before it loads a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.config.reader import read_config
from bench.config.spec import Arm, Optimisation
from bench.measure import passes
from bench.measure.arm import load_arguments
from bench.measure.group import GroupRun
from bench.models.reference import LocalModel, LocalPath, ModelRef, SourceRecord
from bench.runs import fetching, sides


@pytest.mark.parametrize(
    ("workload", "batches"),
    [
        ("{name: chat, batch_size: 1}", None),
        ("{name: chat, batch_size: 2}", "padded"),
        ("{name: fixed, input_tokens: 8, batch_size: 1}", None),
        ("{name: fixed, input_tokens: 8, batch_size: 2}", "even"),
    ],
)
def test_a_batch_is_checked_only_where_there_can_be_one(
    tmp_path: Path, workload: str, batches: str | None
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"model: {{random: tiny-llama}}\nworkload: {workload}\nruntime: {{device: cpu}}\n")
    model = LocalModel(tmp_path, SourceRecord("path", "x", "x", None, None), ())
    found = load_arguments(read_config(config).groups[0].baseline, model, model)
    assert found["batches"] == batches


def drafting(tmp_path: Path) -> Arm:
    """A baseline with a model beside it that drafts."""
    config = tmp_path / "config.yaml"
    config.write_text("model: {random: tiny-llama}\nworkload: {name: chat}\nruntime: {device: cpu}\n")
    step = Optimisation("speculate", "draft-model", (("model", str(tmp_path / "small")), ("tokens", 4)))
    return replace(read_config(config).groups[0].baseline, optimise=(step,))


def local(reference: ModelRef) -> LocalModel:
    path = reference.path if isinstance(reference, LocalPath) else Path("/big")
    return LocalModel(path, SourceRecord("path", "x", "x", None, None), ())


def test_a_baseline_may_draft_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(
        passes, "load", lambda under, *models: sent.append(load_arguments(under.arm, *models))
    )
    monkeypatch.setattr(passes, "warm_up", lambda *_arguments: None)
    record = dict[str, Any]()
    under: Any = SimpleNamespace(arm=drafting(tmp_path), record=record.update, reopened=False)
    group: Any = None
    GroupRun(group, group, local, set())._open(under)
    assert sent[0]["optimise"][0]["params"] == {"model": str(tmp_path / "small"), "tokens": 4}
    assert list(record["models"]) == ["optimise.speculate.model"], "a run that is continued looks at it"


def test_a_model_that_drafts_is_fetched_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm, fetched = drafting(tmp_path), list[ModelRef]()
    spec = read_config(tmp_path / "config.yaml")
    spec = replace(spec, groups=(replace(spec.groups[0], baseline=arm),))
    monkeypatch.setattr(
        fetching, "ensure", lambda reference, _tell: fetched.append(reference) or local(reference)
    )
    fetching.fetcher(spec, lambda _progress: None)
    assert LocalPath(tmp_path / "small") in fetched


def test_the_evidence_of_a_gate_is_of_the_model_that_drafts_too(tmp_path: Path) -> None:
    def of(small: str) -> list[tuple[str, str]]:
        def fetch(reference: ModelRef) -> LocalModel:
            files = (("w.safetensors", small if isinstance(reference, LocalPath) else "big"),)
            return LocalModel(tmp_path, SourceRecord("path", "x", "x", None, None), files)

        return sides._weights([drafting(tmp_path)], fetch)

    assert of("one") == of("one") != of("other")
