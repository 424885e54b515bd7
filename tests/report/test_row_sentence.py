"""The sentence of a row, where one-off work comes into it."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from bench.errors import Outcome
from bench.metrics import characters, cost, memory, one_off, output_drift, split
from bench.records.drift import OTHER_TOKENIZER
from bench.report.notes import timed_words
from bench.report.row_sentence import band, drift_words, once_words, sentence
from bench.report.splits import split_words
from bench.report.table_columns import COLUMNS
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import Metric
from bench.stats.ratio_verdict import RatioDesign


@pytest.fixture
def run(sample: ModuleType) -> RunSummary:
    return sample.summary(sample.rich_run())  # type: ignore[no-any-return]


@pytest.fixture
def written(sample: ModuleType) -> dict[str, Any]:
    """The same as it stands in the file."""
    return sample.rich_run()  # type: ignore[no-any-return]


def measured(run: RunSummary) -> Row:
    """The first variant that was measured."""
    return next(one for one in run.rows if one.ok and not one.is_baseline)


def row(run: RunSummary, seconds: float, requests: float | None) -> Row:
    """The first variant that was measured, with a bill."""
    found = measured(run)
    usd = one_off.USD.scalar(seconds * 1e-5, seconds=seconds)
    back = None if requests is None else one_off.BREAK_EVEN.scalar(requests)
    return replace(found, metrics={**found.metrics, one_off.USD.key: usd, one_off.BREAK_EVEN.key: back})


def test_what_was_spent_and_when_it_comes_back(run: RunSummary) -> None:
    variant = row(run, 120.0, 1234.4)
    assert once_words(variant) == "made once in 120 s for 0.00120 USD, earned back after 1,234 requests"
    assert once_words(variant) in sentence(run, variant)


def test_what_never_comes_back_says_so(run: RunSummary) -> None:
    assert once_words(row(run, 120.0, None)).endswith("USD, not shown to be earned back")


def test_another_tokenizer_is_compared_by_the_character(run: RunSummary) -> None:
    """The ratio of the table is that of a token, and the same text is another number of tokens."""

    def priced(one: Row, usd: float) -> Row:
        return replace(one, metrics={**one.metrics, characters.PER_1K.key: characters.PER_1K.scalar(usd)})

    variant = measured(run)
    base = run.baseline_of(variant)
    ours = replace(priced(variant, 0.003), drift_reason=f"{OTHER_TOKENIZER}: so it is")
    both = replace(run, rows=(priced(base, 0.002), ours))
    assert "by the character, as its tokens are of another tokenizer, 1.50 times" in sentence(both, ours)
    assert "by the character" not in sentence(both, replace(ours, drift_reason="drift.tokens is 0"))
    assert "by the character" not in sentence(run, replace(variant, drift_reason=ours.drift_reason))


@pytest.mark.parametrize("seconds", [0.5, 9.9])
def test_a_few_seconds_are_not_worth_a_word(run: RunSummary, seconds: float) -> None:
    assert once_words(row(run, seconds, 3.0)) == ""


def test_a_sentence_and_the_table_round_agreement_alike(run: RunSummary) -> None:
    column = next(one for one in COLUMNS if one.key == "top1")
    variant = next(one for one in run.rows if column.cell(run, one) != "-")
    agreement = variant.figure(output_drift.TOP1)
    assert agreement is not None
    for share, shown in {
        0.9984: "99.8%",
        0.9999: "99.9%",
        1.0: "100.0%",
        0.975: "97.5%",
        0.57: "57.0%",
    }.items():
        figure = replace(agreement, value=share)
        one = replace(variant, drift={**variant.drift, output_drift.TOP1.key: figure})
        assert column.cell(run, one) == shown
        assert f"(agrees on {shown} of tokens)" in drift_words(one)


@pytest.mark.parametrize(("others", "said"), [(0.05, ""), (0.71, ", while others had 71% of the processors")])
def test_a_bill_from_a_loaded_machine_says_so(run: RunSummary, others: float, said: str) -> None:
    spent = one_off.USD.scalar(0.0012, seconds=120.0, others=others)
    variant = replace(measured(run), metrics={one_off.USD.key: spent})
    assert once_words(variant) == f"made once in 120 s for 0.00120 USD{said}, not shown to be earned back"


def test_nothing_spent_nothing_said(run: RunSummary) -> None:
    assert all(once_words(one) == "" for one in run.rows)


def test_dollars_that_moved_with_the_machine(written: dict[str, Any], sample: ModuleType) -> None:
    """A run of earlier code, in which the machine was a fifth slower for the row than for the baseline."""
    base = next(one for one in written["variants"] if one["is_baseline"])
    duet = next(
        one
        for one in written["comparisons"]
        if (one["metric"], one["design"], one["group"]) == (cost.PER_1K.key, "duet", base["group"])
    )
    (row,) = [
        one for one in written["variants"] if (one["name"], one["group"]) == (duet["variant"], duet["group"])
    ]
    written["comparisons"] = [{**duet, "pairs": None}]

    def said() -> str:
        return timed_words(sample.summary(written))

    before = base["metrics"][cost.PER_1K.key]["value"] * duet["ratio"]
    row["metrics"][cost.PER_1K.key]["value"] = before * 1.04
    assert said() == ""
    row["metrics"][cost.PER_1K.key]["value"] = before * 1.2
    assert "up to 20% off the cost ratio" in said()
    row["metrics"][cost.PER_1K.key] = None
    assert said() == ""


def test_what_the_columns_of_time_and_money_are(run: RunSummary) -> None:
    """Pairs, the baseline's scale, the error of a verdict; one number where all rows have as many pairs."""
    first, second = [one for one in run.comparisons if one.metric == cost.PER_1K.key][:2]
    run = replace(run, comparisons=(replace(first, pairs=4), replace(second, pairs=12)))
    assert "from 4 to 12 fresh pairs of processes" in timed_words(run)
    assert "at most 2% of tables without a difference" in timed_words(run)
    run = replace(run, comparisons=(replace(first, pairs=4), replace(second, pairs=4)))
    assert "from 4 fresh pairs of processes that take turns;" in timed_words(run)
    rows = [replace(row, void_pairs=3 * (place == 1)) for place, row in enumerate(run.rows)]
    run = replace(run, rows=tuple(rows))
    mixed = replace(
        run, comparisons=(run.comparisons[0], replace(run.comparisons[1], design=RatioDesign.SLICES))
    )
    assert "that take turns, or share one processor (rows with the baseline's kernels)" in timed_words(mixed)
    assert "turns (3 more left out, while others used the machine);" in timed_words(run)


