"""The counts of a transformer's passes: by hand, against torch's own count of FLOP, and at the limits."""

from __future__ import annotations

import pytest

from bench.errors import UsageError
from bench.models.architecture import Architecture
from bench.models.registry import find_model
from bench.plan.roofline import Ceilings, Loaded, decode, prefill

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


@pytest.mark.parametrize("name", ["smollm2-135m", "qwen3-0.6b"])
def test_flop_against_torch(name: str) -> None:
    """torch counts the products of the real class, at a small size, without memory."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoConfig, AutoModelForCausalLM

    card = find_model(name)
    values = dict(card.config)
    values |= {"num_hidden_layers": 2, "vocab_size": 512, "_attn_implementation": "eager"}
    values.pop("layer_types", None)
    built = AutoConfig.for_model(str(values.pop("model_type")), **values)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(built)
    total = sum(parameter.numel() for parameter in model.parameters())
    facts = card.architecture.model_copy(update={"layers": 2, "vocabulary": 512, "parameters": total})
    tokens = 64
    with FlopCounterMode(display=False) as counted:
        model(torch.zeros(1, tokens, dtype=torch.long, device="meta"), logits_to_keep=1)
    # The class multiplies all pairs of positions and masks half of them.
    ours = Loaded(facts, 32).flop(tokens, tokens**2, 1)
    assert ours == pytest.approx(counted.get_total_flops(), rel=0.01)


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
