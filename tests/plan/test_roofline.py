"""The counts of a transformer's passes: by hand, against torch's own count of FLOP, and at the limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.errors import UsageError
from bench.models.architecture import Architecture
from bench.models.registry import find_model
from bench.models.shrink import Size
from bench.plan.bytes_and_flop import Loaded, seen
from bench.plan.parts import Attention, Overhead, Parts
from bench.plan.products import Products
from bench.plan.roofline import Ceilings, decode, prefill

LLAMA = find_model("llama-3.1-8b").architecture
MIXTURE = find_model("qwen3-30b-a3b").architecture
H100 = Ceilings(3.35e12, 989e12)


def test_a_step_of_8b_by_hand() -> None:
    """8.03 billion weights but the 525 million rows of the input table, two bytes each, at 3.35 TB/s."""
    found = decode(Loaded(LLAMA, 16), H100, context=0)
    assert found.read_bytes == 2 * (8_030_261_248 - 128_256 * 4096)
    assert found.seconds == pytest.approx(found.read_bytes / 3.35e12)
    assert found.bound == "memory"


def test_the_cache_is_read_too() -> None:
    """32 layers, 8 heads of 128, keys and values, two bytes: 131,072 bytes a token."""
    empty, full = (decode(Loaded(LLAMA, 16), H100, context) for context in (0, 1000))
    assert full.read_bytes - empty.read_bytes == 131_072 * 1000
    assert full.flop - empty.flop == 4 * 32 * 32 * 128 * 1000


def test_a_prompt_is_bound_by_arithmetic() -> None:
    found = prefill(Loaded(LLAMA, 16), H100, tokens=1000)
    assert found.bound == "arithmetic"
    body = 8_030_261_248 - 2 * 128_256 * 4096
    assert found.flop == 2 * body * 1000 + 2 * 128_256 * 4096 + 4 * 32 * 32 * 128 * 1000**2 / 2


def test_half_the_bits_are_half_the_time_of_a_step() -> None:
    long, short = (decode(Loaded(LLAMA, bits), H100, 0).seconds for bits in (16, 8))
    assert short == pytest.approx(long / 2)


def test_a_batch_reads_more_experts() -> None:
    """One token uses 8 of 128 experts; many tokens use nearly all."""
    loaded = Loaded(MIXTURE, 16)
    one, many = loaded.read_bytes(1), loaded.read_bytes(1000)
    lookup = MIXTURE.vocabulary * MIXTURE.hidden_size
    assert one == pytest.approx(2 * (MIXTURE.active - lookup), rel=1e-6)
    assert many == pytest.approx(2 * (MIXTURE.parameters - lookup), rel=1e-6)
    assert loaded.read_bytes(16) == pytest.approx(
        one + (1 - (1 - 8 / 128) ** 16 - 8 / 128) * loaded.routed * 2, rel=1e-6
    )


def test_overhead_binds_a_small_model() -> None:
    found = decode(Loaded(find_model("smollm2-135m").architecture, 16), Ceilings(1e15, 1e18, 1e-3), 10)
    assert found.bound == "overhead"
    assert found.seconds == pytest.approx(30 * 1e-3, rel=1e-3)


SHAPES = ["smollm2-135m", "qwen3-0.6b", "deepseek-v3", "gemma3-1b", "mistral-7b"]


def counted(name: str, tokens: int, **changes: object) -> tuple[Loaded, float]:
    """Return a small model of the class of a card, and the FLOP that torch counts for a prompt: every pair of
    positions is multiplied, and half of them masked."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoConfig, AutoModelForCausalLM

    card = find_model(name)
    card = card.sized(Size(layers=2, hidden=128, experts=8 if card.architecture.experts else None))
    values = {**card.config, **changes, "_attn_implementation": "eager"}
    built = AutoConfig.for_model(str(values.pop("model_type")), **values)
    with torch.device(
        "cpu" if card.architecture.experts else "meta"
    ):  # its products of experts know no float32
        model = AutoModelForCausalLM.from_config(built)
        with FlopCounterMode(display=False) as found, torch.inference_mode():
            model(torch.zeros(1, tokens, dtype=torch.long), logits_to_keep=1)
    total = sum(parameter.numel() for parameter in model.parameters())
    facts = card.architecture
    if not facts.experts:
        facts = facts.model_copy(update={"parameters": total})
    return Loaded(facts, 32, expanded=True), found.get_total_flops()


