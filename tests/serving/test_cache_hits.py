"""Hits of a prefix cache, from the counters of a server."""

from __future__ import annotations

from dataclasses import replace

import pytest
from samples_of_serving import sample

from bench.serving.cache_hits import Hits, hits_in
from bench.serving.record import warnings

REAL = """# HELP vllm:prefix_cache_queries_total Prefix cache queries, in terms of number of queried tokens.
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="served"} 1.5e+03
vllm:prefix_cache_queries_created{engine="0",model_name="served"} 1.795807e+09
vllm:prefix_cache_hits_total{engine="0",model_name="served"} 384.0
"""


def test_the_counters_of_vllm() -> None:
    assert hits_in(REAL) == Hits(384, 1500)
    assert hits_in(REAL + REAL.replace('engine="0"', 'engine="1"')) == Hits(768, 3000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        REAL.replace("384.0", "many"),
        REAL.replace("384.0", "NaN"),
        REAL.replace("hits", "x"),
        REAL.replace("384.0", "1e308") * 2,
    ],
)
def test_a_server_without_them(text: str) -> None:
    assert hits_in(text) is None


def test_what_a_load_added() -> None:
    assert Hits(384, 1500).since(Hits(100, 500)) == Hits(284, 1000)
    assert Hits(3, 15).since(Hits(100, 500)) == Hits(3, 15), "it was started anew"
    assert Hits(0, 0).share == 0
    assert Hits(1.0, 5e-324).share == 1, "a server or an edited file says so"
    assert Hits.from_json(Hits(3, 15).to_json()) == Hits(3, 15)


@pytest.mark.parametrize(("hits", "flagged"), [(10, False), (11, True)])
def test_more_than_one_per_cent_is_flagged(hits: int, flagged: bool) -> None:
    said = warnings([sample()], Hits(hits, 1000))
    assert any("a prefix cache answered" in one for one in said) is flagged


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ("", "although no prompt repeats"),
        ("data-set", "prompts of people may begin alike"),
        ("multi-turn", ""),
    ],
)
def test_prompts_that_are_meant_to_begin_alike_are_no_warning(prompts: str, words: str) -> None:
    said = warnings([sample()], Hits(500, 1000), prompts)
    assert [words in one for one in said if "a prefix cache" in one] == ([True] if words else [])


def test_replies_that_a_filter_ended_are_told() -> None:
    """They are whole and short, so they look fast and cheap."""
    found = warnings([sample(), replace(sample(), finish="content_filter")])
    assert "a filter of the server ended 1 of 2 replies, which count as any other" in found
    assert warnings([sample()]) == ()
