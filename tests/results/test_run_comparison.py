"""Two runs side by side: ratios with their intervals, or a list of everything in which they differ."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest

from bench.errors import ExitCode, IncomparableError
from bench.metrics import cost, latency, memory, output_drift, throughput
from bench.pricing.reprice import price_block
from bench.records import ArmRecord, DriftWindow, Facts, Loaded, MemoryPeaks, RunRecord, TimedBatch
from bench.results.changes import ALONE_APART_SD
from bench.results.run_comparison import RowChange, between_runs, heading, render
from bench.results.run_summary import RunSummary
from bench.results.summarise import summarise

Run = dict[str, Any]


def batch(index: int, step_ms: float) -> TimedBatch:
    sent = index * 10**9
    stamps = tuple(sent + round((5 + step * step_ms * (1 + index / 100)) * 1e6) for step in range(4))
    return TimedBatch(sent, stamps, stamps[-1], (4,), ((1, 2, 3, 4),))


def arm(name: str, step_ms: float = 2.0, kld: float = 0.02, group: str = "", **more: Any) -> ArmRecord:
    base = name == "baseline"
    facts = Facts(
        engine="fake 1",
        device="cpu",
        device_name="cpu",
        dtype="float32",
        vocabulary=1000,
        random_weights=False,
        threads=1,
        kv_bytes_per_token=64,
    )
    window = DriftWindow((kld, kld * 1.2), (1, 1), (-1.0, -2.0), (-1.1, -2.0))
    return ArmRecord(
        **{
            "name": name, "group": group, "is_baseline": base, "status": "ok",
            "model": {"kind": "package", "location": "x", "weights_sha256": "ab" * 32},
            "runtime": {"dtype": "float32", "threads": 1}, "workload": {"name": "chat", "requests": 8},
            "optimise": () if base else ("prune magnitude",),
            "loaded": Loaded(facts, 1.0, 0.0, {}, 4000, {"float32": 4000}, 1000, ()),
            "solo": tuple(batch(index, step_ms) for index in range(8)),
            "memory": MemoryPeaks({"peak_rss_bytes": 9000}, {"peak_rss_bytes": 9000}),
            "drift": () if base else (window,) * 6,
            **more,
        }
    )  # fmt: skip


def run(*arms: ArmRecord, run_id: str = "one", **more: Any) -> Run:
    """A run as it stands in ``run.json``."""
    record = RunRecord(
        **{
            "run_id": run_id, "name": "demo", "schema_version": 1, "started_utc": "", "finished_utc": "x",
            "harness": {"version": "0.1.0"}, "spec": {"drift": {"tokens": 64, "window": 16}},
            "spec_digest": "", "machine": {"cpu_model": "fake", "cpus": 2, "packages": {"torch": "2.13.0"}},
            "price": price_block("cloud-2vcpu-8gb", None, 1.0, "2026-01-31"),
            "text": {"name": "english", "sha256": "01" * 32},
            "arms": arms or (arm("baseline"), arm("pruned")),
            **more,
        }
    )  # fmt: skip
    found: Run = json.loads(json.dumps(summarise(record).to_json()))
    return found


def changes(one: Run, other: Run) -> list[RowChange]:
    return between_runs(RunSummary.from_json(one), RunSummary.from_json(other))


def row_of(rows: Sequence[RowChange], variant: str, metric: str) -> RowChange:
    (found,) = [row for row in rows if (row.variant, row.metric) == (variant, metric)]
    return found


def reasons(one: Run, other: Run) -> list[str]:
    with pytest.raises(IncomparableError) as caught:
        changes(one, other)
    assert caught.value.exit_code == ExitCode.INCOMPARABLE
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


# ---- figures -------------------------------------------------------------------------------------


def test_the_key_figures_of_every_common_variant() -> None:
    rows = changes(run(), run(run_id="two"))
    metrics = [row.metric for row in rows if row.variant == "pruned"]
    assert metrics == [
        latency.E2EL.key, latency.TTFT.key, latency.TPOT.key, throughput.OUTPUT.key, cost.PER_1K.key,
        cost.PER_REQUEST.key, memory.RSS.key, output_drift.KLD.key, output_drift.TOP1.key,
        output_drift.PPL.key,
    ]  # fmt: skip
    without_drift = [row.metric for row in rows if row.variant == "baseline"]
    assert without_drift == [*metrics[:-3], output_drift.PPL.key]


def test_the_same_run_twice_is_no_change() -> None:
    for row in changes(run(), run()):
        assert row.ratio == 1
        assert row.verdict == "cannot tell"
        if row.ci_low is None or row.ci_high is None:
            assert row.ci_low is row.ci_high is None
        else:
            assert row.ci_low < 1 < row.ci_high or row.ci_low == row.ci_high == 1


def test_twice_as_fast_is_better_and_twice_as_slow_is_worse() -> None:
    before, after = run(arm("baseline"), arm("pruned", 2.0)), run(arm("baseline"), arm("pruned", 1.0))
    faster = row_of(changes(before, after), "pruned", "tpot_ms")
    assert faster.ratio == pytest.approx(0.5)
    assert (faster.before, faster.after) == pytest.approx((2.07, 1.035))
    assert faster.ci_low is not None
    assert faster.ci_high is not None
    assert faster.ci_low < 0.5 < faster.ci_high < 1
    assert faster.verdict == "better"
    slower = row_of(changes(after, before), "pruned", "tpot_ms")
    assert slower.ratio == pytest.approx(2.0)
    assert slower.verdict == "worse"
    assert slower.ci_low == pytest.approx(1 / faster.ci_high)


def test_the_interval_is_the_quadrature_of_both_and_of_time_apart() -> None:
    before, after = run(), run(arm("baseline"), arm("pruned", 1.0))
    row = row_of(changes(before, after), "pruned", "tpot_ms")
    figures = [one["variants"][1]["metrics"]["tpot_ms"] for one in (before, after)]
    b, a = figures
    expected = math.hypot(
        math.log(a["ci_high"] / a["mean"]),
        math.log(b["mean"] / b["ci_low"]),
        1.959964 * ALONE_APART_SD,
    )
    assert row.ratio is not None
    assert row.ci_high is not None
    assert math.log(row.ci_high / row.ratio) == pytest.approx(expected)


def test_drift_has_no_time_in_it_and_higher_agreement_is_better() -> None:
    before, after = run(), run()
    for one in (before, after):  # as earlier code wrote them: nothing to compare window by window
        for figure in filter(None, one["variants"][1]["drift"].values()):
            figure.pop("window_means", None)
    drift = [one["variants"][1]["drift"] for one in (before, after)]
    drift[1]["top1_agreement"] |= {"value": 0.9, "ci_low": 0.89, "ci_high": 0.91}
    drift[0]["top1_agreement"] |= {"value": 0.8, "ci_low": 0.79, "ci_high": 0.81}
    drift[1]["kld_mean"] |= {"value": 0.04, "ci_low": 0.039, "ci_high": 0.041}
    drift[0]["kld_mean"] |= {"value": 0.02, "ci_low": 0.019, "ci_high": 0.021}
    rows = changes(before, after)
    assert row_of(rows, "pruned", "top1_agreement").verdict == "better"
    kld = row_of(rows, "pruned", "kld_mean")
    assert (kld.verdict, kld.ratio) == ("worse", 2.0)
    half = math.hypot(math.log(0.041 / 0.04), math.log(0.02 / 0.019))
    assert kld.ci_high == pytest.approx(2 * math.exp(half))


@pytest.mark.parametrize("missing", [None, 0.0])
def test_without_an_interval_on_one_side_there_is_none(missing: float | None) -> None:
    other = run()
    other["variants"][1]["metrics"]["e2el_ms"]["ci_low"] = missing
    row = row_of(changes(run(), other), "pruned", "e2el_ms")
    assert (row.ratio, row.ci_low, row.ci_high, row.verdict) == (1.0, None, None, "cannot tell")


def test_a_figure_without_an_interval_never_has_a_verdict() -> None:
    other = run()
    other["variants"][1]["metrics"]["peak_rss_bytes"]["value"] = 1.0
    row = row_of(changes(run(), other), "pruned", "peak_rss_bytes")
    assert row.ratio == pytest.approx(1 / 9000)
    assert row.verdict == "cannot tell"


def test_a_figure_that_one_run_lacks_is_a_row_without_a_ratio() -> None:
    other = run()
    other["variants"][1]["metrics"]["e2el_ms"] = None
    row = row_of(changes(run(), other), "pruned", "e2el_ms")
    assert (row.after, row.ratio, row.verdict) == (None, None, "cannot tell")
    row = row_of(changes(other, run()), "pruned", "e2el_ms")
    assert (row.before, row.ratio) == (None, None)


def test_nothing_over_nothing_is_no_ratio() -> None:
    zero = run(arm("baseline"), arm("pruned", kld=0.0))
    row = row_of(changes(zero, zero), "pruned", "kld_mean")
    assert (row.before, row.ratio, row.verdict) == (0.0, None, "cannot tell")


def test_only_what_is_in_both_is_compared() -> None:
    one = run(arm("baseline"), arm("a"), arm("b", group="cell"))
    other = run(arm("baseline"), arm("a"), arm("b"))
    rows = changes(one, other)
    assert {row.variant for row in rows} == {"baseline", "a"}


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ({"/a/notes.txt": "01" * 32}, {"/b/notes.txt": "01" * 32}, None),
        ({"/a/notes.txt": "01" * 32}, {"/b/other.txt": "02" * 32}, None),
        ({"/a/1/t": "01" * 32, "/a/2/t": "02" * 32}, {"/a/1/t": "03" * 32}, None),
        ({"/a/notes.txt": "01" * 32}, {"/b/notes.txt": "02" * 32}, "file.notes.txt: 0101"),
    ],
)
def test_files_that_the_config_names(before: dict[str, str], after: dict[str, str], line: str | None) -> None:
    """A text for calibration that has changed under its name makes two schemes of one. In another checkout
    the same file has another path."""
    both = run(inputs=before), run(inputs=after)
    if line is None:
        assert changes(*both)
        return
    with pytest.raises(IncomparableError, match=line):
        changes(*both)


# ---- incomparable --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value", "line"),
    [
        (["machine", "cpu_model"], "other", "machine.cpu_model: fake and other"),
        (["machine", "cpus"], 4, "machine.cpus: 2 and 4"),
        (["machine", "kernel"], "6.1", "machine.kernel: nothing and 6.1"),
        (["machine", "packages", "torch"], "2.14.0", "machine.packages.torch: 2.13.0 and 2.14.0"),
        (["machine", "packages"], {}, "machine.packages.torch: 2.13.0 and nothing"),
        (["text", "sha256"], "02" * 32, f"text.sha256: {'01' * 30}... and {'02' * 30}..."),
        (["spec", "drift", "window"], 512, "drift.window: 16 and 512"),
        (["spec", "drift", "tokens"], 0, "drift.tokens: 64 and 0"),
        (["price", "usd_per_hour"], 9.0, "price.usd_per_hour: 0.1008 and 9.0"),
        (["price", "utilisation"], 0.5, "price.utilisation: 1.0 and 0.5"),
        (["variants", 1, "workload", "requests"], 9, "pruned.workload.requests: 8 and 9"),
        (["variants", 1, "runtime", "dtype"], "float16", "pruned.runtime.dtype: float32 and float16"),
        (["variants", 1, "facts", "engine"], "fake 2", "pruned.facts.engine: fake 1 and fake 2"),
        (["variants", 1, "model", "location"], "y", "pruned.model.location: x and y"),
        (["variants", 1, "optimisations"], [], "pruned.optimisations: ['prune magnitude'] and []"),
    ],
)  # fmt: skip
def test_each_field_that_must_agree(place: list[str | int], value: object, line: str) -> None:
    other: Any = run(run_id="two")
    target = other
    for part in place[:-1]:
        target = target[part]
    target[place[-1]] = value
    assert reasons(run(), other) == [line]


def test_other_weights_in_one_variant() -> None:
    other = run(arm("baseline"), arm("pruned", model={"location": "x", "weights_sha256": "ff"}))
    assert reasons(run(), other) == [f"pruned.model.weights_sha256: {'ab' * 30}... and ff"]


def test_another_model_that_drafts() -> None:
    """The row is called as before, and its drafts are others."""

    def drafting(digest: str) -> Run:
        models = {"optimise.speculate.model": {"location": "y", "files_sha256": digest}}
        return run(arm("baseline"), arm("pruned", models=models))

    assert reasons(drafting("aa"), drafting("bb")) == [
        "pruned.optimise.speculate.model.files_sha256: aa and bb"
    ]
    assert changes(drafting("aa"), drafting("aa"))
    assert changes(run(), drafting("aa"))


def test_a_model_that_was_moved_is_the_same_if_all_of_its_files_are() -> None:
    """A snapshot of the hub and a copy of it were two models, though every digest was the same."""
    model = {"location": "/snapshots/1", "weights_sha256": "ab", "files_sha256": "cd"}
    before = run(arm("baseline", model=model), arm("pruned", model=model))
    moved = {**model, "location": "/models/mine"}
    assert changes(before, run(arm("baseline", model=moved), arm("pruned", model=moved)))
    for key in ("files_sha256", "weights_sha256"):
        found = reasons(before, run(arm("baseline", model=moved), arm("pruned", model={**moved, key: "ce"})))
        assert [line.partition(":")[0] for line in found] == [f"pruned.model.{key}"]


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ("aa", "bb", ["pruned.model.files_sha256: aa and bb"]),
        ("aa", "aa", []),
        (None, "bb", []),  # an earlier version kept no digest of them
    ],
)
def test_another_tokenizer_or_template_beside_the_same_weights(
    before: str | None, after: str | None, lines: list[str]
) -> None:
    """No prompt of a workload of token ids would show it, and drift would be of other tokens."""
    sides = [
        run(
            arm("baseline"),
            arm("pruned", model={"location": "x", "weights_sha256": "ab", "files_sha256": one}),
        )
        for one in (before, after)
    ]
    if lines:
        assert reasons(*sides) == lines
    else:
        assert changes(*sides)


def test_all_differences_are_named_at_once() -> None:
    other = run(run_id="two")
    other["machine"]["cpus"] = 4
    other["text"]["sha256"] = "x"
    for variant in other["variants"]:
        variant["workload"]["requests"] = 9
    found = reasons(run(), other)
    assert [line.partition(":")[0] for line in found] == [
        "machine.cpus", "text.sha256", "baseline.workload.requests", "pruned.workload.requests",
    ]  # fmt: skip


def test_where_a_price_comes_from_may_differ() -> None:
    other = run()
    other["price"] |= {"source": "elsewhere", "date": "2027-01-01", "note": "", "name": "the same"}
    assert changes(run(), other)


def test_nothing_in_common() -> None:
    assert reasons(run(arm("baseline", group="a")), run(arm("baseline", group="b"))) == [
        "no variant is in both"
    ]


def test_a_variant_that_failed_has_no_facts_to_differ_in() -> None:
    failed = arm("pruned", loaded=None, solo=(), memory=None, drift=(), status="timeout")
    rows = changes(run(), run(arm("baseline"), failed))
    assert {row.ratio for row in rows if row.variant == "pruned"} == {None}


# ---- as text -------------------------------------------------------------------------------------


def test_the_table_is_aligned_and_says_what_is_missing() -> None:
    other = run(arm("baseline"), arm("pruned", 1.0), run_id="two")
    other["variants"][1]["metrics"]["e2el_ms"] = None
    header, *lines = render(changes(run(), other)).splitlines()
    assert header.split()[:3] == ["variant", "metric", "before"]
    found = {tuple(line.split()[:2]): line for line in lines}
    assert " - " in found["pruned", "e2el_ms"]
    assert "0.500 [0." in found["pruned", "tpot_ms"]
    assert found["pruned", "tpot_ms"].split()[-2:] == ["better", "alone"]
    starts = {line.index(line.split()[1]) for line in lines}
    assert starts == {header.index("metric")}


def test_a_cell_stands_before_the_name_and_control_characters_nowhere() -> None:
    evil = run(arm("baseline"), arm("x\x1b[31m", group="batch_size=4"))
    text = render(changes(evil, evil))
    assert "batch_size=4 x" in text
    assert "\x1b" not in text


def test_runs_of_other_code_are_compared_and_the_heading_says_it() -> None:
    one, other = run(), run(run_id="two", harness={"version": "0.2.0"})
    assert changes(one, other)
    said = heading(RunSummary.from_json(one), RunSummary.from_json(other))
    assert "the code of bench differs" in said
    assert "differs" not in heading(RunSummary.from_json(one), RunSummary.from_json({**one, "run_id": "two"}))
