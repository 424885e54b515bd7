"""The rule that draws further answers: what it draws, beside a plain loop over whole passes; its price."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import transformers
from byte_tokenizer import write_tokenizer
from engines import decoded, saved, sizes

from bench.engine import Engine, Options
from bench.engine.cascading import Cascade
from bench.errors import NonFiniteOutput
from bench.link import Link, LinkSettings
from bench.optimisations.cascade.agreement import RULE, Agreement, Params, normalised, seed_of
from bench.optimisations.shared.cascading import Edge
from bench.records.thinking import before_end
from bench.runtimes import transformers as runtime

TOKENS = 6
PROMPT = [5, 6, 7, 8, 9]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = saved(
        transformers.LlamaConfig(**{**sizes(96), "num_hidden_layers": 1}), tmp_path_factory.mktemp("m")
    )
    write_tokenizer(path)
    return runtime.load(path, Options(device="cpu", threads=1))


def shares(rule: Agreement, edge: Engine, answer: Sequence[int], prompt: Sequence[int] = PROMPT) -> float:
    return rule.of_answers(edge, [prompt], [answer], [[0.0]], TOKENS)[0]


def greedy(edge: Engine) -> list[int]:
    answer = decoded(edge, [PROMPT], TOKENS)[0]
    return list(before_end(answer, set(edge.end_ids())))


def by_hand(edge: Any, rule: Agreement) -> list[list[int]]:
    """Draw the same answers from the logits of whole passes, one sequence after the other."""
    dice = torch.Generator().manual_seed(seed_of(repr(tuple(PROMPT))))
    drawn: list[list[int]] = [[] for _ in range(rule.samples)]
    for _ in range(TOKENS):
        rows = torch.stack([edge.logits([*PROMPT, *one])[-1] for one in drawn])
        p = torch.softmax(rows / rule.temperature, -1)
        for one, token in zip(drawn, torch.multinomial(p, 1, generator=dice), strict=True):
            one.append(int(token))
    return drawn


@pytest.mark.parametrize("temperature", [0.1, 0.7])
def test_the_share_is_that_of_a_plain_loop(edge: Any, temperature: float) -> None:
    """Each of the drawn answers is asked for in turn, so the shares cannot all be 0."""
    rule, ends = Agreement(4, temperature), set(edge.end_ids())
    drawn = [list(before_end(one, ends)) for one in by_hand(edge, rule)]
    words = [normalised(edge.text(one)) for one in drawn]
    for one, text in zip(drawn, words, strict=True):
        assert shares(rule, edge, one) == words.count(text) / 4


def test_a_cold_model_always_agrees_and_a_hot_one_does_not(edge: Any) -> None:
    answer = greedy(edge)
    assert shares(Agreement(6, 1e-4), edge, answer) == 1
    assert shares(Agreement(6, 10.0), edge, answer) < 1
    assert greedy(edge) == answer


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0]]).repeat(20_000, 1)
    found = Counter(Agreement(temperature=0.5).drawing(3)(logits)[:, 0].tolist())
    total = sum(math.exp(2 * one) for one in range(3))
    for token in range(3):
        assert found[token] / 20_000 == pytest.approx(math.exp(2 * token) / total, abs=0.015)


def test_what_is_drawn_is_paid_by_the_edge(edge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The greedy answer and the batch of drawn ones take a prompt each."""
    made = Cascade(edge, edge, Agreement(3), 0.0, Link(LinkSettings()), same_tokens=True)
    made.longest_answer(TOKENS)
    real, asked = edge.prefill, []

    def slow(prompts: Sequence[Sequence[int]], tokens: int) -> Any:
        asked.append(len(prompts))
        time.sleep(0.05)
        return real(prompts, tokens)

    monkeypatch.setattr(edge, "prefill", slow)
    made.prefill([PROMPT], TOKENS)
    (request,) = made.cascaded()
    assert asked == [1, 3]
    assert request.edge_s > 0.1
    assert request.cloud_s == 0


def test_logits_that_are_no_numbers_have_no_score(edge: Any) -> None:
    made = Cascade(edge, edge, RULE, 0.0, Link(LinkSettings()), same_tokens=True)
    weights = next(edge.model.parameters())
    kept = weights.detach().clone()
    with torch.no_grad():
        weights.fill_(math.nan)
    try:
        with pytest.raises(NonFiniteOutput, match="no score"):
            made.prefill([PROMPT], TOKENS)
    finally:
        with torch.no_grad():
            weights.copy_(kept)
    assert math.isnan(RULE.of_choices((math.nan, math.nan)))


def test_a_closed_question_is_drawn_from_its_choices() -> None:
    scores = (-1.0, -1.5, -4.0)
    assert RULE.of_choices((0.0, -90.0)) == 1
    assert Agreement(5).of_choices(scores) == Agreement(5).of_choices(scores)
    many = Agreement(64, 1.0)
    found = [many.of_choices((scores[0] - k * 1e-3, *scores[1:])) for k in range(100)]
    p = math.exp(-1.05) / sum(map(math.exp, (-1.05, -1.5, -4.0)))
    assert sum(found) / 100 == pytest.approx(p, abs=0.03)


@pytest.mark.parametrize(
    ("text", "other", "same"),
    [
        ("Paris.", " paris", True),
        ("The  answer:\n42!", "the answer 42", True),
        ("巴黎。", "巴黎", True),
        ("\uff11\uff12", "12", True),
        ("12", "13", False),
        ("", "...", True),
    ],
)
def test_answers_are_compared_as_words(text: str, other: str, same: bool) -> None:
    assert (normalised(text) == normalised(other)) is same


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"samples": 0}, "samples must be 1 to 64, not 0"),
        ({"samples": 65}, "samples must be 1 to 64"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"temperature": math.nan}, "temperature must be above 0"),
        ({"threshold": 1.5}, "threshold must be 0 to 1"),
    ],
)
def test_settings_that_nothing_can_be_drawn_with(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Params(**{"edge": Edge("smollm2-135m", 0.1), "threshold": 0.5, **settings})
