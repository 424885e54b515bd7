"""Drift of a variant beside its baseline, from the side of the harness: workers whose answers are data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from desk import FACTS, Answer
from hypothesis import given
from hypothesis import strategies as st
from two_arms import Table, scores

from bench.drift.kl_and_perplexity import window_starts
from bench.errors import Outcome, VariantFailed
from bench.measure import token_drift
from bench.measure.together import BaselineDied

# ---- windows -------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(16, 512), st.integers(1, 10**5))
def test_windows_fit_and_do_not_overlap(length: int, window: int, tokens: int) -> None:
    starts = window_starts(length, window, tokens)
    assert len(starts) == min(max(tokens // window, 1), length // window)
    assert all(0 <= start <= length - window for start in starts)
    assert all(later - earlier >= window for earlier, later in pairwise(starts))


@given(st.integers(1000, 10**6), st.integers(16, 64), st.integers(200, 900))
def test_windows_are_spread_evenly_over_the_whole_text(length: int, window: int, tokens: int) -> None:
    starts = window_starts(length, window, tokens)
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert starts[0] == 0
    assert starts[-1] == length - window
    assert max(gaps) - min(gaps) <= 1


def test_windows_by_hand() -> None:
    assert window_starts(100, 20, 80) == [0, 27, 53, 80]
    assert window_starts(100, 20, 10_000) == [0, 20, 40, 60, 80]
    assert window_starts(100, 20, 5) == [0]
    assert window_starts(19, 20, 80) == []
    assert window_starts(20, 20, 80) == [0]


# ---- drift ---------------------------------------------------------------------------------------


def reason(table: Table) -> str:
    token_drift.drift(table.base, table.variant)
    assert not table.notes.of("variant", "drift")
    (found,) = table.notes.of("variant", "drift_reason")
    return str(found)


def test_drift_is_scored_window_by_window() -> None:
    table = Table(scores, scores)
    token_drift.drift(table.base, table.variant)
    windows = [one for windows in table.notes.of("variant", "drift") for one in windows]
    assert len(windows) == 64 // 16
    asked = [arguments for do, arguments in table.variant.worker.asked if do == "score"]  # type: ignore[attr-defined]
    assert [start for one in asked for start in one["starts"]] == window_starts(100, 16, 64)


def test_the_text_is_cut_into_calls_of_a_few_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_drift, "WINDOWS_A_CALL", 3)
    table = Table(scores, scores)
    token_drift.drift(table.base, table.variant)
    assert [len(windows) for windows in table.notes.of("variant", "drift")] == [3, 1]


def test_what_layers_read_is_kept_call_by_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_drift, "WINDOWS_A_CALL", 2)
    read = {"format": "float16", "looked": 9, "reach": 1.0, "layers": {"a": 3}}
    table = Table(scores, lambda do, arguments: {**scores(do, arguments), "activations": read})
    token_drift.drift(table.base, table.variant)
    assert table.notes.of("variant", "activations") == [[{"baseline": None, "variant": read}]] * 2
    silent = Table(scores, scores)
    token_drift.drift(silent.base, silent.variant)
    assert not silent.notes.of("variant", "activations")


@pytest.mark.parametrize(
    ("facts", "ahead"),
    [
        ({"threads": 1}, True),
        ({"threads": 2}, False),
        ({"threads": 1, "device": "cuda:0"}, False),
        ({"threads": None}, False),
    ],
)
def test_both_sides_compute_at_once_where_each_has_a_processor(facts: dict[str, object], ahead: bool) -> None:
    table = Table(scores, scores, facts)
    token_drift.drift(table.base, table.variant)
    for under in (table.base, table.variant):
        asked = [arguments for do, arguments in under.worker.asked if do == "score"]  # type: ignore[attr-defined]
        assert asked
        assert {arguments["ahead"] for arguments in asked} == {ahead}


def test_drift_leaves_the_floor_to_the_baseline_s_own_process() -> None:
    table = Table(scores, scores)
    token_drift.drift(table.base, table.variant)
    assert not table.notes.of("baseline", "floor")
    assert "floor" not in [do for do, _arguments in table.base.worker.asked]  # type: ignore[attr-defined]


def test_the_floor_is_of_three_windows_and_a_few_tokens_more() -> None:
    table = Table(scores, scores)
    token_drift.floor(table.base)
    (found,) = table.notes.of("baseline", "floor")
    assert len(found) == 3
    asked = [arguments for do, arguments in table.base.worker.asked if do == "floor"]  # type: ignore[attr-defined]
    assert [one["how"] for one in asked] == ["shapes", "threads", "batch"]
    for one in asked:
        assert one == {
            "starts": window_starts(100, 16, 48),
            "window": 16,
            "extra": 8,
            "how": one["how"],
        }
    (further,) = table.notes.of("baseline", "floors")
    assert {how: len(windows) for how, windows in further.items()} == {"threads": 3, "batch": 3}
    assert table.variant.worker.asked == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("facts", "drift"),
    [
        ({"random_weights": True}, {}),
        ({}, {"tokens": 0}),
        ({"context": 23}, {}),  # a window of 16 and 8 tokens more
        ({}, {"window": 128}),
    ],
)
def test_no_floor_where_no_drift_is_told_from_it(facts: dict[str, object], drift: dict[str, int]) -> None:
    table = Table(scores, scores, facts, drift=drift)
    token_drift.floor(table.base)
    assert not table.notes.of("baseline", "floor")


def test_a_floor_that_just_fits_the_context() -> None:
    table = Table(scores, scores, {"context": 24})
    token_drift.floor(table.base)
    assert len(table.notes.of("baseline", "floor")) == 1


@pytest.mark.parametrize(
    ("facts", "drift", "expected"),
    [
        ({"random_weights": True}, {}, "random weights have no quality to lose"),
        ({}, {"tokens": 0}, "drift.tokens is 0"),
        ({}, {"window": 128}, "the evaluation text has 100 tokens, a window 128"),
        ({"context": 8}, {}, "does not fit the context of 8"),
    ],
)
def test_no_drift_has_a_reason(facts: dict[str, object], drift: dict[str, int], expected: str) -> None:
    assert expected in reason(Table(scores, scores, facts, drift=drift))


def test_a_window_may_be_as_long_as_the_context() -> None:
    """A position beyond it was an IndexError after all the timing, as of a GPT-2."""
    table = Table(scores, scores, {"context": 16})
    token_drift.drift(table.base, table.variant)
    assert len(table.notes.of("variant", "drift")) > 0


def test_another_tokenizer_has_no_token_level_drift() -> None:
    table = Table(
        scores, lambda do, a: {"tokens": 90, "digest": "other"} if do == "corpus" else scores(do, a)
    )
    assert "another tokenizer" in reason(table)


def test_another_vocabulary_has_no_drift() -> None:
    table = Table(scores, scores)
    table.variant.facts = replace(FACTS, vocabulary=11)
    assert "vocabulary of 11" in reason(table)


@pytest.mark.parametrize("stage", ["corpus", "score"])
def test_a_baseline_that_fails_beside_a_variant_is_not_the_variant_s_failure(stage: str) -> None:
    failing: Answer = lambda do, a: VariantFailed(Outcome.OOM_HOST, "gone") if do == stage else scores(do, a)  # noqa: E731
    table = Table(failing, scores)
    with pytest.raises(BaselineDied, match="gone"):
        token_drift.drift(table.base, table.variant)


@pytest.mark.fault(22)
def test_windows_that_are_missing_are_not_averaged() -> None:
    def short(do: str, arguments: Mapping[str, Any]) -> dict[str, Any] | Exception:
        reply = scores(do, arguments)
        return {"windows": reply["windows"][:-1]} if do == "score" else reply

    table = Table(scores, short)
    with pytest.raises(VariantFailed, match="3 windows instead of 4"):
        token_drift.drift(table.base, table.variant)


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
