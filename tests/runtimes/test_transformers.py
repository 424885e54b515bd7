"""Our decode loop against transformers' own ``generate``; what was asked for is read back from the model."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bench.engine import Changed, Options
from bench.errors import Unsupported
from bench.models.fetch import ensure
from bench.models.reference import Named, Random
from bench.runtimes import transformers as runtime

TOY = ensure(Random("tiny-llama")).directory
DEVICE = os.environ.get("BENCH_TEST_DEVICE", "cpu")  # scripts/gpu-check sets it


@pytest.fixture(scope="module")
def toy() -> runtime.TransformersEngine:
    return runtime.load(TOY, Options(random=True, device=DEVICE))


@pytest.fixture(scope="module")
def real() -> runtime.TransformersEngine:
    return runtime.load(ensure(Named("smollm2-135m")).directory, Options(device=DEVICE))


def decoded(engine: Any, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[int]]:
    generation = engine.prefill(prompts, new_tokens)
    for _ in range(1, new_tokens):
        engine.step(generation)
    engine.synchronise()
    return engine.tokens(generation)  # type: ignore[no-any-return]


def generated(engine: Any, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[int]]:
    """The same by ``generate``: greedy, left-padded, exactly ``new_tokens``."""
    width = max(len(prompt) for prompt in prompts)
    pads = [width - len(prompt) for prompt in prompts]
    ids = [[0] * pad + list(prompt) for pad, prompt in zip(pads, prompts, strict=True)]
    mask = [[0] * pad + [1] * (width - pad) for pad in pads]
    inputs = [torch.tensor(rows, device=engine.device) for rows in (ids, mask)]
    with torch.inference_mode():
        out = engine.model.generate(
            inputs[0], attention_mask=inputs[1], do_sample=False, num_beams=1, pad_token_id=0,
            max_new_tokens=new_tokens, min_new_tokens=new_tokens, eos_token_id=None,
        )  # fmt: skip
    return out[:, width:].tolist()  # type: ignore[no-any-return]


def toy_prompt(length: int, seed: int = 0) -> list[int]:
    found = torch.randint(0, 512, (length,), generator=torch.Generator().manual_seed(seed * 1000 + length))
    return [int(one) for one in found]


@pytest.mark.parametrize("length", [1, 2, 7, 64, 300])
def test_one_prompt_as_generate_would(toy: Any, length: int) -> None:
    prompt = [toy_prompt(length)]
    assert decoded(toy, prompt, 24) == generated(toy, prompt, 24)


def test_a_window_in_a_batch_has_the_same_logits(toy: Any) -> None:
    ids, beside = toy_prompt(30), toy_prompt(30, seed=1)
    found = toy.logits_in_batch([ids, beside])
    for rows, text in zip(found, (ids, beside), strict=True):
        torch.testing.assert_close(rows, toy.logits(text), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found[0], found[1], atol=1e-2)


@pytest.mark.parametrize("lengths", [(5,) * 8, (1, 3, 17, 64, 2, 2, 31, 9), (40, 1)])
def test_a_batch_as_generate_would(toy: Any, lengths: tuple[int, ...]) -> None:
    prompts = [toy_prompt(length, seed) for seed, length in enumerate(lengths)]
    assert decoded(toy, prompts, 16) == generated(toy, prompts, 16)


def test_padding_does_not_change_a_reply(toy: Any) -> None:
    prompts = [toy_prompt(length, seed) for seed, length in enumerate((1, 3, 17, 64, 2, 5, 31, 9))]
    assert decoded(toy, prompts, 16) == [decoded(toy, [prompt], 16)[0] for prompt in prompts]


def test_padding_does_not_move_a_prompt(tmp_path: Path) -> None:
    """A model with absolute positions: a padded prompt still begins at position 0."""
    config = transformers.GPT2Config(
        vocab_size=128, n_positions=64, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3
    )  # fmt: skip
    config.save_pretrained(tmp_path)
    engine = runtime.load(tmp_path, Options(random=True, device=DEVICE))
    prompts = [[one % 128 for one in toy_prompt(length)] for length in (1, 9, 20)]
    replies = decoded(engine, prompts, 12)
    assert replies == [decoded(engine, [prompt], 12)[0] for prompt in prompts]
    assert replies == generated(engine, prompts, 12)
    assert len({tuple(reply) for reply in replies}) == 3


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_every_attention_gives_the_same_reply(toy: Any, attention: str) -> None:
    other = runtime.load(TOY, Options(random=True, attention=attention, device=DEVICE))
    assert other.facts().attention == attention
    prompts = [toy_prompt(9), toy_prompt(4)]
    assert decoded(other, prompts, 12) == decoded(toy, prompts, 12)


def test_real_prompts_as_generate_would(real: Any) -> None:
    prompts = [real.encode_chat(text) for text in ("What is the capital of France?", "Say hello.")]
    assert len({len(prompt) for prompt in prompts}) == 2
    ours = decoded(real, prompts, 7)
    assert ours == generated(real, prompts, 7)
    assert "Paris" in real.text(ours[0])


def test_tokens_are_read_without_ending_the_generation(toy: Any) -> None:
    generation = toy.prefill([toy_prompt(5)], 4)
    seen = []
    for _ in range(3):
        seen.append(toy.tokens(generation)[0])
        toy.step(generation)
    final = toy.tokens(generation)[0]
    assert [len(tokens) for tokens in seen] == [1, 2, 3]
    assert all(final[: len(tokens)] == tokens for tokens in seen)


def test_teacher_forced_logits_choose_what_decoding_chose(real: Any) -> None:
    prompt = real.encode("The opposite of hot is")
    reply = decoded(real, [prompt], 4)[0]
    logits = real.logits([*prompt, *reply])
    assert logits.dtype == torch.float32
    assert tuple(logits.shape) == (len(prompt) + 4, 49152)
    assert logits.argmax(-1)[len(prompt) - 1 : -1].tolist() == reply


@pytest.mark.skipif(DEVICE != "cpu", reason="on a GPU the weights are copied there")
def test_no_weight_lies_in_the_mapped_file(real: Any) -> None:
    """Mapped weights are slower than those that a scheme writes: both sides must have them in own memory."""
    mapped = [
        tuple(int(end, 16) for end in line.split()[0].split("-"))
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(".safetensors")
    ]
    places = {name: one.data_ptr() for name, one in real.model.named_parameters()}
    assert not [n for n, place in places.items() if any(low <= place < high for low, high in mapped)]
    head, words = real.model.get_output_embeddings().weight, real.model.get_input_embeddings().weight
    assert head.data_ptr() == words.data_ptr(), "tied weights stay one tensor"


def test_random_weights_are_the_same_every_time() -> None:
    a, b = (runtime.load(TOY, Options(random=True)).model.state_dict() for _ in range(2))
    assert all(torch.equal(a[name], b[name]) for name in a)


# ---- what was loaded -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_dtype_is_read_back(dtype: str) -> None:
    facts = runtime.load(TOY, Options(random=True, dtype=dtype)).facts()
    assert facts.dtype == dtype
    assert facts.kv_bytes_per_token == 2 * 2 * 2 * 16 * (4 if dtype == "float32" else 2)


def test_logits_are_float32_whatever_the_model_is() -> None:
    engine = runtime.load(TOY, Options(random=True, dtype="bfloat16"))
    assert engine.logits([1, 2, 3]).dtype == torch.float32


def test_logits_of_a_step_that_writes_over_its_own_are_kept() -> None:
    """As a CUDA graph does: one place for the output of every call."""
    engine = runtime.load(TOY, Options(random=True))
    expected = engine.logits([1, 2, 3])
    model, place = engine.model, torch.empty(1, 1, 512)

    def replayed(**inputs: Any) -> Any:
        out = model(**inputs)
        out.logits = place.copy_(out.logits)
        return out

    def make_cache(_sequences: int, _tokens: int) -> Any:
        return transformers.DynamicCache(config=model.config)

    engine.change(Changed(model, make_cache, replayed))
    assert torch.allclose(engine.logits([1, 2, 3]), expected, atol=1e-5)


def test_threads_are_set_and_read_back() -> None:
    before = torch.get_num_threads()
    try:
        assert runtime.load(TOY, Options(random=True, threads=1)).facts().threads == 1
    finally:
        torch.set_num_threads(before)


def test_facts_come_from_the_model(toy: Any) -> None:
    facts = toy.facts()
    assert facts.device.partition(":")[0] == DEVICE.partition(":")[0]
    assert (facts.vocabulary, facts.context, facts.random_weights) == (512, 1024, True)
    toy.model.config._attn_implementation, before = "eager", toy.model.config._attn_implementation
    assert toy.facts().attention == "eager"
    toy.model.config._attn_implementation = before


def test_the_cache_grows_as_the_formula_says(toy: Any) -> None:
    generation = toy.prefill([toy_prompt(10)], 6)
    sizes = []
    for _ in range(3):
        layers = generation.cache.layers
        sizes.append(
            sum(t.numel() * t.element_size() for layer in layers for t in (layer.keys, layer.values))
        )
        toy.step(generation)
    assert [b - a for a, b in pairwise(sizes)] == [toy.facts().kv_bytes_per_token] * 2


def test_nothing_can_be_trained(toy: Any) -> None:
    assert not toy.model.training
    assert not any(parameter.requires_grad for parameter in toy.model.parameters())


@pytest.mark.parametrize("device", ["cuda:7", "cuda:63"])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(Unsupported, match=f"device {device} asked for, and torch sees"):
        runtime.load(TOY, Options(random=True, device=device))


def test_one_of_several_gpus_is_made_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []

    class Chosen(Exception):
        pass

    def choose(device: str) -> None:
        chosen.append(device)
        raise Chosen

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", choose)
    with pytest.raises(Chosen):
        runtime.load(TOY, Options(random=True, device="cuda:1"))
    assert chosen == ["cuda:1"]


# ---- text ----------------------------------------------------------------------------------------


def test_no_tokenizer_means_bytes(toy: Any) -> None:
    assert toy.encode("aé") == [97, 0xC3, 0xA9]
    assert toy.encode_chat("hi") == [104, 105]
    assert json.loads(toy.text([1, 2])) == [1, 2]


def test_bytes_stay_inside_a_small_vocabulary(tmp_path: Path) -> None:
    config = json.loads((TOY / "config.json").read_text()) | {"vocab_size": 100}
    (tmp_path / "config.json").write_text(json.dumps(config))
    engine = runtime.load(tmp_path, Options(random=True))
    assert engine.encode("é!") == [0xC3 % 100, 0xA9 % 100, 33]
    assert decoded(engine, [engine.encode("zzz")], 2)


def test_a_chat_message_goes_through_the_model_s_template(real: Any) -> None:
    ids = real.encode_chat("Hello there")
    whole = real.tokenizer.decode(ids)
    assert whole.endswith("<|im_start|>user\nHello there<|im_end|>\n<|im_start|>assistant\n")
    assert "<|im_start|>" not in real.text(ids)


def test_plain_text_gets_no_special_tokens(real: Any) -> None:
    ids = real.encode("Hello there")
    assert real.tokenizer.decode(ids) == "Hello there"
    assert real.text(ids) == "Hello there"


def test_the_ends_of_a_reply(real: Any, toy: Any) -> None:
    assert real.end_ids() == (real.tokenizer.convert_tokens_to_ids("<|im_end|>"),)
    before = toy.model.generation_config.eos_token_id
    for given, expected in ((None, (before,)), (7, (7,)), ([7, 9], (7, 9))):
        toy.model.generation_config.eos_token_id = given
        assert toy.end_ids() == expected
    toy.model.generation_config.eos_token_id = before


def test_graphs_are_those_of_this_engine() -> None:
    """What an earlier model of this process compiled says nothing about the next one."""
    first = runtime.load(TOY, Options(random=True, device=DEVICE))
    first.change(Changed(first.model, step=torch.compile(first.model, backend="eager")))
    decoded(first, [toy_prompt(8)], 3)
    assert first.compiled_graphs() > 0
    assert runtime.load(TOY, Options(random=True, device=DEVICE)).compiled_graphs() == 0
