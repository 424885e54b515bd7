"""A model that really thinks longer: what the worker counts of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from thinkers import DONE, THINK, path_of, write_thinker

from bench.engine import Options
from bench.models.reasoning import markers_of
from bench.models.reference import Hub, LocalPath, Named
from bench.runtimes import transformers as engine
from bench.worker.commands import Worker

PROMPTS = [{"text": f"question {number}", "chat": True, "tokens": None} for number in range(3)]


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("thoughts", [4, 20])
def test_thoughts_are_counted_apart(tmp_path: Path, thoughts: int, batch_size: int) -> None:
    worker = Worker()
    worker.engine = engine.load(write_thinker(tmp_path, thoughts), Options(device="cpu", threads=1))
    asked = {"prompts": PROMPTS, "batch_size": batch_size, "output_tokens": 40, "reasoning": (THINK, DONE)}
    worker.prompts(asked, [])
    found = worker.solo({}, []).answers
    assert found is not None
    length = len(path_of(thoughts, 5))
    assert [(one.tokens, one.ended, one.reasoning) for one in found] == [(length, True, thoughts + 2)] * 3


def test_an_answer_that_is_cut(tmp_path: Path) -> None:
    worker = Worker()
    worker.engine = engine.load(write_thinker(tmp_path, 20), Options(device="cpu", threads=1))
    worker.prompts({"prompts": PROMPTS, "batch_size": 1, "output_tokens": 10, "reasoning": (THINK, DONE)}, [])
    found = worker.solo({}, []).answers
    assert found is not None
    assert {(one.tokens, one.ended, one.reasoning) for one in found} == {(10, False, 10)}


def test_markers_come_from_the_config_the_card_or_the_workload() -> None:
    gpt = ("<|channel|>analysis<|message|>", "<|end|>")
    assert markers_of(Named("qwen3-0.6b"), "chat", {}) == ("<think>", "</think>")
    assert markers_of(Hub("openai/gpt-oss-20b", "0" * 40), "chat", {}) == gpt
    assert markers_of(Named("smollm2-135m"), "chat", {}) is None
    assert markers_of(LocalPath(Path("x")), "reasoning", {}) == ("<think>", "</think>")
    own = {"think_start": "<t>", "think_end": "</t>"}
    assert markers_of(Named("qwen3-0.6b"), "reasoning", own) == ("<t>", "</t>")
