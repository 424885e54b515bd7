"""Requests of lm-eval answered by a real small model, against the model called directly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from byte_tokenizer import SIZE, write_tokenizer
from engines import greedy, saved, sizes

from bench.engine import Options
from bench.runtimes import transformers as runtime
from bench.worker import lm_eval_requests
from bench.worker.commands import Worker

CONTEXT = 48
PROMPTS = ["one", "two", "three", "four", "six", "ten", *(f"number {n}" for n in range(20))]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import transformers

    of_bytes = {**sizes(96), "vocab_size": SIZE}  # so that every token but four is text
    config = transformers.LlamaConfig(**of_bytes, max_position_embeddings=CONTEXT)
    path = saved(config, tmp_path_factory.mktemp("m"))
    write_tokenizer(path)
    return runtime.load(path, Options(device="cpu", threads=1))


def plain(engine: Any, before: list[int], tokens: list[int]) -> tuple[float, bool]:
    """ln P of the tokens one by one in float64, and whether each is the likeliest."""
    total, greedy, ids = 0.0, True, list(before)
    for token in tokens:
        with torch.inference_mode():
            ln_p = torch.log_softmax(engine.model(torch.tensor([ids])).logits[0, -1].double(), -1)
        total, greedy = total + float(ln_p[token]), greedy and int(ln_p.argmax()) == token
        ids.append(token)
    return total, greedy


@pytest.mark.parametrize(
    ("context", "continuation", "before", "scored"),
    [
        ("Ice is", " cold", "Ice is", " cold"),
        ("Ice is ", "cold", "Ice is", " cold"),  # a space at the end belongs to what follows
        ("Ice is", " c", "Ice is", " c"),
    ],
)
def test_a_continuation_is_scored_behind_its_context(
    engine: Any, context: str, continuation: str, before: str, scored: str
) -> None:
    ((found, greedy),) = lm_eval_requests.likelihoods(engine, [[context, continuation]])  # type: ignore[misc]
    wanted = plain(engine, engine.encode(before), engine.encode(scored))
    assert (found, greedy) == (pytest.approx(wanted[0], abs=1e-4), wanted[1])


def test_without_a_context_the_end_token_predicts_the_first(engine: Any) -> None:
    ((found, _greedy),) = lm_eval_requests.likelihoods(engine, [["", "cold"]])  # type: ignore[misc]
    assert found == pytest.approx(plain(engine, [2], engine.encode("cold"))[0], abs=1e-4)


def test_a_long_context_is_cut_at_its_beginning(engine: Any) -> None:
    context, scored = "x" * 20 + "Ice is hard and this text is far too long", " cold"
    ((found, _greedy),) = lm_eval_requests.likelihoods(engine, [[context, scored]])  # type: ignore[misc]
    ids = engine.encode(context + scored)[-(CONTEXT + 1) :]
    count = len(engine.encode(scored))
    assert found == pytest.approx(plain(engine, ids[:-count], ids[-count:])[0], abs=1e-4)


def test_what_greedy_decoding_writes_is_called_greedy(engine: Any) -> None:
    (reply,) = lm_eval_requests.replies(engine, [("Ice is", {"max_gen_toks": 5, "until": []})])
    (found,) = lm_eval_requests.likelihoods(engine, [["Ice is", str(reply)]])
    assert found is not None
    ids = engine.encode("Ice is" + str(reply))[len("Ice is") :]
    assert found[1] is plain(engine, engine.encode("Ice is"), ids)[1]


def test_choices_of_one_token_share_a_pass(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = engine.logits
    monkeypatch.setattr(engine, "logits", lambda ids: calls.append(len(ids)) or real(ids))
    lm_eval_requests.likelihoods(engine, [["Ice is", "a"], ["Ice is", "b"], ["Ice was", "a"]])
    assert calls == [6, 7]


def test_what_has_no_token_of_its_own_or_too_many_logits_has_no_answer(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lm_eval_requests.likelihoods(engine, [["Ice is", ""]]) == [None]
    monkeypatch.setattr(lm_eval_requests, "MOST_BYTES", 4 * SIZE * 5)
    found = lm_eval_requests.likelihoods(engine, [["Ice is", "ab"], ["Ice", "ab"]])
    assert [one is None for one in found] == [True, False]


def alone(engine: Any, prompt: str, tokens: int) -> str:
    return greedy(engine, engine.encode(prompt), tokens)


def test_replies_are_greedy_in_order_and_end_at_a_stop(engine: Any) -> None:
    prompts = PROMPTS[:6]
    whole = [alone(engine, prompt, 9) for prompt in prompts]
    settings = {"max_gen_toks": 9, "until": []}
    assert lm_eval_requests.replies(engine, [(prompt, settings) for prompt in prompts]) == whole
    stops = [text[len(text) // 2 :][:1] for text in whole]
    assert any(stops)
    found = lm_eval_requests.replies(
        engine, [(p, {"max_gen_toks": 9, "until": s}) for p, s in zip(prompts, stops, strict=True)]
    )
    assert found == [text.split(stop)[0] if stop else text for text, stop in zip(whole, stops, strict=True)]


def test_a_stop_ends_the_decoding_early(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    real = engine.step
    monkeypatch.setattr(engine, "step", lambda generation: steps.append(1) or real(generation))
    prompt, first = next((one, text) for one in PROMPTS if (text := alone(engine, one, 1)) and text.isascii())
    assert lm_eval_requests.replies(engine, [(prompt, {"max_gen_toks": 30, "until": [first]})]) == [""]
    assert len(steps) < 5


def test_a_reply_has_room_or_no_answer(engine: Any) -> None:
    long = "y" * 60
    (found,) = lm_eval_requests.replies(engine, [(long, {"max_gen_toks": 8, "until": []})])
    assert found == alone(engine, long[-(CONTEXT - 8) :], 8)
    assert lm_eval_requests.replies(engine, [("one", {"max_gen_toks": CONTEXT})]) == [None]


def test_the_command_answers_in_the_form_that_is_asked_for(engine: Any) -> None:
    worker = Worker()
    worker.engine = engine
    asked = [["Ice is", " cold"], ["Ice is", " hot"]]
    found = worker.requests({"kind": "loglikelihood", "requests": asked}, [])
    assert found.likelihoods == tuple(lm_eval_requests.likelihoods(engine, asked))
    assert found.replies == ()
    texts = [["Ice is", {"max_gen_toks": 4}]]
    found = worker.requests({"kind": "generate_until", "requests": texts}, [])
    assert (found.likelihoods, len(found.replies)) == ((), 1)
