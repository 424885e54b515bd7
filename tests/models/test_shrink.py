"""The same architecture, smaller: what stays, what is refused, and that every card builds small and runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bench.engine import Options
from bench.engine.stepping import by_steps
from bench.errors import UsageError
from bench.models import anatomy
from bench.models.fetch import ensure
from bench.models.reference import Random
from bench.models.registry import all_models, find_model
from bench.models.shrink import Size, shrunk, why_not
from bench.runtimes import transformers as engine
from bench.worker import session
from bench.worker.noise_floor import SHAPES, noise_floor

DECODERS = [model for model in all_models() if model.kind == "decoder"]
NAMES = [model.name for model in DECODERS]
FAMILIES = {  # one card of each
    "grouped-query attention": "llama-3.2-1b",
    "biases": "qwen2.5-0.5b",
    "LongRoPE and a part of the head rotated": "phi-4-mini",
    "layers without positions": "smollm3-3b",
    "every layer has a window, switched off": "mistral-7b",
    "local and global layers": "gemma3-1b",
    "experts": "qwen3-30b-a3b",
    "experts, windows and sinks": "gpt-oss-20b",
    "experts, shared ones, in groups, and latent attention": "deepseek-r1",
}
PAST_THE_WINDOW = 200  # tokens; gpt-oss has a window of 128


def small(name: str) -> Size:
    """Four layers, and experts where there are some: twice as many as a token goes through."""
    chosen = find_model(name).architecture.experts_per_token
    return Size(layers=4, hidden=64, experts=2 * chosen if chosen else None)


def options(name: str, **changes: Any) -> Options:
    """gpt-oss has attention sinks, which transformers computes in its eager attention."""
    eager = find_model(name).config["model_type"] == "gpt_oss"
    return Options(device="cpu", threads=1, attention="eager" if eager else "sdpa", **changes)


# ---- every card -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_card_builds_small_and_runs(name: str) -> None:
    size = small(name)
    found = engine.load(ensure(Random(name, **asdict(size))).directory, options(name, random=True))
    card, model = find_model(name), find_model(name).sized(size)
    facts = model.architecture
    assert [type(found.model).__name__] == card.config["architectures"]
    assert found.parameters() == anatomy.parameter_counts(model.config)[0]
    assert facts.parameters == pytest.approx(found.parameters(), rel=0.02)
    assert facts.active == pytest.approx(anatomy.parameter_counts(model.config)[1], rel=0.02)
    assert (facts.experts, facts.experts_per_token) == (size.experts, card.architecture.experts_per_token)
    (causal, steps), _held = by_steps(found, found.facts())
    assert causal.holds, causal
    assert steps.holds, steps
    tokens = PAST_THE_WINDOW
    generation = found.prefill([[number % 97 for number in range(tokens - 1)]], 2)
    found.step(generation)
    held = found.cache_bytes(generation)
    assert held == pytest.approx(facts.cache_bytes(tokens, item_bytes=4), rel=0.01)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("phi-4-mini", Size(layers=3, hidden=48)),
        ("gpt-oss-20b", Size(layers=1, hidden=32, experts=5)),
        ("deepseek-r1", Size(layers=7, hidden=80, experts=17)),
        ("gemma3-27b", Size(layers=1, hidden=32)),
        ("llama-3.2-1b", Size(layers=40, hidden=240)),
    ],
)
def test_odd_sizes_build_and_keep_what_the_estimate_says(name: str, size: Size) -> None:
    found = engine.load(ensure(Random(name, **asdict(size))).directory, options(name, random=True))
    facts = find_model(name).sized(size).architecture
    checks, a_token = by_steps(found, found.facts())
    assert all(one.holds for one in checks)
    assert facts.parameters == pytest.approx(found.parameters(), rel=0.02)
    assert a_token == facts.cache_bytes(60, 4) - facts.cache_bytes(59, 4)


@pytest.fixture(scope="module", params=FAMILIES.values(), ids=FAMILIES.keys())
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A checkpoint of each family with weights so large that the context matters, as a worker loads it."""
    name, place = request.param, tmp_path_factory.mktemp("shrunk")
    config = dict(find_model(name).sized(small(name)).config)
    kind = config.pop("model_type")
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(kind, **config))
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.data.normal_(0, weight.shape[-1] ** -0.5)
    model.save_pretrained(place)
    return session.load(
        {
            "directory": str(place), "runtime": "bench.runtimes.transformers", "optimise": [],
            "options": asdict(options(name)), "step_by_step": True,
        }
    )  # fmt: skip


def test_a_family_is_loaded_with_evidence(loaded: Any) -> None:
    """The census finds each matrix, and decoding step by step is one pass, where the context matters."""
    found, facts = loaded
    claims = {check["claim"] for check in facts.evidence[0]["checks"] if check["holds"]}
    assert {
        "tokens decoded step by step are those of one pass",
        "logits of a token do not depend on later tokens",
    } <= claims
    ids = [number % 97 + 3 for number in range(32)]
    whole, alone = found.logits(ids)[-1], found.logits(ids[-1:])[-1]
    assert float((whole - alone).abs().mean() / whole.std()) > 0.3
    census = found.census()
    tables = sum(one.weight.numel() for one in found.model.modules() if isinstance(one, torch.nn.Embedding))
    tied = found.model.get_input_embeddings().weight is found.model.get_output_embeddings().weight
    held = sum(matrix.elements for matrix in census.matrices) + census.others + tables * (not tied)
    assert 0.97 * facts.parameters <= held <= facts.parameters
    assert census.weights_bytes >= 4 * facts.parameters


