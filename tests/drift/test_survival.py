"""The survival curve against scipy's, edit distances against the plain table, repetition by hand."""

from __future__ import annotations

import tracemalloc
import warnings
from dataclasses import replace
from itertools import product

import pytest
from fakes import arm_record, run_record, timed_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.drift import generations, survival
from bench.drift.edit_distance import edit_distance
from bench.drift.repeats import collapsed, repeated
from bench.drift.suites import generation
from bench.drift.survival import Followed, followed
from bench.records import ArmRecord

tokens = st.lists(st.integers(0, 4), max_size=12)


@pytest.mark.parametrize(
    ("base", "variant", "token", "differs"),
    [
        ([5, 6, 7], [5, 6, 7], 3, False),
        ([5, 6, 7], [5, 0, 7], 2, True),
        ([5, 6], [5, 6, 7], 3, True),  # one ends where the other goes on
        ([], [], 0, False),
        ([], [1], 1, True),
    ],
)
def test_where_two_replies_part(base: list[int], variant: list[int], token: int, differs: bool) -> None:
    assert followed(base, variant) == followed(variant, base) == Followed(token, differs)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=2, max_size=25))
def test_the_curve_is_scipys(pairs: list[tuple[int, bool]]) -> None:
    steps = survival.curve([Followed(token, differs) for token, differs in pairs])
    data = stats.CensoredData(
        uncensored=[t for t, d in pairs if d], right=[t for t, d in pairs if not d]
    )  # fmt: skip
    if not any(differs for _token, differs in pairs):
        assert steps == ()
        return
    found = stats.ecdf(data).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where all or none have differed there are no bounds
        bounds = found.confidence_interval(method="log-log")
    for step in steps:
        place = found.quantiles.tolist().index(step.token)
        assert step.share.value == pytest.approx(found.probabilities[place], rel=1e-6, abs=1e-12)
        if 0 < step.share.value < 1:
            assert step.share.low == pytest.approx(bounds.low.probabilities[place], rel=1e-6)
            assert step.share.high == pytest.approx(bounds.high.probabilities[place], rel=1e-6)


def test_replies_that_end_without_differing_are_censored() -> None:
    """Of four replies one differs at token 2; two had ended by then: half of those that were left."""
    seen = [
        Followed(1, differs=False),
        Followed(1, differs=False),
        Followed(2, differs=True),
        Followed(9, differs=False),
    ]
    (step,) = survival.curve(seen)
    assert (step.token, step.share.value, step.at_risk) == (2, 0.5, 2)
    assert survival.median([step]) is not None
    assert survival.median(survival.curve(seen[:2])) is None


def test_the_median_and_where_the_curve_s_bounds_pass_one_half() -> None:
    seen = [Followed(token, differs=True) for token in range(1, 21)]
    found = survival.median(survival.curve(seen))
    assert found is not None
    assert found.value == 10
    assert (found.low, found.high) == (5, 15)  # 0.75^2.410 = 0.4999, and 0.25^0.578 = 0.449


def test_the_rate_is_events_over_tokens() -> None:
    seen = [Followed(4, differs=True), Followed(6, differs=False), Followed(0, differs=False)]
    found = generations.divergence_rate(seen)
    assert found is not None
    assert found.value == pytest.approx(1 / 10)
    assert generations.divergence_rate([Followed(0, differs=False)]) is None


def table(one: list[int], other: list[int]) -> int:
    """The whole table, cell by cell."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        above, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b)))
    return row[-1]


@settings(max_examples=300)
@given(tokens, tokens)
def test_the_edit_distance_is_that_of_the_table(one: list[int], other: list[int]) -> None:
    assert edit_distance(one, other) == edit_distance(other, one) == table(one, other)


@settings(max_examples=300)
@given(tokens, tokens, st.integers(1, 5))
def test_strips_of_the_table_fit_together(one: list[int], other: list[int], rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.drift.edit_distance.BLOCK", rows)
        assert edit_distance(one, other) == table(one, other)


def test_long_replies_need_no_table() -> None:
    one = list(range(3000))
    assert edit_distance(one, [*one[:1000], 7, 7, *one[1500:]]) == 500


def test_long_replies_without_a_common_token_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks as long as the whole reply, one for each of its tokens, would be 4 MB."""
    monkeypatch.setattr("bench.drift.edit_distance.BLOCK", 512)
    one = list(range(8000))
    tracemalloc.start()
    try:
        assert edit_distance(one, one[::-1]) == 8000
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_repetition_by_hand() -> None:
    assert repeated([1, 2, 3, 4, 1, 2, 3, 4]) == [0, 0, 0, 0, 1]
    assert repeated([1, 2, 3]) == []
    assert collapsed([9, 9, *[1, 2] * 8])
    assert collapsed([7] * 16)
    assert not collapsed([7] * 15)
    assert not collapsed([*[1, 2] * 8, 9])
    assert not collapsed([1, 2, 3, 4, 5] * 4)


def arm(name: str, *replies: list[int]) -> ArmRecord:
    batches = tuple(timed_batch(0, [1] * len(reply), 2, [1], [reply]) for reply in replies)
    return arm_record(name, solo=batches, end_ids=(2,))


def test_figures_of_replies() -> None:
    base = arm("baseline", [5, 6, 7, 8], [5, 6, 2, 8], [5, 6, 7, 8], [9, 9, 9, 9], [5, 5, 5, 5])
    variant = arm("v", [5, 6, 7, 8], [5, 6, 2, 1], [5, 6, 0, 8], [1, 9, 2, 9], [5, 5, 5, 5])
    run = run_record(base, variant)
    found = generation.figures(variant, run)
    values = {key: figure.value for key, figure in found.items() if figure}
    assert values["edit_distance"] == pytest.approx((0 + 0 + 1 / 4 + 3 / 4 + 0) / 5)
    assert values["divergence_per_token"] == pytest.approx(2 / (4 + 2 + 3 + 1 + 4))
    assert values["length_ratio"] == pytest.approx(16 / 18)
    length, curve = found["length_ratio"], found["first_divergence_token"]
    assert length is not None
    assert (length.notes["outside"], length.notes["cut"]) == (True, pytest.approx(0.7))
    assert not generation.other_lengths(length), "most replies reached the limit"
    assert generation.other_lengths(replace(length, notes={**length.notes, "cut": 0.5}))
    assert not generation.other_lengths(replace(length, notes={"cut": 0.0, "outside": False}))
    assert length.ci_low is not None
    assert length.ci_low < length.value
    assert curve is not None
    assert [step[0] for step in curve.notes["survival"]] == [1, 3]


def test_the_edit_distance_of_all_short_sequences_of_two_letters() -> None:
    every = [list(one) for length in range(6) for one in product((0, 1), repeat=length)]
    for one in every:
        for other in every:
            assert edit_distance(one, other) == table(one, other)
