"""A prompt read in another process: its cache comes over the link, and the text is the model's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from byte_tokenizer import write_tokenizer
from engines import decoded, saved, sizes, toys

from bench.engine import Changed, Options
from bench.engine.cloud import Cloud
from bench.engine.split_socket import Codec
from bench.engine.splitting import Prices
from bench.errors import Unsupported
from bench.link import NO_DELAY, Link, LinkSettings
from bench.optimisations.shared import halves
from bench.optimisations.split import prefill
from bench.runtimes import transformers as runtime

LAYERS, HEADS, NUMBERS, TOKENS = 2, 2, 16, 8
PROMPTS = [[5, 6, 7, 8, 9, 10], [11, 12, 13]]
TEXT = [(37 * place) % 500 for place in range(48)]
PLAIN = [name for name in sorted(toys(96, None)) if name != "mistral"]


def engine(path: Path) -> Any:
    return runtime.load(path, Options(device="cpu", threads=1))


@pytest.fixture(scope="module")
def cloud(warm_cloud: None) -> Iterator[Cloud]:
    found = Cloud()
    yield found
    found.close()


def split(path: Path, cloud: Cloud) -> Any:
    """The model with a process that reads its prompts, which runs already: starting it takes seconds."""
    found = engine(path)
    rest = halves.open_prompts(found.model, "as-they-are", NO_DELAY, Prices(), cloud)
    found.change(Changed(found.model, rest=rest))
    return found


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = transformers.LlamaConfig(**sizes(96), tie_word_embeddings=True)
    path = saved(config, tmp_path_factory.mktemp("m"))
    write_tokenizer(path)
    return path


@pytest.fixture
def halved(llama: Path, cloud: Cloud) -> Any:
    return split(llama, cloud)


@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS], ids=["one", "a batch with padding"])
def test_the_text_is_the_models_own(halved: Any, llama: Path, prompts: list[list[int]]) -> None:
    assert decoded(halved, prompts, TOKENS) == decoded(engine(llama), prompts, TOKENS)
    assert torch.allclose(halved.logits(TEXT), engine(llama).logits(TEXT), atol=1e-4)


@pytest.mark.parametrize("kind", PLAIN)
def test_every_architecture_with_a_plain_cache(kind: str, tmp_path: Path, cloud: Cloud) -> None:
    path = saved(toys(96, None)[kind](), tmp_path)
    write_tokenizer(path)
    assert decoded(split(path, cloud), [TEXT[:20]], TOKENS) == decoded(engine(path), [TEXT[:20]], TOKENS)


def test_the_bytes_are_those_of_ids_and_cache(halved: Any) -> None:
    """By hand: up a header of 16, 4 for the padding and 4 for each id; down 16, 8 for the time, 4 for the
    token and keys and values of 6 tokens."""
    halved.split_work()
    decoded(halved, PROMPTS[:1], TOKENS)
    work = halved.split_work()
    assert work.prefill.sent_bytes == 16 + 4 + 6 * 4
    assert work.prefill.received_bytes == 28 + 6 * 2 * LAYERS * HEADS * NUMBERS * 4
    assert (work.prefill.passes, work.decode.passes, work.decode.sent_bytes) == (1, 0, 0)


@pytest.mark.parametrize(("codec", "most"), [("int8", 1e-3), ("float8", 2e-2)])
def test_a_rounded_cache_is_smaller_and_drifts(halved: Any, llama: Path, codec: Codec, most: float) -> None:
    """One byte for a number and a scale of four bytes for each token and head."""
    halved._rest.codec = codec
    whole = engine(llama).logits(TEXT).double().log_softmax(-1)
    other = halved.logits(TEXT).double().log_softmax(-1)
    assert 1e-9 < float((whole.exp() * (whole - other)).sum(-1).mean()) < most
    halved.split_work()
    halved.prefill(PROMPTS[:1], 2)
    assert halved.split_work().prefill.received_bytes == 28 + 6 * 2 * LAYERS * HEADS * (NUMBERS + 4)


def test_the_prompt_alone_waits_for_the_link(halved: Any) -> None:
    settings = LinkSettings(round_trip_ms=20, down_megabits_per_s=1)
    halved._rest.link = Link(settings)
    decoded(halved, PROMPTS[:1], TOKENS)
    work = halved.split_work()
    down_s = settings.one_way_s(work.prefill.received_bytes, "down")
    assert work.prefill.link_asked_s == pytest.approx(0.010 + down_s)
    assert work.prefill.link_s >= work.prefill.link_asked_s
    assert work.decode.link_s == 0


def test_the_cache_is_in_one_place_and_the_weights_are_in_two(halved: Any, llama: Path) -> None:
    whole = engine(llama)
    generations = [one.prefill(PROMPTS[:1], 2) for one in (whole, halved)]
    assert halved.cache_bytes(generations[1]) == whole.cache_bytes(generations[0])
    assert halved.parameters() == 2 * whole.parameters()


def test_a_cache_with_a_window_is_refused(tmp_path: Path) -> None:
    path = saved(toys(96, 8)["mistral"](), tmp_path)
    model = engine(path).model
    with pytest.raises(Unsupported, match="the cache of MistralForCausalLM has DynamicSlidingWindowLayer"):
        prefill.apply(model, prefill.Params())


def test_a_cache_with_other_keys_than_values_is_refused() -> None:
    """Multi-head latent attention: 32 numbers of a key and 16 of a value."""
    import transformers

    config = transformers.DeepseekV3Config(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, vocab_size=96,
        intermediate_size=32, q_lora_rank=16, kv_lora_rank=16, qk_nope_head_dim=16, qk_rope_head_dim=16,
        v_head_dim=16, first_k_dense_replace=1,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(Unsupported, match="holds other keys than values"):
        prefill.apply(model, prefill.Params())
