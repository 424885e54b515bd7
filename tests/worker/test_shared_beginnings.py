"""Prompts that share a long beginning: which they are, and that replies are those to the whole prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from byte_tokenizer import write_tokenizer
from engines import greedy, saved, small_configs

from bench.engine import Changed, Options
from bench.runtimes import transformers as runtime
from bench.worker import shared_beginnings, suite

HAYSTACK = "The ink is dry. " * 30
ITEMS = [{"prompt": f"{HAYSTACK}{word}"} for word in ("Who?", "Where is it", "Why", "When, then")]


def engine_of(path: Path, kind: str) -> Any:
    write_tokenizer(saved(small_configs()[kind](), path))
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


@pytest.mark.parametrize("kind", small_configs())
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


SHORT = [{"prompt": f"Say in one word: {word}"} for word in ("ice", "the sun", "rain in the north", "I") * 8]


@pytest.mark.parametrize("kind", small_configs())
def test_many_prompts_are_replied_to_together_behind_a_short_beginning(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(tmp_path, kind)
    wanted = [greedy(engine, [*engine.begin_ids(), *engine.encode(one["prompt"])], 6) for one in SHORT]
    rests: list[set[int]] = []
    real = engine.prefill_behind
    monkeypatch.setattr(
        engine, "prefill_behind",
        lambda kept, some, tokens: rests.append({*map(len, some)}) or real(kept, some, tokens),
    )  # fmt: skip
    assert suite.replies(engine, SHORT, 6) == wanted
    assert shared_beginnings.READS_ALIKE[engine]
    assert rests == [{1, 3, 7, 17}], "one pass, padded"
    if kind != "llama":  # 64 tokens are seen, and padding would push some out
        monkeypatch.setattr(shared_beginnings, "READS_ALIKE", {engine: True})
        longer = [{"prompt": f"{one['prompt']}{' and' * (8 if n % 2 else 7)}"} for n, one in enumerate(SHORT)]
        alone = [greedy(engine, [*engine.begin_ids(), *engine.encode(one["prompt"])], 6) for one in longer]
        del rests[:]
        assert suite.replies(engine, longer, 6) == alone
        assert [len(lengths) for lengths in rests] == [1] * len(rests)


@pytest.mark.parametrize(("kind", "within"), [("llama", True), ("mistral", False), ("gemma3", False)])
def test_padding_must_push_nothing_out_of_a_sliding_window(kind: str, within: bool, tmp_path: Path) -> None:
    engine = engine_of(tmp_path, kind)
    kept = engine.read_beginnings([[1, 2, 3]])
    assert engine.pads_behind(kept, 64)
    assert engine.pads_behind(kept, 65) is within


def test_a_model_that_reads_otherwise_in_parts_reads_each_prompt_whole(
    llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = suite.replies(llama, ITEMS, 6)
    real = llama.prefill_behind
    monkeypatch.setattr(
        llama,
        "prefill_behind",
        lambda kept, rests, tokens: real(kept, [[*rest[:-1], rest[-1] + 1] for rest in rests], tokens),
    )
    monkeypatch.setattr(shared_beginnings, "READS_ALIKE", {})
    assert suite.replies(llama, ITEMS, 6) == wanted
    assert shared_beginnings.READS_ALIKE[llama] is False
    monkeypatch.setattr(llama, "read_beginnings", lambda _texts: pytest.fail("tried again"))
    assert suite.replies(llama, ITEMS, 6) == wanted


def test_a_cache_of_a_scheme_is_never_shared(llama: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import DynamicCache

    wanted = suite.replies(llama, ITEMS, 6)
    monkeypatch.setattr(llama, "_make_cache", None)  # what it was comes back
    llama.change(Changed(llama.model, make_cache=lambda *_: DynamicCache()))
    assert llama.read_beginnings([[1, 2, 3]]) is None
    monkeypatch.setattr(shared_beginnings, "READS_ALIKE", {})
    read = lengths_read(llama, monkeypatch)
    assert suite.replies(llama, ITEMS, 6) == wanted
    assert sum(length > shared_beginnings.LEAST for length in read) == len(ITEMS)


def test_a_scale_for_all_tokens_of_a_pass_needs_whole_texts(llama: Any, tmp_path: Path) -> None:
    assert llama.read_beginnings([[1, 2, 3]]) is not None
    engine = engine_of(tmp_path, "llama")
    packed = torch.ao.quantization.quantize_dynamic(engine.model, {torch.nn.Linear}, torch.qint8)
    engine.change(Changed(packed))
    assert engine.read_beginnings([[1, 2, 3]]) is None


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
        ([(*LONG[:30], n) for n in range(12)], [(30, [*range(12)])]),  # each saves little, all enough
        ([(*LONG[:30], n) for n in range(9)], []),
    ],
)  # fmt: skip
def test_which_prompts_share_a_beginning(
    prompts: Sequence[tuple[int, ...]], found: list[tuple[int, list[int]]]
) -> None:
    assert shared_beginnings.groups(dict(enumerate(prompts))) == found
