"""Conversations: prompts that begin alike, turns that wait for each other, and what a cache did with them."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from running_stub import running
from samples_of_serving import sample

from bench.config.reader import read_config
from bench.config.settings import WorkloadBlock
from bench.errors import ConfigError
from bench.metrics.under_load import _cached
from bench.serving.arrivals import ClosedLoop, Sharing
from bench.serving.client import Settings
from bench.serving.load import load, run
from bench.serving.prompts import Count, Prompts
from bench.serving.reply import Asked
from bench.workloads import multi_turn

CONFIG = """
model: smollm2-135m
runtime: {{name: openai-http, url: "http://127.0.0.1:1"}}
workload: {{name: multi-turn, {own}}}
drift: {{tokens: 0}}
slo: {{ttft_ms: 500}}
"""


def planned(**own: object) -> WorkloadBlock:
    return WorkloadBlock(
        name="multi-turn", requests=6, input_tokens=10, output_tokens=4, own=tuple(own.items())
    )


async def half_a_word(text: str) -> int:
    """A tokenizer for which every word is two tokens."""
    return 2 * len(text.split())


@pytest.mark.parametrize("count", [None, half_a_word])
def test_a_turn_begins_with_all_that_was_said_before(count: Count | None) -> None:
    plan = multi_turn.plan(planned(users=2, turns=3, shared_tokens=20), 0)
    assert plan.lengths[:3] == ((30, 4), (44, 4), (58, 4))
    prompts = Prompts(1, count)
    first = asyncio.run(prompts.of(plan.lengths, plan.sharing))
    second = asyncio.run(prompts.of(plan.lengths, plan.sharing))
    for talk in (first[:3], first[3:], second[:3]):
        for before, after in pairwise(talk):
            assert after.prompt.startswith(before.prompt + " ")
    assert [one.input_tokens for one in first] == [n_in for n_in, _n_out in plan.lengths]
    shared = 20 if count is None else 10
    beginnings = {" ".join(one.prompt.split()[:shared]) for one in (*first, *second)}
    assert len(beginnings) == 1
    after = {" ".join(one.prompt.split()[shared : shared + 5]) for one in (first[0], first[3], second[0])}
    assert len(after) == 3


def test_without_sharing_prompts_are_as_they_were() -> None:
    lengths = [(10, 4)] * 3
    assert asyncio.run(Prompts(1, None).of(lengths)) == asyncio.run(Prompts(1, None).of(lengths, Sharing()))


def test_one_user_sends_the_turns_of_a_conversation_in_order() -> None:
    schedule = ClosedLoop(2, 6, turns=3, pause_s=0.05)
    with running() as server:
        asked = [Asked("one two", 2, 2)] * 6
        found = run(load(Settings(server, "ttft=30,gap=1,tokens=2", timeout_s=20), schedule, asked))
    assert all(one.ok for one in found.samples)
    for talk in (found.samples[:3], found.samples[3:]):
        for before, after in pairwise(talk):
            assert after.sent_ns - before.end_ns >= 50e6
    assert found.samples[3].sent_ns < found.samples[0].end_ns  # the other user did not wait


@pytest.mark.parametrize(
    ("own", "problem"),
    [
        (
            "users: 2, turns: 3, requests: 4, input_tokens: 8",
            "4 requests are no whole conversations of 3 turns",
        ),
        ("users: 2, turns: 0, requests: 4, input_tokens: 8", "turns must be from 1 to 100"),
        ("users: 2, requests: 6", "needs input_tokens"),
        ("users: 2, requests: 6, input_tokens: 8, shared_tokens: -1", "shared_tokens must be from 0"),
        ("users: 2, requests: 6, input_tokens: 8, pause_s: 700", "pause_s must be from 0 to 600"),
    ],
)
def test_what_is_no_conversation_is_refused(tmp_path: Path, own: str, problem: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG.format(own=own))
    with pytest.raises(ConfigError, match=problem):
        read_config(path)


def test_the_whole_conversation_must_fit_the_context(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    text = CONFIG.format(own="users: 1, turns: 4, requests: 4, input_tokens: 100, output_tokens: 50")
    served = "{name: llama-cpp-server, args: {ctx-size: 512, parallel: 1}}"
    path.write_text(text.replace('{name: openai-http, url: "http://127.0.0.1:1"}', served))
    with pytest.raises(ConfigError, match="ctx-size is 512, and a request has 600 tokens"):
        read_config(path)


def test_the_share_of_the_cache_is_that_of_the_tokens() -> None:
    told = [sample(n_in=100, n_cached=80), sample(n_in=300, n_cached=120), sample(n_in=50, n_cached=None)]
    share = _cached(told)
    assert share is not None
    assert share.value == 200 / 400
    assert _cached(told[2:]) is None
