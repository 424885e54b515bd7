"""A cascade of two toys: who answers, what is counted, and what the rules compute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from byte_tokenizer import write_tokenizer
from engines import decoded, saved, sizes

from bench.engine import Options
from bench.engine.cascading import Cascade
from bench.engine.confidence import Rule
from bench.errors import NonFiniteOutput, Unsupported
from bench.link import Link, LinkSettings
from bench.link.settings import Outage
from bench.optimisations.cascade import entropy, log_probability, margin
from bench.runtimes import transformers as runtime

TOKENS = 6
PROMPTS = ([5, 6, 7, 8, 9], [40, 41, 42, 43, 44, 45], [9, 3, 11, 3])
RULES = {"log-probability": log_probability.RULE, "entropy": entropy.RULE, "margin": margin.RULE}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small and a large toy with the same tokenizer."""
    found = []
    for layers in (1, 2):
        config = transformers.LlamaConfig(**{**sizes(96), "num_hidden_layers": layers})
        path = saved(config, tmp_path_factory.mktemp("m"))
        write_tokenizer(path)
        found.append(path)
    return found[0], found[1]


def engine(path: Path) -> Any:
    return runtime.load(path, Options(device="cpu", threads=1))


def cascade(
    models: tuple[Path, Path], rule: Rule, threshold: float, same: bool = True, **link: Any
) -> Cascade:
    edge, cloud = map(engine, models)
    made = Cascade(edge, cloud, rule, threshold, Link(LinkSettings(**link)), same_tokens=same)
    made.longest_answer(TOKENS)
    return made


def never(rule: Rule) -> float:
    return -math.inf if rule.sure == "above" else math.inf


