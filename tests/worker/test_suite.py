"""Scores and replies of a real small model, against the model called directly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from byte_tokenizer import write_tokenizer
from engines import greedy, saved, sizes

from bench.engine import Options
from bench.engine.decoding import until_ended
from bench.engine.evidence import Check
from bench.errors import NonFiniteOutput, Unsupported
from bench.runtimes import transformers as runtime
from bench.worker import external_logprobs, suite


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import transformers

    path = saved(
        transformers.LlamaConfig(**sizes(96), max_position_embeddings=128), tmp_path_factory.mktemp("m")
    )
    write_tokenizer(path)
    return runtime.load(path, Options(device="cpu", threads=1))


def plain(engine: Any, prompt: str, choice: str, shared: int) -> float:
    """ln P of the tokens from ``shared`` on, by one call of the model itself, in float64."""
    ids = [*engine.begin_ids(), *engine.encode(prompt + choice)]
    with torch.inference_mode():
        logits = engine.model(torch.tensor([ids])).logits[0].double()
    ln_p = torch.log_softmax(logits, -1)
    return float(sum(ln_p[place - 1, ids[place]] for place in range(shared, len(ids))))


@pytest.mark.parametrize(
    ("prompt", "choices", "shared"),
    [
        ("Ice is", [" cold", " warm"], 7),  # the space is shared; the words differ from their first letter
        ("Two and", [" a", " b", " c"], 8),  # one token each: a single pass
        ("Ice", [" a", " a cold", " a b"], 4),  # one choice is the beginning of all others
        ("A", [" b", " bc"], 2),  # one choice is the beginning of the other
    ],
)
def test_the_score_of_a_choice_is_its_log_likelihood(
    engine: Any, prompt: str, choices: list[str], shared: int
) -> None:
    found = suite.scores(engine, [{"prompt": prompt, "choices": choices}])[0]
    assert found == pytest.approx([plain(engine, prompt, choice, shared) for choice in choices], abs=1e-4)


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [
        ("", ["He ran.", "She ran."]),
        ("", ["a", "b"]),  # one token each
        ("", ["a", "ab"]),  # one choice is the beginning of the other
    ],
)
def test_an_end_token_predicts_the_first_token_where_nothing_stands_before_it(
    engine: Any, prompt: str, choices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not engine.begin_ids()
    item = {"prompt": prompt, "choices": choices}
    found = suite.scores(engine, [item])[0]
    monkeypatch.setattr(engine, "begin_ids", lambda: engine.end_ids()[:1])
    assert found == pytest.approx([plain(engine, prompt, choice, 1) for choice in choices], abs=1e-4)
    monkeypatch.undo()
    monkeypatch.setattr(engine, "end_ids", lambda: ())
    assert suite.scores(engine, [item]) == [None]


def test_choices_of_one_token_share_a_pass(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = engine.logits
    monkeypatch.setattr(engine, "logits", lambda ids: calls.append(len(ids)) or real(ids))
    suite.scores(engine, [{"prompt": "Ice is", "choices": [" a", " b", " c", " d"]}])
    assert calls == [7]


def test_texts_of_one_length_share_a_pass(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores are those of each item alone, in the order of the items, at most eight texts in a pass."""
    items = [
        {"prompt": f"{word} is", "choices": [" cold", " warm", " a"]} for word in ("Ice", "Sun", "Snow", "It")
    ]
    batches: list[list[int]] = []
    real = engine.logits_in_batch
    monkeypatch.setattr(
        engine, "logits_in_batch", lambda texts: batches.append(list(map(len, texts))) or real(texts)
    )
    found = suite.scores(engine, items * 3)
    assert batches
    assert all(len(set(lengths)) == 1 and 1 < len(lengths) <= 8 for lengths in batches)
    alone = [suite.scores(engine, [item])[0] for item in items]
    for together, one in zip(found, alone * 3, strict=True):
        assert together == pytest.approx(one, abs=1e-4)


