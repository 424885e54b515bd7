"""What a scheme that quantises the KV cache must prove, and what it does with windows and states."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from engines import saved, told

from bench.engine import Changed, Options
from bench.engine.evidence import Census, Decoding
from bench.engine.stepping import probe
from bench.errors import Unsupported
from bench.optimisations.quantise import kv_float8, kv_hqq, kv_quanto
from bench.optimisations.shared.kv_cache import IN_WINDOW, PLAIN, check_group, kinds_of, smaller_cache
from bench.runtimes import transformers as engine
from bench.worker import session

SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 512,
}  # fmt: skip
WINDOW = 16
LONG = 120  # tokens: every window is full several times over


def census(cache: Mapping[str, int], a_token: float | None) -> Census:
    return Census((), 0, {}, decoding=Decoding(cache, a_token, compiled=False))


@pytest.mark.parametrize(
    ("cache", "a_token", "holds"),
    [
        ({"QuantizedLayer": 4}, 400.0, [True, True]),
        ({"QuantizedLayer": 4}, 500.0, [True, False]),  # the bound for 4 bits is half
        ({PLAIN: 4}, 400.0, [False, True]),
        ({"QuantizedLayer": 1, PLAIN: 3}, 800.0, [False, True]),  # three layers were left out
        ({"QuantizedLayer": 1, IN_WINDOW: 3}, 800.0, [True, True]),  # of four layers, one: 7 of 8 parts
        ({"QuantizedLayer": 1, IN_WINDOW: 3}, 900.0, [True, False]),
        ({"QuantizedLayer": 4}, None, [False]),
    ],
)
def test_its_class_and_its_bytes(cache: dict[str, int], a_token: float | None, holds: list[bool]) -> None:
    checks = smaller_cache(
        census({PLAIN: 4}, 1000.0), census(cache, a_token), 4, "QuantizedLayer", windows_stay=True
    )
    assert [one.holds for one in checks] == holds


def test_a_window_that_was_to_be_packed_and_was_not() -> None:
    (held, _bytes) = smaller_cache(census({PLAIN: 2}, 100.0), census({"A": 1, IN_WINDOW: 1}, 10.0), 8, "A")
    assert (held.holds, held.found) == (False, f"1 A, 1 {IN_WINDOW}")


def test_a_cache_that_nothing_counts() -> None:
    (check,) = smaller_cache(census({PLAIN: 1}, None), census({"A": 1}, None), 4, "A")
    assert (check.holds, check.found) == (False, "not counted by this engine")


# ---- windows --------------------------------------------------------------------------------------------

WITH_WINDOWS = {
    "every layer": lambda: transformers.MistralConfig(**SIZES, sliding_window=WINDOW),
    "three of four": lambda: transformers.Gemma3TextConfig(
        **SIZES, head_dim=16, sliding_window=WINDOW, query_pre_attn_scalar=16,
        layer_types=["sliding_attention"] * 3 + ["full_attention"],
    ),
    "none": lambda: transformers.LlamaConfig(**SIZES),
}  # fmt: skip


def loaded(config: Any, place: Path) -> Any:
    return engine.load(saved(config, place), Options(device="cpu", threads=1))


def held_after(found: Any, tokens: int) -> int:
    generation = found.prefill([probe(tokens - 1, 512)], 2)
    found.step(generation)
    return int(found.cache_bytes(generation))


@pytest.mark.parametrize("kind", WITH_WINDOWS)
def test_float8_keeps_the_windows_and_is_smaller_at_every_length(kind: str, tmp_path: Path) -> None:
    """Float8 with a scale of four bytes for 16 numbers: 20 bytes in the place of 64."""
    found = loaded(WITH_WINDOWS[kind](), tmp_path)
    lengths = (WINDOW // 2, WINDOW, WINDOW + 1, LONG)
    plain = [held_after(found, tokens) for tokens in lengths]
    exact = found.logits(probe(LONG, 512))
    found.change(kv_float8.apply(found.model, kv_float8.Params()))
    packed = [held_after(found, tokens) for tokens in lengths]
    for before, after in zip(plain, packed, strict=True):
        assert after <= before * 20 / 64 * 1.1  # transformers keeps one token of a full window too many
    moved = torch.log_softmax(exact, -1) - torch.log_softmax(found.logits(probe(LONG, 512)), -1)
    divergence = (torch.softmax(exact, -1) * moved).sum(-1)
    assert 0 < float(divergence.mean()) < 0.2  # 0.03 to 0.07; with numbers in the wrong place it is above 4


def test_others_leave_windows_as_they_are(tmp_path: Path) -> None:
    found = loaded(WITH_WINDOWS["three of four"](), tmp_path)
    plain = held_after(found, LONG)
    found.change(kv_hqq.apply(found.model, kv_hqq.Params()))
    generation = found.prefill([probe(LONG, 512)], 1)
    assert found.cache_classes(generation) == {IN_WINDOW: 3, "HQQQuantizedLayer": 1}
    assert held_after(found, LONG) < plain


@pytest.mark.parametrize("scheme", [kv_hqq, kv_quanto])
def test_a_model_of_windows_alone_has_nothing_that_others_pack(scheme: Any) -> None:
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(WITH_WINDOWS["every layer"]())
    with pytest.raises(Unsupported, match="every layer of MistralForCausalLM has a sliding window"):
        scheme.apply(model, scheme.Params())


# ---- what is no cache of keys and values ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("mamba", {"state_size": 8}, "the cache of MambaForCausalLM has LinearAttentionLayer, and only keys"),
        ("rwkv", {"attention_hidden_size": 64, "context_length": 128}, "makes a cache of its own"),
    ],
)
def test_a_state_is_no_key_and_no_value(kind: str, more: dict[str, Any], said: str) -> None:
    config = transformers.AutoConfig.for_model(
        kind, hidden_size=64, num_hidden_layers=2, vocab_size=512, **more
    )
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    with pytest.raises(Unsupported, match=said):
        kv_float8.apply(model, kv_float8.Params())


def test_groups_of_a_latent_cache_are_those_of_its_two_tensors() -> None:
    """A token has one latent of 48 numbers and one key with position of 32."""
    config = transformers.DeepseekV3Config(
        **{**SIZES, "num_key_value_heads": 4}, q_lora_rank=32, kv_lora_rank=48, qk_nope_head_dim=16,
        qk_rope_head_dim=32, v_head_dim=16, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
        topk_group=1, moe_intermediate_size=64, n_shared_experts=1,
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    check_group(model, 16)
    with pytest.raises(Unsupported, match="groups of 32 numbers do not fill the 48"):
        check_group(model, 32)
    assert kinds_of(model) == {PLAIN: 4}


def test_what_changes_is_the_cache_alone() -> None:
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(WITH_WINDOWS["none"]())
    changed = kv_float8.apply(model, kv_float8.Params())
    assert isinstance(changed, Changed)
    assert changed.model is model
    assert [type(one).__name__ for one in changed.make_cache(1, 8).layers] == ["Float8Layer"] * 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "scheme", "a_token"),
    [
        ("none", "kv-float8", 4 * 2 * 2 * 20),  # layers, keys and values, heads, 16 numbers and a scale
        ("every layer", "kv-float8", 0),  # all windows are full
        ("three of four", "kv-float8", 1 * 2 * 2 * 20),
        ("three of four", "kv-hqq", None),
    ],
)
def test_what_one_more_token_adds_is_measured_when_windows_are_full(
    kind: str, scheme: str, a_token: int | None, tmp_path: Path
) -> None:
    """As of a plain cache, of which a row with a packed one is the neighbour."""
    options = {"device": "cpu", "dtype": "float32", "threads": 1, "attention": "sdpa", "random": False}
    message = {
        "directory": str(saved(WITH_WINDOWS[kind](), tmp_path)), "runtime": "bench.runtimes.transformers",
        "options": options, "step_by_step": True,
    }  # fmt: skip
    _engine, plain = session.load({**message, "optimise": []})
    _engine, packed = session.load({**message, "optimise": [told("quantise", scheme, {})]})
    before, after = plain.facts.kv_bytes_per_token, packed.facts.kv_bytes_per_token
    assert before is not None
    assert after is not None
    if a_token is not None:
        assert after == a_token
    assert after < before or before == 0


def test_a_window_that_spans_the_context_is_none(tmp_path: Path) -> None:
    """Phi-4-mini has such windows; whoever packs plain layers packs these."""
    found = loaded(transformers.MistralConfig(**SIZES, sliding_window=1024), tmp_path)
    assert kinds_of(found.model) == {PLAIN: 4}
    exact = found.logits(probe(LONG, 512))
    found.change(kv_hqq.apply(found.model, kv_hqq.Params()))
    generation = found.prefill([probe(LONG, 512)], 1)
    assert found.cache_classes(generation) == {"HQQQuantizedLayer": 4}
    assert float((found.logits(probe(LONG, 512)) - exact).abs().mean() / exact.std()) < 0.1
