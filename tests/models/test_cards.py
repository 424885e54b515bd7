"""The cards: what a config computes is what its card says, and what its makers say within their rounding."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
from test_registry import GOOD

from bench.config.reader import read_config
from bench.errors import ConfigError
from bench.models import anatomy
from bench.models.architecture import Architecture
from bench.models.fetch import ensure
from bench.models.reference import Random
from bench.models.registry import ModelFile, all_models, find_model

UNITS = {"M": 10**6, "B": 10**9, "T": 10**12}
CARDS = [model.name for model in all_models()]
MIXTURES = [model.name for model in all_models() if model.architecture.experts and model.published]
DECODERS = [model.name for model in all_models() if model.kind == "decoder"]
# What the makers count differently, and what they state with fewer digits than it seems (within 1 %).
# The note of each card says it.
OTHERWISE = {
    "r1-distill-qwen-1.5b": lambda facts: facts.parameters - facts.vocabulary * facts.hidden_size,
    "gemma3-4b": lambda facts: facts.parameters + 420_000_000,
    "gemma3-12b": lambda facts: facts.parameters + 420_000_000,
    "gemma3-27b": lambda facts: facts.parameters + 420_000_000,
}
WITHIN_A_HUNDREDTH = ("qwen2.5-32b", "smollm2-360m")


@cache
def counted(name: str) -> tuple[int, int]:
    return anatomy.parameter_counts(find_model(name).config)


# ---- what the config computes --------------------------------------------------------------------------


@pytest.mark.parametrize("name", CARDS)
def test_parameters_are_those_of_the_class(name: str) -> None:
    facts = find_model(name).architecture
    assert (facts.parameters, facts.active) == counted(name)


@pytest.mark.parametrize("name", CARDS)
def test_experts_and_cache_are_those_of_the_config(name: str) -> None:
    model = find_model(name)
    facts, config = model.architecture, model.config
    assert (facts.experts or 0, facts.experts_per_token or 0) == anatomy.experts_of(config)
    assert facts.head_dim == anatomy.head_dim(config)
    assert (facts.value_head_dim or 0) == anatomy.number(config, "v_head_dim")
    assert facts.token_bytes == anatomy.kv_bytes_per_token(config)
    assert facts.kv_window_bytes == anatomy.kv_window_bytes(config)
    windowed = anatomy.sliding_window(config) if anatomy.window_layers(config) else None
    assert facts.sliding_window == windowed


def test_counting_leaves_the_config_as_it_was() -> None:
    """transformers adds keys to nested parts of what it is given."""
    model = find_model("gpt-oss-20b")
    before = str(model.config)
    anatomy.parameter_counts(model.config)
    assert str(model.config) == before


# ---- what the makers say -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CARDS if find_model(name).published])
def test_the_makers_figures_agree_within_one_unit_of_their_last_digit(name: str) -> None:
    """671B allows 670B to 672B, and 7.61B allows 7.60B to 7.62B."""
    model = find_model(name)
    assert model.published is not None
    stated, exact = model.published.parameters, model.architecture.parameters
    if name in (*OTHERWISE, *WITHIN_A_HUNDREDTH):
        assert model.published.note
    if name in OTHERWISE:
        exact = OTHERWISE[name](model.architecture)
    most = exact // 100 if name in WITHIN_A_HUNDREDTH else rounding_of(stated)
    assert abs(exact - stated_number(stated)) <= most


@pytest.mark.parametrize("name", MIXTURES)
def test_the_makers_active_parameters_agree_with_or_without_the_input_embedding(name: str) -> None:
    """An embedding gives one row to a token, so some makers leave it out and some do not."""
    model = find_model(name)
    assert model.published is not None
    stated = model.published.active_parameters
    assert stated is not None
    facts = model.architecture
    embedding = facts.vocabulary * facts.hidden_size
    counts = (facts.active, facts.active - embedding)
    assert any(abs(count - stated_number(stated)) <= rounding_of(stated) for count in counts)


def test_every_card_of_a_published_model_is_complete() -> None:
    for name in (name for name in set(CARDS) - {"llama-3.1-8b-shape"} if not name.startswith("tiny-")):
        model = find_model(name)
        assert None not in (model.hub, model.precision, model.chat_template, model.published), name
        assert model.source is None or model.source.hub is None or model.source.hub.repo == model.hub


def stated_number(stated: str) -> int:
    """The number that makers state as ``671B``."""
    return int(Decimal(stated[:-1]) * UNITS[stated[-1]])


def rounding_of(stated: str) -> int:
    """How far an exact number may be from the stated one: one unit in its last digit."""
    places = len(stated[:-1].partition(".")[2])
    return int(UNITS[stated[-1]] / 10**places)


@pytest.mark.parametrize(
    ("stated", "number", "rounding"),
    [
        ("671B", 671 * 10**9, 10**9),
        ("7.61B", 7_610_000_000, 10**7),
        ("1T", 10**12, 10**12),
        ("0.6B", 6 * 10**8, 10**8),
    ],
)
def test_a_stated_size_is_a_number_and_its_rounding(stated: str, number: int, rounding: int) -> None:
    assert (stated_number(stated), rounding_of(stated)) == (number, rounding)


def test_a_trillion_is_stated_by_name_and_counted_closer() -> None:
    """One unit of 1T would allow anything, so the name alone does not hold the card."""
    assert find_model("kimi-k2").architecture.parameters == pytest.approx(1.026e12, rel=0.001)


# ---- arithmetic ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "token_bytes", "window_bytes"),
    [
        ("llama-3.1-8b", 2 * 32 * 8 * 128 * 2, 0),
        ("deepseek-v3", 61 * (512 + 64) * 2, 0),
        ("gemma3-27b", 10 * 2 * 16 * 128 * 2, 52 * 1024 * 2 * 16 * 128 * 2),
        ("gpt-oss-20b", 12 * 2 * 8 * 64 * 2, 12 * 128 * 2 * 8 * 64 * 2),
        ("phi-4-mini", 2 * 32 * 8 * 128 * 2, 0),
        ("qwen2.5-7b", 2 * 28 * 4 * 128 * 2, 0),
        ("all-minilm-l6-v2", 0, 0),
    ],
)
def test_the_cache_by_hand(name: str, token_bytes: int, window_bytes: int) -> None:
    facts = find_model(name).architecture
    assert (facts.token_bytes, facts.kv_window_bytes) == (token_bytes, window_bytes)


def test_a_window_fills_and_then_stays() -> None:
    facts = find_model("gpt-oss-20b").architecture
    layer = 2 * 8 * 64 * 2
    assert facts.cache_bytes(1) == 24 * layer
    assert facts.cache_bytes(128) == 128 * 24 * layer
    assert facts.cache_bytes(129) == 128 * 24 * layer + 12 * layer
    assert facts.cache_bytes(129, item_bytes=4) == 2 * facts.cache_bytes(129)


def test_weights_at_fewer_bits() -> None:
    facts = find_model("llama-3.1-8b").architecture
    assert [facts.weights_bytes(bits) for bits in (32, 16, 4)] == [
        facts.parameters * 4, facts.parameters * 2, facts.parameters // 2,
    ]  # fmt: skip


@pytest.mark.parametrize("active", ["0", "-1", "1.5"])
def test_counts_are_whole_and_positive(active: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    text = GOOD.replace("  parameters: 1000", f"  parameters: 1000\n  active_parameters: {active}")
    (tmp_path / "models" / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        find_model("mine")
    assert caught.value.key == "architecture.active_parameters"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("hub: no-owner", "hub"),
        ("kind: both", "kind"),
        ("precision: int3", "precision"),
        ("published: {parameters: 671}", "published.parameters"),
        ("published: {parameters: many}", "published.parameters"),
        ("reasoning: {start: <think>}", "reasoning.end"),
        ("reasoning: {start: '', end: x}", "reasoning.start"),
        ("reasoning: {start: a, end: b, stop: c}", "reasoning.stop"),
    ],
)
def test_a_wrong_key_of_a_card_is_named(
    line: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "mine.yaml").write_text(f"{line}\n{GOOD}")
    with pytest.raises(ConfigError) as caught:
        find_model("mine")
    assert caught.value.key == key


# ---- what a config may name ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_is_used_with_its_pinned_weights_or_with_random_ones(name: str) -> None:
    model = find_model(name)
    assert model.why_not(random=True) is None
    reason = model.why_not(random=False)
    assert (reason is None) == (model.source is not None)
    if model.hub and reason:
        assert f"{{hub: {model.hub}, revision: 40 hex digits}}" in reason


def encoders() -> list[ModelFile]:
    return [model for model in all_models() if model.kind == "encoder"]


def test_an_encoder_is_used_with_random_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    assert len(encoders()) == 2
    for model in encoders():
        assert model.why_not(random=True) is None
        assert ensure(Random(model.name)).random


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bge-small-en-v1.5", "write {hub: BAAI/bge-small-en-v1.5, revision: 40 hex digits}"),
        ("gpt-oss-20b", "write {hub: openai/gpt-oss-20b, revision: 40 hex digits}"),
        ("tiny-llama", "write {path: DIR}"),
    ],
)
def test_a_config_is_told_at_its_line(text: str, words: str, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(f"name: mine\nmodel: {text}\n")
    with pytest.raises(ConfigError) as caught:
        read_config(config)
    assert caught.value.line == 2
    assert words in caught.value.problem


def test_a_plain_card_needs_no_optional_key() -> None:
    facts = Architecture(
        parameters=1000, layers=2, hidden_size=8, attention_heads=2, kv_heads=1, head_dim=4,
        intermediate_size=16, vocabulary=32, context=64, tied_embeddings=True,
    )  # fmt: skip
    assert (facts.active, facts.token_bytes, facts.cache_bytes(10)) == (1000, 32, 320)
