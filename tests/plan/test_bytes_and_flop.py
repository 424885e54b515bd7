"""Bytes and FLOP of a pass over a loaded model, by hand for a tiny dense model and a tiny mixture."""

from __future__ import annotations

import pytest

from bench.models.architecture import Architecture
from bench.models.registry import find_model
from bench.plan.bytes_and_flop import Loaded

# 8 numbers wide, 10 tokens in its vocabulary: a table of 80 parameters, and 1000 in all.
BASE = find_model("smollm2-135m").architecture


def like(**facts: object) -> Architecture:
    small = {
        "parameters": 1000,
        "active_parameters": None,
        "vocabulary": 10,
        "hidden_size": 8,
        "tied_embeddings": True,
    }
    return BASE.model_copy(update={**small, "tied_embeddings": True, **facts})


DENSE, UNTIED = like(), like(tied_embeddings=False)
# Of 4 experts a token chooses 1: 600 parameters are routed, of which it reads 150.
MIXTURE = like(active_parameters=550, experts=4, experts_per_token=1)


def test_a_tied_table_is_read_as_the_head_and_an_untied_one_is_not_read() -> None:
    assert Loaded(DENSE, 16).read_bytes(1) == 2 * 1000
    assert Loaded(UNTIED, 16).read_bytes(1) == 2 * 920
    assert Loaded(DENSE, 4).read_bytes(7) == 500
    assert Loaded(DENSE, 4).weights_bytes == 500


def test_flop_are_two_for_each_parameter_and_the_head_counts_per_output() -> None:
    assert Loaded(DENSE, 16).flop(5, 2) == 2 * (920 * 5 + 80 * 2)
    assert Loaded(UNTIED, 16).flop(5, 2) == 2 * (840 * 5 + 80 * 2)
    assert Loaded(DENSE, 16).flop(5, 0) == 2 * 920 * 5


def test_experts_that_a_pass_reads() -> None:
    loaded = Loaded(MIXTURE, 8)
    assert loaded.routed == pytest.approx(600)
    assert [loaded.used(tokens) for tokens in (0, 1, 2)] == pytest.approx([0, 1 / 4, 1 - 9 / 16])
    assert loaded.read_bytes(2) == pytest.approx(400 + 600 * 7 / 16)
    assert loaded.flop(3, 1) == 2 * (470 * 3 + 80)
    assert (Loaded(DENSE, 8).routed, Loaded(DENSE, 8).used(5)) == (0.0, 0.0)
    assert Loaded(like(active_parameters=550, experts=4, experts_per_token=4), 8).routed == 0.0


def test_a_cache_with_windows_grows_until_they_are_full() -> None:
    facts = like(sliding_window=100, kv_window_bytes=2000)
    loaded, a_token = Loaded(facts, 16), Loaded(facts, 16).token_bytes
    assert loaded.cache_bytes(50) == pytest.approx(50 * a_token + 1000)
    assert loaded.cache_bytes(100) == pytest.approx(100 * a_token + 2000)
    assert loaded.cache_bytes(300) == pytest.approx(300 * a_token + 2000)
    assert loaded.windowed == pytest.approx(20 / (20 + facts.token_bytes))
    assert Loaded(facts, 16, cache_item_bytes=1).cache_bytes(300) == pytest.approx(
        loaded.cache_bytes(300) / 2
    )