def test_a_run_without_pairs_explains_the_mark_of_its_ratios(run: RunSummary) -> None:
    ratio = next(one for one in run.comparisons if one.metric == cost.PER_1K.key)
    alone = replace(run, comparisons=(replace(ratio, design=RatioDesign.SOLO, pairs=None),))
    assert timed_words(alone).startswith("A ratio with ~ is that of two rows which were measured alone")
    assert "~ is" not in timed_words(replace(run, comparisons=(replace(ratio, pairs=None),)))


def test_a_row_that_failed_says_how_and_why_on_one_line(run: RunSummary) -> None:
    failed = replace(measured(run), status=Outcome.OOM_HOST, reason="killed\nat 7.9 GiB")
    assert sentence(run, failed) == "oom_host: killed at 7.9 GiB"


@pytest.mark.parametrize(
    ("kl", "words"),
    [
        (2e-8, "not distinguishable from noise"),
        (0.0009, "indistinguishable"),
        (0.019, "close to the baseline"),
        (0.19, "noticeably different"),
        (0.2, "a different model"),
    ],
)
def test_bands_of_drift_begin_above_the_noise_floor(run: RunSummary, kl: float, words: str) -> None:
    variant = measured(run)
    figure = variant.figure(output_drift.KLD)
    assert figure is not None
    assert band(replace(variant, drift={output_drift.KLD.key: replace(figure, value=kl)})) == words
    assert band(replace(variant, drift={})) is None


def test_the_peak_of_a_row_on_a_gpu_is_its_own_part(sample: ModuleType) -> None:
    """The driver's figure is of every process there."""
    (peak,) = [column for column in COLUMNS if column.key == "peak"]
    row = sample.row(sample.variant("on a GPU"))
    run = sample.summary(sample.run([], []))
    assert peak.cell(run, row) == "1,000"
    on_gpu = {one.key: one.scalar(size * sample.MIB) for one, size in ON_GPU.items()}
    assert peak.cell(run, replace(row, metrics={**row.metrics, **on_gpu})) == "300"


ON_GPU = {memory.ALLOCATED: 300, memory.DEVICE: 9000}


@pytest.mark.parametrize(("metric", "what"), [(split.STEP, "a token"), (split.PROMPT, "the first token")])
def test_a_split_row_says_where_the_time_goes(run: RunSummary, metric: Metric, what: str) -> None:
    parts = {"edge_s": 0.004, "cloud_s": 0.006, "link_s": 0.0212, "sent_bytes": 2320, "received_bytes": 28}
    found = measured(run)
    cut = replace(found, metrics={**found.metrics, metric.key: metric.scalar(31.5, **parts)})
    said = f"{what} took 4.0 ms at the edge, 6.0 in the cloud and 21.2 on the link, and moved 2,348 bytes"
    assert split_words(cut) == said
    assert said in sentence(run, cut)
    assert split_words(found) == ""
    priced = replace(cut, metrics={**cut.metrics, split.COST.key: split.COST.scalar(0.0000296)})
    both = "at the prices of both sides a thousand tokens cost 0.0000296 USD, while the table bills the time"
    assert split_words(priced) == f"{said}; {both} of this machine"
