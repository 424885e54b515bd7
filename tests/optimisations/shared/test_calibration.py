"""The text a scheme may look at before it decides."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from byte_tokenizer import write_tokenizer

from bench import plugins
from bench.engine import one_off
from bench.errors import Unsupported, UsageError
from bench.models.fetch import ensure
from bench.models.reference import Random
from bench.optimisations.shared import calibration, llm_compressor
from bench.optimisations.shared.calibration import (
    CalibrationParams,
    begin_ids,
    beyond_names,
    recipe,
    windows,
)


@pytest.fixture(scope="module")
def toy() -> transformers.PreTrainedModel:
    config = transformers.AutoConfig.from_pretrained(ensure(Random("tiny-llama")).directory)
    return transformers.AutoModelForCausalLM.from_config(config)


def test_windows_are_drawn_by_the_seed(toy: transformers.PreTrainedModel) -> None:
    params = CalibrationParams(samples=3, tokens=32)
    first, again = windows(toy, params), windows(toy, params)
    assert [tuple(one.shape) for one in first] == [(1, 32)] * 3
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    other = windows(toy, CalibrationParams(samples=3, tokens=32, seed=1))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_the_bill_names_the_text_that_was_read(toy: transformers.PreTrainedModel) -> None:
    """A name alone cannot be repeated: the docstrings are those of the Python that runs."""
    one_off.take_bill()
    with one_off.spent("calibration"):
        windows(toy, CalibrationParams(samples=1, tokens=16))
    (bill,) = one_off.take_bill()
    read = plugins.load("texts", "docstrings").read()
    assert bill["texts"] == {"docstrings": hashlib.sha256(read.encode()).hexdigest()}


def test_a_text_of_ones_own(toy: transformers.PreTrainedModel, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("abcdefgh" * 10)
    (one,) = windows(toy, CalibrationParams(text=str(tmp_path / "mine.txt"), samples=1, tokens=16))
    assert bytes(one[0].tolist()).decode() in "abcdefgh" * 10


@pytest.fixture
def with_bos(tmp_path: Path) -> transformers.PreTrainedModel:
    """A model whose tokenizer puts <s> before every text by itself, as those of Llama 3 and Gemma do."""
    config = transformers.LlamaConfig(
        vocab_size=260, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    place = tmp_path / "model"
    transformers.LlamaForCausalLM(config).save_pretrained(place)
    write_tokenizer(place)
    file = place / "tokenizer.json"
    begin, text = {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    processor = {
        "type": "TemplateProcessing", "single": [begin, text], "pair": [],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
    }  # fmt: skip
    file.write_text(json.dumps({**json.loads(file.read_text()), "post_processor": processor}))
    return transformers.AutoModelForCausalLM.from_pretrained(place)


def test_a_window_begins_as_every_text_of_the_model_does(
    with_bos: transformers.PreTrainedModel, toy: transformers.PreTrainedModel
) -> None:
    """Without it the activations are those of a text that the model never reads."""
    assert (begin_ids(with_bos), begin_ids(toy)) == ((0,), ())
    params = CalibrationParams(samples=4, tokens=32)
    found = windows(with_bos, params)
    assert [tuple(one.shape) for one in found] == [(1, 32)] * 4
    assert all(one[0, 0] == 0 and 0 not in one[0, 1:] for one in found)
    assert all(0 not in one for one in windows(toy, params))


def test_what_is_kept_is_kept_for_the_tokens_that_were_read(
    with_bos: transformers.PreTrainedModel, toy: transformers.PreTrainedModel, tmp_path: Path
) -> None:
    file = Path(with_bos.config.name_or_path) / "tokenizer.json"
    read = {"begin": [0], "tokenizer_sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    assert recipe(with_bos, CalibrationParams()) == {**recipe(toy, CalibrationParams()), **read}
    assert beyond_names(toy, CalibrationParams()) == {}  # the settings say it all
    file = tmp_path / "mine.txt"
    found = []
    for content in ("one", "another"):
        file.write_text(content)
        found.append(beyond_names(toy, CalibrationParams(text=str(file)))["text_sha256"])
    assert found[0] != found[1]


def test_a_window_has_room_for_text(
    with_bos: transformers.PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "begin_ids", lambda _model: (0,) * 20)
    with pytest.raises(Unsupported, match="16 tokens are no more than the 20 that begin every text"):
        windows(with_bos, CalibrationParams(tokens=16))


def test_a_text_that_is_too_short_or_not_there(toy: transformers.PreTrainedModel, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("abc")
    with pytest.raises(Unsupported, match="has 3 tokens, 16 are asked for"):
        windows(toy, CalibrationParams(text=str(tmp_path / "short.txt"), tokens=16))
    with pytest.raises(UsageError, match="docstring"):
        windows(toy, CalibrationParams(text="docstring"))


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"samples": 100_001}, {"tokens": 15}, {"tokens": 200_000}])
def test_numbers_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be from"):
        CalibrationParams(**wrong)


def test_it_is_not_the_text_that_drift_is_scored_on() -> None:
    calibration, scored = (plugins.load("texts", name).read() for name in ("docstrings", "mixed"))
    lines = {line for line in calibration.splitlines() if len(line) > 60}
    assert len(lines) > 1000
    assert not lines & set(scored.splitlines())


def test_llm_compressor_lets_go_of_the_model(toy: transformers.PreTrainedModel) -> None:
    core = pytest.importorskip("llmcompressor.core")
    with llm_compressor._as_a_guest():
        core.active_session().state.update(model=toy)
    assert core.active_session().state.model is None
