"""The text a scheme may look at before it decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bench import plugins
from bench.errors import Unsupported, UsageError
from bench.models.fetch import ensure
from bench.models.reference import Random
from bench.optimisations.shared import llm_compressor
from bench.optimisations.shared.calibration import CalibrationParams, windows


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


def test_a_text_of_ones_own(toy: transformers.PreTrainedModel, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("abcdefgh" * 10)
    (one,) = windows(toy, CalibrationParams(text=str(tmp_path / "mine.txt"), samples=1, tokens=16))
    assert bytes(one[0].tolist()).decode() in "abcdefgh" * 10


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
