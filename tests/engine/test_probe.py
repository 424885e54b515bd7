"""The prompt with which a model is tried: tokens that it has, however few these are."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers
from engines import saved, sizes

from bench.engine import Options
from bench.engine.stepping import probe
from bench.runtimes import transformers as runtime
from bench.worker.steps import decode_a_little


def test_a_large_vocabulary() -> None:
    assert probe(99, 32_000) == [*range(3, 100), 3, 4]
    assert probe(3, 32_000, shift=96) == [99, 3, 4]
    assert probe(8, 32_000, kinds=7) == [3, 4, 5, 6, 7, 8, 9, 3]


@pytest.mark.parametrize("vocabulary", [1, 2, 3, 4, 5, 65, 100])
def test_every_token_is_in_the_vocabulary(vocabulary: int) -> None:
    """A model of letters has some sixty tokens; with three there was nothing to divide by."""
    found = probe(64, vocabulary, shift=7)
    assert len(found) == 64
    assert all(0 <= token < vocabulary for token in found)


@pytest.mark.parametrize("vocabulary", [3, 65])
def test_a_model_of_letters_is_tried_like_any_other(tmp_path: Path, vocabulary: int) -> None:
    small = {**sizes(96), "vocab_size": vocabulary, "max_position_embeddings": 32}
    engine = runtime.load(saved(transformers.LlamaConfig(**small), tmp_path), Options(device="cpu"))
    checks, _held = engine.as_decoded()
    assert all(one.holds for one in checks)
    assert decode_a_little(engine).cache
