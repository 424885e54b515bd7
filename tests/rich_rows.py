"""Measured rows of every kind that runs in a worker: speculating, split, a cascade. Their times are data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fakes import arm_record, loaded, timed_batch

from bench.records import (
    Answer,
    Answered,
    ArmRecord,
    BothAnswered,
    Cascaded,
    Counted,
    DeviceTimes,
    DriftWindow,
    EnergyReading,
    Kernel,
    MemoryPeaks,
    Sides,
    Speculated,
    SplitPhase,
    SplitWork,
    StepProfile,
    SuiteAnswers,
)

ITEMS = 30
MS = 1_000_000
TERMS = {
    "rule": "learnt", "threshold": -0.5, "sure": "above", "same_tokens": True, "edge": "small",
    "edge_usd_per_hour": 0.018, "egress_usd_per_gb": 90.0,
    "learnt": [{"form": "choices", "suite": "factuality", "ids": ["f0"], "n": 1, "same": 1}],
}  # fmt: skip
STAYED = Cascaded(-0.2, escalated=False, edge_s=0.2)
WENT = Cascaded(-0.8, True, 0.2, cloud_s=0.6, link_s=0.05, sent_bytes=100, received_bytes=50)
PHASE = SplitPhase(6, 20, 0.02, 0.03, 0.1, 0.1, 0.01, 5000, 56)
SPLIT = SplitWork(10, 20, (1, 2), 64, PHASE, PHASE, 0.01, 3.6, 0.09)


def solo(step_ms: float, whole: bool = False) -> tuple[Any, ...]:
    """Six batches of one request with three tokens; answers that come ``whole`` have one time."""
    found = []
    for number in range(6):
        sent = 1000.0 * number
        stamps = [sent + 5 + step_ms * step for step in range(3)]
        tokens = [[1, 2, 3 + number % 2 if step_ms < 2 else 3]]
        found.append(timed_batch(sent, stamps[-1:] if whole else stamps, stamps[-1] + 1, [4], tokens))
    return tuple(found)


def suite(right: int, *, items: bool = False, both: BothAnswered | None = None) -> dict[str, SuiteAnswers]:
    """The answers to a suite of two choices, of which the first ``right`` are right."""
    asked = tuple(
        {"id": f"f{n}", "lang": "en", "prompt": "p", "choices": ["a", "b"], "right": 0} for n in range(ITEMS)
    )
    found = SuiteAnswers("ab" * 32, scores(right), items=asked if items else (), both=both)
    return {"factuality": found}


def scores(right: int) -> tuple[tuple[float, ...], ...]:
    return tuple((-1.0, -2.0) if n < right else (-2.0, -1.0) for n in range(ITEMS))


def window(number: int) -> DriftWindow:
    values = (0.01 * number, 0.02, 0.001)
    return DriftWindow(values, (1, number % 2, 1), (-1.0, -2.0, -0.5), (-1.1, -2.0, -0.5), {}, "lcd")


def rows() -> tuple[ArmRecord, ...]:
    """A baseline, and one row of every kind that runs in a worker."""
    common: dict[str, Any] = {
        "model": {"kind": "hub", "name": "tiny", "location": "org/tiny", "revision": "0" * 40,
                  "weights_sha256": "ab" * 32},
        "runtime": {"name": "transformers", "device": "cpu", "dtype": "float32", "threads": 2},
        "workload": {"name": "chat", "requests": 6, "output_tokens": 3, "batch_size": 1},
        "texts": (("p", "one two"), ("p", "three")),
        "noise": ({"stage": "solo", "steal_share": 0.01, "busy_share": 0.9, "load1_before": 0.2},),
        "memory": MemoryPeaks({"peak_rss_bytes": 9000}, {"peak_rss_bytes": 8000}),
        "profile": StepProfile((Kernel("aten::mm", 3, 1.5, 0.8),), 12, 0.7),
        "device_times": DeviceTimes((5 * MS,) * 6, ((MS, MS),) * 6),
        "energy": EnergyReading(9.0, True, "", "", "package", 1.0, 6, 18, 3.0, 8.5, 0.001),
        "answers": tuple(Answer(3, True, 1) for _ in range(6)),
        "characters": (60, 90),
        "ceilings": {"memory_bytes_per_s": 1e10, "matmul_flop_per_s": 1e11},
        "counters": Counted(1, 4, 3, 3, 1000, 2000),
        "probes": {"calls": {"forward": 3.0}},
    }  # fmt: skip
    shown = replace(loaded(), evidence=(
        {"step": "quantise int8", "took_s": 1.0, "note": "a note", "one_off": [{"took_s": 12.0}],
         "checks": [{"claim": "dtype", "expected": "int8", "found": "int8", "holds": True}]},
    ))  # fmt: skip
    routed = replace(loaded(), evidence=({"step": "cascade: learnt", "checks": [], "cascade": TERMS},))
    both = BothAnswered(
        tuple(replace(WENT, score=-n / ITEMS) for n in range(ITEMS)),
        Answered(scores(ITEMS // 3)), Answered(scores(ITEMS - 1)),
    )  # fmt: skip
    drift: dict[str, Any] = {
        "drift": tuple(map(window, range(6))), "floor": tuple(map(window, range(6))),
        "floors": {"batch": tuple(map(window, range(6)))},
        "logits": (Sides(((-3.0, 3.0),), ((-3.0, 3.5),)),),
    }  # fmt: skip
    base = arm_record(solo=solo(2.0), suites=suite(ITEMS - 1, items=True), **common)
    return (
        base,
        arm_record("plain", solo=solo(1.0), suites=suite(20), optimise=("quantise int8",), **drift,
                   **{**common, "loaded": shown}),
        arm_record("drafts", solo=solo(1.5), speculated=Speculated(6, 18, 12, 2 * MS, 9 * MS), **common),
        arm_record("split", solo=solo(3.0), split=SPLIT, **common),
        arm_record("cascade", solo=solo(2.5, whole=True), cascaded=(STAYED, WENT) * 3,
                   suites=suite(ITEMS // 3, both=both), **{**common, "loaded": routed}),
    )  # fmt: skip
