"""Cost by the character: the same text, whatever the tokenizer makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from journals import write_run

from bench.metrics import characters, cost
from bench.metrics.throughput import totals
from bench.records import RunRecord
from bench.results.summarise import summarise
from bench.stats.figure import value_of
from bench.store.replay import load_record


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    found = load_record(write_run(tmp_path / "run"))
    return replace(found, arms=tuple(replace(arm, characters=(900, 100)) for arm in found.arms))


def test_a_thousand_characters_by_hand(record: RunRecord) -> None:
    arm = record.arms[0]
    sums = totals(arm)
    assert sums is not None
    tokens = sums.input_tokens + sums.output_tokens
    found = characters.figures(arm, record)
    assert value_of(found["characters_per_token"]) == 1000 / tokens
    per_1k = cost.figures(arm, record)["cost_per_1k_tokens_usd"]
    usd = found["cost_per_1k_characters_usd"]
    assert per_1k is not None
    assert usd is not None
    # A run of a thousand characters: its dollars are those of all its tokens.
    assert usd.value == pytest.approx(per_1k.value * tokens / 1000)
    assert (usd.ci_low or 0) / usd.value == pytest.approx((per_1k.ci_low or 0) / per_1k.value)


def test_more_characters_a_token_are_cheaper_characters(record: RunRecord) -> None:
    arm = record.arms[0]
    few, many = (
        value_of(characters.figures(replace(arm, characters=count), record)["cost_per_1k_characters_usd"])
        for count in ((450, 50), (900, 100))
    )
    assert few == pytest.approx(2 * (many or 0))


def test_paired_dollars_keep_the_ratio_of_the_table(record: RunRecord) -> None:
    """A variant in turns with its baseline: its characters cost what its tokens do, times the same ratio."""
    run = summarise(record)
    for row in run.rows:
        tokens, text = row.figure("cost_per_1k_tokens_usd"), row.figure("cost_per_1k_characters_usd")
        share = value_of(row.figure("characters_per_token"))
        if tokens is not None and text is not None and share is not None:
            assert text.value == pytest.approx(tokens.value / share)


def test_without_a_count_there_are_no_figures(record: RunRecord) -> None:
    bare = replace(record.arms[0], characters=None)
    assert characters.figures(bare, record) == characters.worked(bare, record) == {}
    none_at_all = replace(record.arms[0], characters=(0, 0))
    assert set(characters.figures(none_at_all, record).values()) == {None}