@every_rule
def test_a_score_is_the_mean_over_the_answer(models: tuple[Path, Path], rule: Rule) -> None:
    made = cascade(models, rule, never(rule))
    made.edge.end_ids = lambda: ()
    made.prefill(PROMPTS, 1)
    for prompt, found in zip(PROMPTS, made.cascaded(), strict=True):
        answer = decoded(engine(models[0]), [prompt], TOKENS)[0]
        rows = engine(models[0]).logits([*prompt, *answer[:-1]])[len(prompt) - 1 :].numpy().astype(np.float64)
        p = np.exp(rows - rows.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        top = np.sort(p, axis=1)[:, ::-1]
        expected = {
            "LogProbability": np.log(top[:, 0]),
            "Entropy": -(p * np.log(p)).sum(1),
            "Margin": top[:, 0] - top[:, 1],
        }[type(rule).__name__]
        assert found.score == pytest.approx(expected.mean(), rel=1e-4)
        low, high = rule.range
        assert low <= found.score <= high


@every_rule
def test_each_side_of_the_threshold_has_its_own_model(models: tuple[Path, Path], rule: Rule) -> None:
    small, large = (decoded(engine(path), PROMPTS, TOKENS) for path in models)
    assert small != large
    made = cascade(models, rule, never(rule))
    assert made.tokens(made.prefill(PROMPTS, 1)) == small
    scores = [one.score for one in made.cascaded()]
    assert len(set(scores)) == len(PROMPTS)
    for chosen in scores:  # at the threshold a request stays
        made.threshold = chosen
        answers = made.tokens(made.prefill(PROMPTS, 1))
        done = made.cascaded()
        goes = [score < chosen if rule.sure == "above" else score > chosen for score in scores]
        assert [one.escalated for one in done] == goes
        assert answers == [b if sent else a for a, b, sent in zip(small, large, goes, strict=True)]
    assert made.cascaded() == ()


def test_seconds_and_bytes_are_counted_where_they_were_spent(models: tuple[Path, Path]) -> None:
    made = cascade(models, log_probability.RULE, math.inf, round_trip_ms=20)
    prompt = [*made.begin_ids(), *made.encode("how far is it?")]
    answer = made.tokens(made.prefill([prompt], 1))[0]
    (sent,) = made.cascaded()
    assert sent.from_cloud
    assert sent.sent_bytes == len("how far is it?")
    assert sent.received_bytes == len(made.text(answer).encode())
    assert sent.link_s >= 0.02
    assert min(sent.edge_s, sent.cloud_s) > 0
    made.threshold = -math.inf
    made.prefill([prompt], 1)
    (stayed,) = made.cascaded()
    assert (stayed.cloud_s, stayed.link_s, stayed.sent_bytes, stayed.received_bytes) == (0, 0, 0, 0)


def test_the_edge_answers_where_the_link_is_down(models: tuple[Path, Path]) -> None:
    made = cascade(models, log_probability.RULE, math.inf, outage=Outage(), patience_s=0.02)
    answers = made.tokens(made.prefill(PROMPTS[:1], 1))
    assert answers == decoded(engine(models[0]), PROMPTS[:1], TOKENS)
    (one,) = made.cascaded()
    assert one.escalated
    assert one.offline
    assert not one.from_cloud
    assert one.link_s >= 0.02
    assert (one.cloud_s, one.sent_bytes) == (0, 0)


def test_work_of_the_cloud_is_paid_though_its_answer_is_lost(
    models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = cascade(models, log_probability.RULE, math.inf)
    carry = made.link.carry

    def only_up(n_bytes: int, direction: Any) -> float:
        if direction == "down":
            made.link = Link(LinkSettings(outage=Outage()))
            return made.link.carry(n_bytes, direction)
        return carry(n_bytes, direction)

    monkeypatch.setattr(made.link, "carry", only_up)
    assert made.tokens(made.prefill(PROMPTS[:1], 1)) == decoded(engine(models[0]), PROMPTS[:1], TOKENS)
    (one,) = made.cascaded()
    assert one.offline
    assert one.cloud_s > 0
    assert one.sent_bytes > 0
    assert one.received_bytes == 0


def test_an_edge_with_another_tokenizer_reads_the_text(models: tuple[Path, Path]) -> None:
    made = cascade(models, log_probability.RULE, -math.inf, same=False)
    seen: list[list[list[int]]] = []
    real = made.edge.prefill

    def prefill(prompts: Sequence[Sequence[int]], tokens: int) -> Any:
        seen.append([list(one) for one in prompts])
        return real(prompts, tokens)

    made.edge.prefill = prefill  # type: ignore[method-assign]
    made.edge.encode = lambda text: [7, *map(ord, text)]  # type: ignore[method-assign]
    made.edge.encode_chat = lambda text: [8, *map(ord, text)]  # type: ignore[method-assign]
    made.edge.text = lambda ids: "an answer"  # type: ignore[method-assign]
    plain, chat = [*made.begin_ids(), *made.encode("ab")], made.encode_chat("cd")
    answers = made.tokens(made.prefill([plain, chat, made.cloud.encode("ef")], 1))
    assert seen == [[[7, 97, 98], [8, 99, 100], [7, 101, 102]]]
    assert answers == [made.cloud.encode("an answer")] * 3


@pytest.mark.parametrize("room", [-1, 0])
def test_a_request_that_the_edge_has_no_room_for(models: tuple[Path, Path], room: int) -> None:
    """With rotary positions a model reads beyond its context, and answers nonsense without an error."""
    small = engine(models[0])
    longest = max(map(len, PROMPTS)) + TOKENS
    facts = replace(small.facts(), context=longest + room)
    small.facts = lambda: facts
    made = Cascade(
        small, engine(models[1]), log_probability.RULE, -math.inf, Link(LinkSettings()), same_tokens=True
    )
    made.longest_answer(TOKENS)
    said = f"{longest} tokens in and out do not fit the edge model's context of {longest - 1}"
    with pytest.raises(Unsupported, match=said) if room else nullcontext():
        made.prefill(PROMPTS, 1)


def test_a_model_that_puts_out_nan_has_no_score(models: tuple[Path, Path]) -> None:
    made = cascade(models, log_probability.RULE, -math.inf)
    with torch.no_grad():
        next(made.edge.model.parameters()).fill_(math.nan)
    with pytest.raises(NonFiniteOutput, match="no score"):
        made.prefill(PROMPTS[:1], 1)


def test_both_models_are_counted(models: tuple[Path, Path]) -> None:
    edge, cloud = map(engine, models)
    made = cascade(models, log_probability.RULE, 0.0)
    assert made.census().weights_bytes == edge.census().weights_bytes + cloud.census().weights_bytes
    assert made.parameters() == edge.parameters() + cloud.parameters()
    assert "cascade" in (made.facts().loaded or "")


def test_an_engine_that_shows_no_logits_cannot_be_an_edge(models: tuple[Path, Path]) -> None:
    with pytest.raises(Unsupported, match="does not show the logits"):
        Cascade(
            Cascade(
                engine(models[0]), engine(models[1]), margin.RULE, 0, Link(LinkSettings()), same_tokens=True
            ),
            engine(models[1]), margin.RULE, 0, Link(LinkSettings()), same_tokens=True,
        )  # fmt: skip


@every_rule
def test_a_closed_question_is_scored_by_its_choices(rule: Rule) -> None:
    scores = (-3.0, -5.0, -4.0)
    p = np.exp(scores) / np.exp(scores).sum()
    expected = {
        "LogProbability": math.log(p[0]),
        "Entropy": -sum(x * math.log(x) for x in p),
        "Margin": p[0] - p[2],
    }
    assert rule.of_choices(scores) == pytest.approx(expected[type(rule).__name__], rel=1e-6)