def test_a_family_has_no_drift_from_itself(loaded: Any) -> None:
    found, _facts = loaded
    ids = [number % 97 + 3 for number in range(64)]
    (window,) = noise_floor(found, [ids], list(range(3, 20)), SHAPES).windows
    assert max(abs(value) for value in window.kld) < 1e-4
    assert all(window.same_top)


def test_a_family_is_held_in_memory(loaded: Any) -> None:
    _found, facts = loaded
    assert facts.load_memory["peak_rss_bytes"] > facts.weights_bytes


# ---- what stays -----------------------------------------------------------------------------------------


def test_deepseek_keeps_what_makes_it() -> None:
    config = shrunk(find_model("deepseek-r1").config, Size(layers=4, hidden=256, experts=16))
    expected = {
        "num_hidden_layers": 4, "first_k_dense_replace": 1, "hidden_size": 256, "n_routed_experts": 16,
        "num_experts_per_tok": 8, "n_shared_experts": 1, "n_group": 8, "topk_group": 4,
        "qk_rope_head_dim": 64, "num_attention_heads": 5, "vocab_size": 4624, "kv_lora_rank": 16,
    }  # fmt: skip
    assert {key: config[key] for key in expected} == expected


def test_the_card_itself_is_left_as_it_is() -> None:
    before = json.dumps(find_model("gpt-oss-20b").config)
    find_model("gpt-oss-20b").sized(Size(layers=2, hidden=64, experts=4))
    assert json.dumps(find_model("gpt-oss-20b").config) == before
    assert find_model("gpt-oss-20b").sized(Size()) == find_model("gpt-oss-20b")


@pytest.mark.parametrize("layers", [1, 2, 3, 24, 50])
def test_no_kind_of_layer_is_lost_that_there_is_room_for(layers: int) -> None:
    config = find_model("gpt-oss-20b").config
    kinds = shrunk(config, Size(layers=layers))["layer_types"]
    assert len(kinds) == layers
    assert len(set(kinds)) == min(layers, 2)
    rare = {"num_hidden_layers": 6, "layer_types": ["a"] * 5 + ["b"]}
    assert set(shrunk(rare, Size(layers=max(2, layers)))["layer_types"]) == {"a", "b"}


@pytest.mark.parametrize("name", NAMES)
def test_the_shares_of_heads_stay(name: str) -> None:
    before = find_model(name).architecture
    after = find_model(name).sized(Size(hidden=before.hidden_size // 2 // 16 * 16)).architecture
    assert after.attention_heads % after.kv_heads == 0
    then, now = before.attention_heads / before.kv_heads, after.attention_heads / after.kv_heads
    assert then / 2 <= now <= then * 2
    assert now > 1 or then == 1 or after.attention_heads == 2


@pytest.mark.parametrize("experts", [8, 9, 12, 16, 64])
def test_a_token_finds_its_experts_in_the_groups_that_it_uses(experts: int) -> None:
    config = shrunk(find_model("deepseek-r1").config, Size(experts=experts))
    groups, used = config["n_group"], config["topk_group"]
    assert experts % groups == 0
    assert experts // groups >= 2
    assert used <= groups
    assert used * experts // groups >= config["num_experts_per_tok"]


# ---- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "key", "value", "words"),
    [
        ("llama-3.1-8b", "layers", 0, "must be a whole number from 1 to 1000, not 0"),
        ("llama-3.1-8b", "layers", 1001, "must be a whole number from 1 to 1000, not 1001"),
        ("llama-3.1-8b", "hidden", 0, "must be a multiple of 16 from 32 to 65536, not 0"),
        ("llama-3.1-8b", "hidden", 250, "must be a multiple of 16 from 32 to 65536, not 250"),
        ("llama-3.1-8b", "hidden", 64.0, "must be a multiple of 16 from 32 to 65536, not 64.0"),
        ("llama-3.1-8b", "experts", 8, "this model has no experts: every token uses all of it"),
        ("deepseek-r1", "experts", 1, "must be a whole number from 2 to 4096, not 1"),
        ("deepseek-r1", "experts", 7, "must be at least 8, since each token goes through 8 experts, not 7"),
        ("deepseek-r1", "experts", "16", "must be a whole number from 2 to 4096, not '16'"),
        ("deepseek-r1", "layers", True, "not True"),
    ],
)
def test_a_size_that_cannot_be(name: str, key: str, value: Any, words: str) -> None:
    config = find_model(name).config
    assert words in (why_not(config, key, value) or "")
    with pytest.raises(UsageError, match=f"^{key} "):
        shrunk(config, Size(**{key: value}))


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (Size(), ""),
        (Size(layers=1), "1 layer"),
        (Size(hidden=64, experts=8), "hidden 64, 8 experts"),
        (Size(4, 256, 16), "4 layers, hidden 256, 16 experts"),
    ],
)
def test_a_size_in_words(size: Size, words: str) -> None:
    assert str(size) == words


def test_the_source_of_a_shrunk_model_says_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    assert ensure(Random("deepseek-r1", 4, 256, 16)).source.location == "4 layers, hidden 256, 16 experts"
    assert ensure(Random("tiny-llama")).source.location == "2 layers"
