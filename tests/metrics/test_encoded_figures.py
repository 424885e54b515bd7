"""The figures of encoders, from a record, beside numpy, scipy and counting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.metrics import encoded
from bench.records import ArmRecord, EncodedTexts, RunRecord

RNG = np.random.default_rng(7)
RUNTIME = {"name": "transformers", "task": "embedding"}


def figures(seen: EncodedTexts | None, runtime: dict[str, Any] = RUNTIME) -> Any:
    arm = ArmRecord("int8", "", is_baseline=False, runtime=runtime, encoded=seen)
    run = RunRecord(
        "r", "r", 1, "", None, harness={}, spec={}, spec_digest="", machine={}, price={}, text={}, arms=(arm,)
    )
    return encoded.figures(arm, run)


def test_a_model_that_writes_has_none_of_these() -> None:
    assert figures(None, {"name": "transformers"}) == {}
    assert set(figures(None).values()) == {None}


def test_cosines() -> None:
    cosines = tuple((1 - RNG.exponential(0.002, 600)).tolist())
    found = figures(EncodedTexts("mine", "0", cosines=cosines, floor=(0.9999, 0.99999)))
    mean, worst = found["cosine_mean"], found["cosine_p01"]
    assert mean.value == pytest.approx(np.mean(cosines))
    half = 1.96 * np.std(cosines, ddof=1) / np.sqrt(600)
    assert (mean.ci_high - mean.ci_low) / 2 == pytest.approx(half, rel=0.1)
    assert worst.value == pytest.approx(np.quantile(cosines, 0.01))
    ordered = sorted(cosines)
    low, high = stats.binom.interval(0.95, 600, 0.01)
    assert (
        ordered[max(int(low) - 1, 0)] <= worst.ci_low < worst.value < worst.ci_high <= ordered[int(high) + 1]
    )
    assert mean.notes["floor"] == 0.9999
    assert found["label_flips"] is None


def test_a_tail_of_fewer_than_five_texts_has_no_lower_bound() -> None:
    found = figures(EncodedTexts("mine", "0", cosines=tuple(np.linspace(0.9, 1, 300).tolist())))
    assert found["cosine_p01"].ci_low is None


def test_rankings() -> None:
    correlations = tuple(RNG.uniform(0.9, 1, 50).tolist())
    before = (True,) * 40 + (False,) * 10
    after = (True,) * 34 + (False,) * 12 + (True,) * 4
    found = figures(
        EncodedTexts(
            "mine", "0", documents=80, rank_correlations=correlations, same_first=(True,) * 45 + (False,) * 5,
            found_before=before, found_after=after,
        )
    )  # fmt: skip
    assert found["rank_correlation"].value == pytest.approx(np.mean(correlations))
    first = found["first_document_agreement"]
    exact = stats.binomtest(45, 50).proportion_ci(method="exact")
    assert (first.value, first.ci_low, first.ci_high) == pytest.approx((0.9, exact.low, exact.high))
    change = found["retrieval_change"]
    assert change.value == pytest.approx((4 - 6) / 50)
    assert change.ci_low < change.value < change.ci_high
    assert change.notes["p"] == pytest.approx(stats.binomtest(4, 10).pvalue)
    assert (change.notes["lost"], change.notes["gained"], change.notes["before"]) == (6, 4, 0.8)


def test_labels() -> None:
    before, after, right = (0,) * 8 + (1,) * 92, (1,) * 9 + (1,) * 91, (0,) * 50 + (1,) * 50
    runtime = {"task": "classification"}
    found = figures(
        EncodedTexts("mine", "0", labels_before=before, labels_after=after, right_labels=right), runtime
    )
    flips, exact = found["label_flips"], stats.binomtest(8, 100).proportion_ci(method="exact")
    assert (flips.value, flips.ci_low, flips.ci_high) == pytest.approx((0.08, exact.low, exact.high))
    assert found["label_accuracy_change"].value == pytest.approx(-0.08)
    assert found["label_accuracy_change"].notes["p"] == pytest.approx(2 / 2**8)
    unknown = figures(EncodedTexts("mine", "0", labels_before=before, labels_after=after), runtime)
    assert unknown["label_accuracy_change"] is None
    assert unknown["label_flips"].value == flips.value
