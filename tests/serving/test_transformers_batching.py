"""transformers' continuous batching in this process, on a model of random numbers: what its steps make."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from bench.serving.inside.engine import Made, Refused, Step, Wanted
from bench.serving.inside.transformers_engine import Transformers, asked, cache_tokens, settings_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SMALL = {"num_blocks": 16, "block_size": 32, "max_batch_tokens": 64}
PROMPTS = ((1, 2, 3), (4, 5, 6, 7, 8), (9, 10))
ENOUGH = 12


class Letters:
    """A tokenizer whose tokens are letters."""

    chat_template = None

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return [1] * add_special_tokens + [ord(one) for one in text]

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        return " ".join(map(str, ids))


def tiny() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, attn_implementation="sdpa", eos_token_id=299,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def engine() -> Iterator[Transformers]:
    held = Transformers(tiny(), Letters(), SMALL)
    yield held
    held._manager.stop(block=True, hard_stop=True)


def steps_until_all_ended(engine: Transformers, count: int) -> list[Step]:
    found: list[Step] = []
    until = time.monotonic() + 60
    while sum(bool(one.finish or one.failed) for step in found for one in step.made) < count:
        assert time.monotonic() < until
        found.append(engine.step())
    return found


def alone(prompt: tuple[int, ...]) -> list[int]:
    """What the model writes without continuous batching."""
    ids = torch.tensor([prompt])
    written = tiny().generate(ids, max_new_tokens=ENOUGH, min_new_tokens=ENOUGH, do_sample=False)
    return list(written[0, len(prompt) :].tolist())


def test_each_step_gives_each_sequence_a_token_and_the_text_is_the_model_s(engine: Transformers) -> None:
    for number, prompt in enumerate(PROMPTS):
        engine.add(str(number), Wanted(prompt, ENOUGH, whole=True))
    steps = steps_until_all_ended(engine, 3)
    assert max(sum(bool(one.ids) for one in step.made) for step in steps) == 3, "in one batch"
    assert all(len(one.ids) == 1 for step in steps for one in step.made)
    times = [step.at_ns for step in steps]
    assert times == sorted(times)
    for number, prompt in enumerate(PROMPTS):
        mine = [one for step in steps for one in step.made if one.key == str(number)]
        assert [token for one in mine for token in one.ids] == alone(prompt)
        assert [one.finish for one in mine] == [None] * (ENOUGH - 1) + ["length"]


def test_what_it_says_of_itself(engine: Transformers) -> None:
    said = engine.evidence()
    assert said["dtype"] == said["kv_dtype"] == "float32"
    assert said["attention"] == "paged|sdpa"
    assert (said["kv_blocks"], said["kv_block_tokens"], said["max_batch_tokens"]) == (16, 32, 64)
    assert said["max_length"] == 256, "of the model; the cache has room for 512"
    assert said["quantisation"] == "none"


def test_a_request_that_does_not_fit_is_refused(engine: Transformers) -> None:
    with pytest.raises(Refused, match="prompt and reply have 257 tokens, and there is room for 256"):
        engine.add("long", Wanted((1,) * 200, 57))
    with pytest.raises(Refused, match="no token"):
        engine.add("empty", Wanted((), 5))
    with pytest.raises(Refused, match="no log-probabilities of all tokens"):
        engine.add("row", Wanted((1,), 1, distribution=True))
    with pytest.raises(Refused, match="no chat template"):
        engine.turn("Hello")


def test_a_request_that_is_cancelled_gets_no_more(engine: Transformers) -> None:
    engine.add("dropped", Wanted((1, 2), 200, whole=True))
    first = engine.step()
    while not first.made:
        first = engine.step()
    engine.cancel("dropped")
    engine.add("after", Wanted((1, 2), 3, whole=True))
    made = [one for step in steps_until_all_ended(engine, 1) for one in step.made]
    assert [one.key for one in made if one.finish] == ["after"]
    assert not ids_after(engine)


def ids_after(engine: Transformers) -> list[Made]:
    """What the engine makes while nobody wants anything."""
    return [one for _ in range(3) for one in engine.step().made]


def test_an_end_of_text_ends_a_reply_unless_it_is_to_be_whole() -> None:
    ends = alone(PROMPTS[0])[2]
    model = tiny()
    model.generation_config.eos_token_id = ends
    held = Transformers(model, Letters(), SMALL)
    held.add("short", Wanted(PROMPTS[0], ENOUGH))
    held.add("whole", Wanted(PROMPTS[0], ENOUGH, whole=True))
    made = [one for step in steps_until_all_ended(held, 2) for one in step.made]
    count = {key: sum(len(one.ids) for one in made if one.key == key) for key in ("short", "whole")}
    assert count["whole"] == ENOUGH
    assert count["short"] <= 3
    assert {one.key: one.finish for one in made if one.finish} == {"short": "stop", "whole": "length"}
    held._manager.stop(block=True)
    with pytest.raises(RuntimeError, match="the manager of transformers ended: without a reason"):
        held.step()


def test_settings_are_those_of_the_engine_and_bounded_on_a_cpu() -> None:
    config = SimpleNamespace(num_attention_heads=4, hidden_size=64, num_hidden_layers=1)
    given = asked(["--max-batch-tokens", "512", "--no-allow-block-sharing"])
    assert settings_of(given, config, 4, on_cpu=False) == {
        "max_batch_tokens": 512, "allow_block_sharing": False
    }  # fmt: skip
    assert settings_of(given, config, 4, on_cpu=True)["num_blocks"] == 32768 // 256
    assert settings_of(asked([]), config, 4, on_cpu=True)["max_batch_tokens"] == 1024
    large = SimpleNamespace(num_attention_heads=32, hidden_size=4096, num_hidden_layers=32)
    assert cache_tokens(large, 4) == (2 << 30) // (2 * 32 * 4096 * 4)
    with pytest.raises(SystemExit):
        asked(["--unknown", "1"])


def test_a_setting_that_this_transformers_does_not_have_is_said() -> None:
    with pytest.raises(ValueError, match="no nothing_known for continuous batching"):
        Transformers(tiny(), Letters(), {"nothing_known": 1})