@pytest.mark.parametrize("name", SHAPES)
def test_flop_of_attention_against_torch(name: str) -> None:
    """Doubling a prompt adds the products of its tokens, and those of pairs: heads of one size, latent
    attention with keys longer than values, and windows, which the eager class multiplies whole."""
    tokens = 256
    loaded, once = counted(name, tokens)
    _, twice = counted(name, 2 * tokens)
    pairs = (twice - 2 * once + loaded.flop(0, 1)) / 2  # the output layer is in each of them once
    assert loaded.attention_flop(tokens**2, 0) == pytest.approx(pairs, rel=0.01)


@pytest.mark.parametrize("name", ["smollm2-135m", "qwen3-0.6b", "gemma3-1b", "mistral-7b"])
def test_flop_against_torch(name: str) -> None:
    loaded, total = counted(name, 64)
    assert loaded.flop(64, 1) + loaded.attention_flop(64**2, 0) == pytest.approx(total, rel=0.01)


def test_a_latent_cache_is_multiplied_as_it_is() -> None:
    """128 heads multiply a query with 576 latent values and weigh as many, where 512 are weighed: 6 % more.

    torch counts the two products of DeepSeek-V2's absorbed form.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    facts = find_model("deepseek-v3").architecture
    with FlopCounterMode(display=False) as found, torch.device("meta"):
        query, cached = torch.empty(128, 1, 576), torch.empty(128, 1000, 576)
        torch.bmm(query, cached.transpose(1, 2))
        torch.bmm(torch.empty(128, 1, 1000), cached[..., :512])
    ours = Loaded(facts, 8).attention_flop(0, 1000)
    assert ours / facts.layers == pytest.approx(found.get_total_flops() * 1152 / 1088)
    assert Loaded(facts, 8, expanded=True).attention_flop(0, 1000) < ours / 3


def test_the_cache_of_latent_attention_expanded() -> None:
    """transformers keeps a key of 192 and a value of 128 for each of 128 heads; the card has 576 values."""
    facts = find_model("deepseek-v3").architecture
    assert Loaded(facts, 16, 2).cache_bytes(10) == 10 * 61 * 576 * 2
    assert Loaded(facts, 16, 2, expanded=True).cache_bytes(10) == 10 * 61 * 128 * 320 * 2


@pytest.mark.parametrize("tokens", [100, 512, 1000, 5000])
def test_pairs_in_windows_are_those_that_a_mask_leaves(tokens: int) -> None:
    """Counted position by position: 22 of the 26 layers of Gemma 3 1B look at 512 tokens."""
    loaded = Loaded(find_model("gemma3-1b").architecture, 16)
    assert loaded.windowed == pytest.approx(22 / 26)
    whole = sum(range(1, tokens + 1))
    near = sum(min(position, 512) for position in range(1, tokens + 1))
    expected = (4 * whole + 22 * near) / 26
    assert seen(loaded, tokens, tokens**2 / 2, spread=tokens) == pytest.approx(expected, rel=0.011)
    assert seen(loaded, 1, tokens, spread=0) == pytest.approx((4 * tokens + 22 * min(tokens, 512)) / 26)


def test_a_chunk_sees_its_own_window() -> None:
    """The second half of a prompt, read by itself: positions 1001 to 2000."""
    loaded = Loaded(find_model("gemma3-1b").architecture, 16)
    expected = 4 / 26 * sum(range(1001, 2001)) + 22 / 26 * 1000 * 512
    assert seen(loaded, 1000, 1000 * 1500, spread=1000) == pytest.approx(expected, rel=0.001)


FLAT = Products((512, 2048), (1, 128), ((1e-9, 1e-9), (1e-9, 1e-9)))  # whatever the rows
ATTENTION = Attention((64, 128), (1e10, 4e10), (1e9, 1e9), (2e9, 2e9), (5e8, 5e8))
PARTS = Parts(FLAT, FLAT, ATTENTION, 5e9, 1e-9, Overhead(0.001, 0.003, 0.007))


def test_a_pass_is_the_sum_of_its_parts() -> None:
    """One time for each weight, whatever the rows: then the parts add up by hand."""
    facts = find_model("smollm2-135m").architecture
    at_best = Ceilings(10e9, 100e9, 99.0, PARTS)
    loaded = Loaded(facts, 32, 4)
    values = 22 * 576 + 5 * 1536 + 12 * (9 + 3) * 64
    cache_s = 128 * 30 * 2 * 3 * 64 * 4 * (1 / 10e9 + 2 / 5e9)  # read and copied
    by_hand = facts.parameters * 1e-9 + cache_s + 30 * 0.001  # the head is the tied table of embeddings
    prompt_s = 4 * 30 * 9 * 64 * 128**2 / 2 / 4e10 + 127 * 30 * values * 4 / 5e9
    step_s = 4 * 30 * 9 * 64 * 128 / 1e9
    assert prefill(loaded, at_best, 128).seconds == pytest.approx(by_hand + prompt_s)
    assert decode(loaded, at_best, 128).seconds == pytest.approx(by_hand + step_s)


def test_experts_are_sorted_and_latent_attention_has_its_own_rates() -> None:
    facts = find_model("deepseek-r1").architecture
    loaded = Loaded(facts, 16, 2, expanded=True)
    pairs = 100 * 100 / 2
    flop = 2 * 61 * 128 * (192 + 128) * pairs
    width = loaded.routed / 61 / 256 / 3 / 7168
    routed_s = 99 * 61 * 8 * (7168 + width / 2) * 1e-9
    values = 22 * 7168 + 5 * 8 * width + 12 * (128 + 128) * 192
    used = loaded.used(100)
    matrices = facts.parameters - loaded.routed * (1 - used) - loaded.embedding
    by_hand = matrices * 1e-9 + loaded.cache_bytes(100) * (1 / 10e9 + 2 / 5e9) + flop / 2e9
    by_hand += 99 * 61 * values * 2 / 5e9 + routed_s + 61 * 0.007
    assert prefill(loaded, Ceilings(10e9, 100e9, 0.0, PARTS), 100).seconds == pytest.approx(by_hand)


def test_the_overhead_of_a_layer_by_its_kind() -> None:
    """Experts and latent attention add theirs, together and each alone."""
    mixture, dense = (Loaded(find_model(name).architecture, 16) for name in ("qwen3-30b-a3b", "qwen3-0.6b"))
    latent = find_model("deepseek-r1").architecture
    plain = latent.model_copy(update={"experts": None, "active_parameters": None})
    kinds = (dense, mixture, Loaded(latent, 16), Loaded(plain, 16))
    assert [PARTS.layer_s(one) for one in kinds] == pytest.approx([0.001, 0.003, 0.007, 0.005])
    assert replace(PARTS, overhead=Overhead(0.0, 0.002, 0.001)).layer_s(kinds[3]) == 0.0


def test_a_step_can_be_bound_by_its_overhead() -> None:
    loaded = Loaded(find_model("smollm2-135m").architecture, 16)
    assert decode(loaded, Ceilings(10e9, 100e9, 0.0, PARTS), 10).bound == "memory"
    slow = replace(PARTS, overhead=Overhead(dense=1.0))
    assert decode(loaded, Ceilings(10e9, 100e9, 0.0, slow), 10).bound == "overhead"


def test_an_expert_gets_few_rows() -> None:
    """64 tokens choose 8 of 128: nearly all experts are used, by four tokens each."""
    loaded = Loaded(MIXTURE, 16)
    *body, upper, lower = loaded.matrices(64)
    assert {rows for _weights, _width, rows in body} == {64}
    assert upper[0] + lower[0] == pytest.approx(loaded.routed * (1 - (1 - 1 / 16) ** 64))
    assert upper[0] == 2 * lower[0]  # gate and up are one matrix
    assert (upper[2], lower[2]) == pytest.approx((4, 4), rel=0.02)
    assert lower[1] == pytest.approx((2048 * 768) ** 0.5, rel=1e-3)
    known = sum(weights for weights, _width, _rows in body) + loaded.head + loaded.routed
    norms = MIXTURE.parameters - loaded.embedding - known
    assert 0 < norms < 48 * 2048**2 * 0.02


def test_the_matrices_of_a_dense_layer() -> None:
    """SmolLM2 135M by hand: queries and outputs, keys and values, and three matrices of the MLP."""
    loaded = Loaded(find_model("smollm2-135m").architecture, 16)
    query, key, mlp = loaded.matrices(7)
    assert query == (30 * 2 * 576 * 576, 576, 7)
    assert key == (30 * 2 * 576 * 192, pytest.approx((576 * 192) ** 0.5), 7)
    assert mlp == (pytest.approx(30 * 3 * 576 * 1536, rel=1e-3), pytest.approx(941, rel=1e-3), 7)


def test_products_between_what_was_measured() -> None:
    found = Products((100, 400), (1, 16), ((1.0, 4.0), (2.0, 8.0)))
    assert found.weight_s(100, 1) == 1.0
    assert found.weight_s(400, 16) == 8.0
    assert found.weight_s(200, 4) == pytest.approx(2**0.5 * 2)  # halfway in both logarithms
    assert found.weight_s(10, 0.5) == 1.0  # the nearest point
    assert found.weight_s(1000, 160) == pytest.approx(80.0)  # ten times the rows, ten times the time
    one = Products((64,), (1,), ((3.0,),))
    assert (one.weight_s(5, 1), one.weight_s(500, 2)) == (3.0, 6.0)


@pytest.mark.parametrize(
    "bad",
    [
        ((), (1,), ()),
        ((2, 1), (1,), ((1.0,), (1.0,))),
        ((1,), (1, 2), ((1.0,),)),
        ((1,), (1,), ((0.0,),)),
        ((1,), (1,), ((float("nan"),),)),
        ((0,), (1,), ((1.0,),)),
    ],
)
def test_products_are_measured_for_every_point(bad: tuple[object, ...]) -> None:
    with pytest.raises(UsageError, match="a time above 0 for every width"):
        Products(*bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"copy_bytes_per_s": 0.0}, "rate of copying"),
        ({"routed_value_s": float("inf")}, "a routed value above 0"),
        ({"overhead": Overhead(dense=-1.0)}, "at least 0"),
    ],
)
def test_parts_are_above_0(bad: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        replace(PARTS, **bad)


@pytest.mark.parametrize(
    "bad",
    [
        {"tokens": ()},
        {"tokens": (2, 1)},
        {"step": (1.0,)},
        {"prompt": (1.0, 0.0)},
        {"latent_step": (1.0, float("nan"))},
    ],
)
def test_attention_is_measured_for_every_length(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="a rate above 0 for every number of tokens"):
        replace(ATTENTION, **bad)


def test_devices_together_have_their_ceilings_added() -> None:
    assert H100.shared(2) == Ceilings(6.7e12, 1978e12)


@pytest.mark.parametrize("bad", [(0, 1), (1, 0), (float("nan"), 1), (1, 1, -1)])
def test_ceilings_are_above_0(bad: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="above 0"):
        Ceilings(*bad)


def test_every_card_has_a_roofline(every_card: tuple[str, Architecture]) -> None:
    _name, facts = every_card
    loaded = Loaded(facts, 16)
    step, prompt = decode(loaded, H100, 100), prefill(loaded, H100, 100)
    assert 0 < step.read_bytes <= loaded.weights_bytes + loaded.cache_bytes(100)
    assert 0 < step.flop < prompt.flop
    assert 0 <= loaded.routed < facts.parameters
