"""Prompts that share a long beginning: which they are, and that replies are those to the whole prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from byte_tokenizer import write_tokenizer
from engines import greedy, saved, sizes

from bench.engine import Changed, Options
from bench.runtimes import transformers as runtime
from bench.worker import shared_beginnings, suite

HAYSTACK = "The ink is dry. " * 30
ITEMS = [{"prompt": f"{HAYSTACK}{word}"} for word in ("Who?", "Where is it", "Why", "When, then")]


def configs() -> dict[str, Callable[[], Any]]:
    """A plain cache, one that keeps the last 64 tokens only, and one with layers of both kinds."""
    import transformers

    small = {**sizes(96), "max_position_embeddings": 1024}
    return {
        "llama": lambda: transformers.LlamaConfig(**small),
        "mistral": lambda: transformers.MistralConfig(**small, sliding_window=64),
        "gemma3": lambda: transformers.Gemma3TextConfig(
            **{**small, "head_dim": 16, "num_hidden_layers": 2}, sliding_window=64,
            layer_types=["sliding_attention", "full_attention"],
        ),
    }  # fmt: skip


def engine_of(path: Path, kind: str) -> Any:
    write_tokenizer(saved(configs()[kind](), path))
    return runtime.load(path, Options(device="cpu", threads=1))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return engine_of(tmp_path_factory.mktemp("llama"), "llama")


def lengths_read(engine: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tokens of each sequence of each pass from now on."""
    read: list[int] = []
    real = engine._advance

    def advance(batch: Any, ids: Any) -> None:
        read.extend([ids.shape[1]] * ids.shape[0])
        real(batch, ids)

    monkeypatch.setattr(engine, "_advance", advance)
    return read


@pytest.mark.parametrize("kind", configs())
def test_replies_are_those_to_each_prompt_read_whole(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(tmp_path, kind)
    wanted = [greedy(engine, [*engine.begin_ids(), *engine.encode(one["prompt"])], 6) for one in ITEMS]
    read = lengths_read(engine, monkeypatch)
    assert suite.replies(engine, ITEMS, 6) == wanted
    assert shared_beginnings.READS_ALIKE[engine]
    long = [length for length in read if length > shared_beginnings.LEAST]
    assert len(long) == 2, "once for all, and the first one whole, to compare"
    del read[:]
    assert suite.replies(engine, ITEMS, 6) == wanted
    assert sum(length > shared_beginnings.LEAST for length in read) == 1


def test_a_model_that_reads_otherwise_in_parts_reads_each_prompt_whole(
    llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = suite.replies(llama, ITEMS, 6)
    real = llama.prefill_behind
    monkeypatch.setattr(
        llama, "prefill_behind", lambda begin, rest, tokens: real(begin, [*rest[:-1], rest[-1] + 1], tokens)
    )
    monkeypatch.setattr(shared_beginnings, "READS_ALIKE", {})
    assert suite.replies(llama, ITEMS, 6) == wanted
    assert shared_beginnings.READS_ALIKE[llama] is False
    monkeypatch.setattr(llama, "read_beginning", lambda _ids: pytest.fail("tried again"))
    assert suite.replies(llama, ITEMS, 6) == wanted


def test_a_cache_of_a_scheme_is_never_shared(llama: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import DynamicCache

    wanted = suite.replies(llama, ITEMS, 6)
    monkeypatch.setattr(llama, "_make_cache", None)  # what it was comes back
    llama.change(Changed(llama.model, make_cache=lambda *_: DynamicCache()))
    assert llama.read_beginning([1, 2, 3]) is None
    monkeypatch.setattr(shared_beginnings, "READS_ALIKE", {})
    read = lengths_read(llama, monkeypatch)
    assert suite.replies(llama, ITEMS, 6) == wanted
    assert sum(length > shared_beginnings.LEAST for length in read) == len(ITEMS)


def test_a_scale_for_all_tokens_of_a_pass_needs_whole_texts(llama: Any, tmp_path: Path) -> None:
    assert llama.read_beginning([1, 2, 3]) is not None
    engine = engine_of(tmp_path, "llama")
    packed = torch.ao.quantization.quantize_dynamic(engine.model, {torch.nn.Linear}, torch.qint8)
    engine.change(Changed(packed))
    assert engine.read_beginning([1, 2, 3]) is None


LONG = tuple(range(300))
TWICE = (*LONG, *LONG)


@pytest.mark.parametrize(
    ("prompts", "found"),
    [
        ([(*LONG, 7), (*LONG, 8, 9)], [(300, [0, 1])]),
        ([(*LONG, 7), (1, 2), (*LONG, 7)], [(300, [0, 2])]),  # equal prompts keep a token behind it
        ([LONG, (*LONG, 8)], [(299, [0, 1])]),  # so does the beginning of another
        ([LONG[:100], (*LONG[:100], 5)], []),  # short
        ([(*LONG, 7), LONG[:200]], []),  # what they share is short
        ([(*TWICE, 2), (*TWICE, 3), (5, *LONG, 2), (5, *LONG, 3)], [(301, [2, 3]), (600, [0, 1])]),
        ([(*LONG, 1, *TWICE, 2), (*LONG, 1, *TWICE, 3), (*LONG, 4)], [(901, [0, 1])]),  # two share more
    ],
)  # fmt: skip
def test_which_prompts_share_a_beginning(
    prompts: Sequence[tuple[int, ...]], found: list[tuple[int, list[int]]]
) -> None:
    assert [*shared_beginnings.groups(dict(enumerate(prompts)))] == found
