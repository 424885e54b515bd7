"""Tokens beyond a model's vocabulary are seen in its files, and not only when a row reads one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.cli import check_notes
from bench.config.reader import read_config
from bench.models.reference import LocalPath
from bench.models.unknown_tokens import unknown_tokens
from tests.byte_tokenizer import SIZE, write_tokenizer


def written(to: Path, rows: Any, tokenizer: object = None) -> Path:
    to.mkdir(exist_ok=True)
    (to / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": rows}))
    if tokenizer is not None:
        (to / "tokenizer.json").write_text(json.dumps(tokenizer))
    return to


CONFIG = "model: {random: tiny-llama}\nvariants: [{name: bf16, runtime: {dtype: bfloat16}}]\n"


def test_a_real_tokenizer_with_words_of_its_own(tmp_path: Path) -> None:
    write_tokenizer(written(tmp_path, SIZE), ("<one>", "<two>"))
    said = str(unknown_tokens(tmp_path))
    assert f"'<one>' has the number {SIZE:,}, and 1 more, and its vocab_size is {SIZE:,}" in said
    model = LocalPath(tmp_path)
    assert said in str(check_notes._reads_unknown(model))
    written(tmp_path, SIZE + 2)
    assert unknown_tokens(tmp_path) is None
    assert check_notes._reads_unknown(model) is None


def test_it_is_read_once_for_all_rows_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be 30 MB, and a config may have a thousand rows."""
    (tmp_path / "demo.yaml").write_text(CONFIG)
    spec, model = read_config(tmp_path / "demo.yaml"), LocalPath(written(tmp_path, SIZE))
    (group,) = spec.groups
    baseline = replace(group.baseline, model=model)
    variants = tuple(replace(arm, model=model) for arm in group.variants)
    read: list[Path] = []
    monkeypatch.setattr(check_notes, "unknown_tokens", lambda place: read.append(place) or "said")
    spec = replace(spec, groups=(replace(group, baseline=baseline, variants=variants),))
    assert any(note.endswith(": said") for note in check_notes._of_models(spec))
    assert read == [tmp_path]


@pytest.mark.parametrize(
    ("tokenizer", "named"),
    [
        ({"model": {"vocab": {"a": 0, "b": 4}}}, "'b' has the number 4,"),
        ({"model": {"vocab": [["a", 0], ["b", 0], ["c", 0], ["d", 0], ["e", 0]]}}, "'e' has the number 4,"),
        ({"model": {"vocab": {"a": 3}}, "added_tokens": [{"id": 4, "content": "b"}]}, "'b' has the number"),
        ({"model": {"vocab": {"a": 3}}, "added_tokens": [{"id": 3, "content": "b"}]}, None),
        ({"model": {"vocab": {"a": "9"}}, "added_tokens": 7}, None),
        ({}, None),
        (None, None),
    ],
)  # fmt: skip
def test_every_kind_of_vocabulary_is_counted(tmp_path: Path, tokenizer: object, named: str | None) -> None:
    said = unknown_tokens(written(tmp_path, 4, tokenizer))
    assert (named is None and said is None) or (named or "") in str(said)


def test_the_vocabulary_of_a_multimodal_model_is_that_of_its_text(tmp_path: Path) -> None:
    written(tmp_path, None, {"model": {"vocab": {"a": 4}}})
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"vocab_size": 4}}))
    assert "vocab_size is 4" in str(unknown_tokens(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {}}))
    assert unknown_tokens(tmp_path) is None