def test_few_texts_share_a_pass_where_their_logits_are_large(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [{"prompt": f"{word} is", "choices": [" cold", " warm"]} for word in ("Ice", "Sun", "Oil")]
    sizes: list[int] = []
    real = engine.logits_in_batch
    monkeypatch.setattr(engine, "logits_in_batch", lambda texts: sizes.append(len(texts)) or real(texts))
    tokens = len(engine.encode("Ice is cold")) - 1
    monkeypatch.setattr(suite, "BATCH_BYTES", 2 * tokens * 4 * engine.facts().vocabulary)
    suite.scores(engine, items)
    assert sizes == [2, 2, 2]
    monkeypatch.setattr(suite, "BATCH_BYTES", 1)
    suite.scores(engine, items)
    assert sizes == [2, 2, 2]  # each text alone


def test_an_item_longer_than_the_context_has_no_answer(engine: Any) -> None:
    items = [{"prompt": "x" * 200, "choices": ["a", "b"]}, {"prompt": "x", "choices": ["a", "b"]}]
    assert [one is None for one in suite.scores(engine, items)] == [True, False]
    assert [one is None for one in suite.replies(engine, items, 8)] == [True, False]


def test_replies_are_greedy_and_in_the_order_of_the_items(engine: Any) -> None:
    prompts = ["one", "two", "three", "four", "six", "ten"]  # of three lengths
    found = suite.replies(engine, [{"prompt": prompt} for prompt in prompts], 6)
    assert found == [alone(engine, prompt, 6) for prompt in prompts]


def batches_of(engine: Any, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The lengths of the prompts of each pass from now on."""
    batches: list[list[int]] = []
    real = engine.prefill
    monkeypatch.setattr(
        engine, "prefill", lambda some, tokens: batches.append([*map(len, some)]) or real(some, tokens)
    )
    return batches


WORDS = [{"prompt": prompt} for prompt in ("one", "three", "two", "seventeen", "six")]


def test_prompts_of_similar_lengths_are_padded_where_that_was_checked(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "PADS", {engine: False})
    wanted = suite.replies(engine, WORDS, 6)
    assert wanted == [alone(engine, item["prompt"], 6) for item in WORDS]
    monkeypatch.setattr(suite, "PADS", {})
    batches = batches_of(engine, monkeypatch)
    assert suite.replies(engine, WORDS, 6) == wanted
    assert suite.PADS[engine]
    assert batches[-1] == [3, 3, 3, 5, 9]
    monkeypatch.setattr(suite, "MOST_PADDED", 10)
    assert suite.replies(engine, WORDS, 6) == wanted
    assert batches[-3:] == [[3, 3, 3], [5], [9]]


def test_an_engine_that_reads_the_padding_replies_to_one_length_at_a_time(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "PADS", {})
    monkeypatch.setattr(engine, "as_batched", lambda: [Check("alone", "", "", holds=False)])
    batches = batches_of(engine, monkeypatch)
    suite.replies(engine, WORDS, 6)
    assert batches == [[3, 3, 3], [5], [9]]

    def refuses() -> list[Check]:
        raise Unsupported("cannot decode a padded batch")

    monkeypatch.setattr(suite, "PADS", {})
    monkeypatch.setattr(engine, "as_batched", refuses)
    suite.replies(engine, WORDS, 6)
    assert batches[3:] == [[3, 3, 3], [5], [9]]


def test_an_engine_that_drafts_replies_to_one_prompt_at_a_time(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [{"prompt": prompt} for prompt in ("one", "two", "six", "three")]
    wanted = suite.replies(engine, items, 6)
    batches = batches_of(engine, monkeypatch)
    assert suite.replies(engine, items, 6) == wanted
    assert max(map(len, batches)) > 1
    del batches[:]
    monkeypatch.setattr(engine, "drafted", lambda _context, _most: 0)
    assert suite.replies(engine, items, 6) == wanted
    assert batches == [[3], [3], [3], [5]]


def alone(engine: Any, prompt: str, tokens: int) -> str:
    return greedy(engine, [*engine.begin_ids(), *engine.encode(prompt)], tokens)


def test_not_a_number_ends_the_suite(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(ids: Sequence[int]) -> torch.Tensor:
        return torch.full((len(ids), 512), float("nan"))

    monkeypatch.setattr(engine, "logits", broken)
    with pytest.raises(NonFiniteOutput):
        suite.scores(engine, [{"prompt": "Ice is", "choices": [" a", " b"]}])


def test_a_reply_beside_that_of_a_server(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends before an end token, and else is cut at its limit."""
    prompt = "What is that?"
    assert external_logprobs.written(engine, prompt, 6, chat=False) == {
        "text": alone(engine, prompt, 6),
        "cut": True,
    }
    ids = [*engine.begin_ids(), *engine.encode(prompt)]
    third = engine.tokens(until_ended(engine, [ids], 6))[0][2]
    monkeypatch.setattr(engine, "end_ids", lambda: (third,))
    found = external_logprobs.written(engine, prompt, 6, chat=False)
    assert found["cut"] is False
    assert alone(engine, prompt, 6).startswith(found["text"])
