"""Runs as they stand in ``run.json``, made up: every kind of row, a sweep, and names that mean harm.

Shapes come from the harness's own ``Metric``; numbers are invented and simple enough to check by hand.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from bench.gate.findings import Effort, Finding, GateVerdict, block
from bench.metrics import all_metrics, cost, latency, memory, output_drift, throughput
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import Figure
from bench.stats.intervals import Interval

Run = dict[str, Any]
Variant = dict[str, Any]

MIB = 1024 * 1024
HOSTILE = {
    "script": "<script>alert(1)</script>",
    "img": "</script><img src=x onerror=alert(1)>",
    "attribute": '" onmouseover="alert(1)" x=\'',
    "ansi": "\x1b[31mred\x1b[0m\x07",
    "c1": "\x9b31m\x85",
    "rich": "[red]bold[/red][link=https://evil.example]x[/link]",
    "formula": '=HYPERLINK("https://evil.example","x")',
    "plus": "+1+cmd|' /C calc'!A0",
    "minus": "-2+3",
    "at": "@SUM(1)",
    "tab": "\t=1",
    "return": "\r=1",
    "newline": "\n=1",
    "wide": "＝1",
    "separator": "a\u2028b\u2029c",
    "surrogate": "a\ud800b",
    "nul": "a\x00b\ufffe",
    "bidi": "abc\u202egnp.exe",
    "jinja": "{{ 7 * 7 }}{% raw %}{# #}",
    "pipe": "a | b || `c` **d** ~~e~~ $x$ [l](javascript:alert(1)) www.evil.example",
    "latex": r"\input{/etc/passwd} \write18{id} % $x^2_1$ & # ~ ^^5cinput",
    "option": "[3pt] *",
    "cdata": "]]>--><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>&e;",
    "css": "</style><style>*{background:url(https://evil.example)}",
    "template": "${7*7} #{7*7} {{{7*7}}}",
    "chinese": "模型，量化",
}


def read(*runs: Run) -> list[RunSummary]:
    """The runs as reports take them."""
    return [RunSummary.from_json(one) for one in runs]


def summary(found: Run) -> RunSummary:
    """A run as reports take it."""
    return RunSummary.from_json(found)


def row(found: Variant) -> Row:
    """A row as reports take it."""
    return Row.from_json(found)


def figure(found: Figure | None) -> dict[str, Any]:
    """A figure as it stands in the file."""
    assert found is not None
    return found.to_json()


def run(variants: Sequence[Variant], comparisons: Sequence[dict[str, Any]], **changes: Any) -> Run:
    """A run of these rows; ``changes`` replace whole keys of it."""
    return {
        "schema_version": 1,
        "run_id": "20260131-120000-sample-1a2b",
        "name": "sample",
        "started_utc": "2026-01-31T12:00:00Z",
        "finished_utc": "2026-01-31T12:03:00Z",
        "status": "ok",
        "reasons": [],
        "harness": {"version": "0.1.0", "source_sha256": "16e3" * 16},
        "spec": {"name": "sample"},
        "spec_digest": "98eb" * 16,
        "machine": {
            "cpu_model": "AMD EPYC", "cpu_flags_sha256": "806a97fa10b6b0a3", "microcode": None, "cpus": 2,
            "memory_bytes": 24 * 1024 * MIB, "hypervisor": True, "kernel": "6.1", "architecture": "x86_64",
            "governor": None, "cgroup_cpu_max": None, "gpus": [], "python": "3.11.7",
            "packages": {"torch": "2.13.0+cpu", "transformers": "5.17.0", "numpy": "2.4.6"},
        },
        "price": {
            "id": "box", "name": "A box, 2 vCPU", "kind": "cpu", "ownership": "rented", "currency": "USD",
            "date": "2026-01-01", "usd_per_hour": 0.1, "utilisation": 0.6, "includes_power": True,
            "source": "https://example.org/prices", "note": "made up",
        },
        "model": {
            "kind": "hub", "location": "org/tiny", "name": "tiny-135m", "random": False,
            "revision": "0123" * 10, "weights_sha256": "a672" * 16, "parameters": 134515008,
        },
        "text": {"name": "mixed", "sha256": "641c" * 16, "characters": 496217},
        "variants": list(variants),
        "comparisons": list(comparisons),
        "gate": None,
        **changes,
    }  # fmt: skip


def variant(name: str, request_s: float = 1.0, *, group: str = "", **changes: Any) -> Variant:
    """A measured row whose ten requests took about ``request_s`` each."""
    times = [1e3 * request_s * (0.95 + 0.01 * i) for i in range(11)]
    figures = {
        latency.TTFT: latency.TTFT.distribution([t / 10 for t in times]),
        latency.TPOT: latency.TPOT.distribution([t / 25 for t in times]),
        latency.E2EL: latency.E2EL.distribution(times),
        throughput.OUTPUT: throughput.OUTPUT.scalar(24 / request_s),
        memory.WEIGHTS: memory.WEIGHTS.scalar(512 * MIB),
        memory.RSS: memory.RSS.scalar(1000 * MIB, phases={"prefill": 1000 * MIB, "decode": 900 * MIB}),
        cost.PER_1K: cost.PER_1K.scalar(Interval(7e-4 * request_s, 6e-4 * request_s, 8e-4 * request_s)),
    }
    drift_keys = {metric.key for metric in output_drift.METRICS}
    found = {metric.key: figure(one) for metric, one in figures.items()}
    return {
        "name": name, "group": group, "is_baseline": False, "status": "ok", "reason": "",
        "model": {"kind": "hub", "name": "tiny-135m"},
        "runtime": {"name": "transformers", "device": "auto", "dtype": "float32", "threads": 2},
        "workload": {"name": "chat", "requests": 10, "output_tokens": 24, "batch_size": 1},
        "optimisations": [],
        "evidence": _evidence(),
        "facts": {
            "engine": "transformers 5.17.0, torch 2.13.0+cpu", "device": "cpu", "device_name": "cpu",
            "dtype": "float32", "threads": 2, "vocabulary": 49152, "random_weights": False,
        },
        "one_off_s": 0.0,
        "warm_up": {"durations_ms": [2540.9, 1088.9, 1133.7], "steady": True},
        "energy_reason": "this machine shows no RAPL counter",
        "drift_reason": None,
        "noise": [
            {"stage": "load", "steal_share": 0.0, "busy_share": 0.42, "load1_before": 0.05},
            {"stage": "solo", "steal_share": 0.031, "busy_share": 0.95, "load1_before": 0.6},
        ],
        "metrics": {key: found.get(key) for key in all_metrics() if key not in drift_keys},
        "drift": dict.fromkeys(drift_keys),
        **changes,
    }  # fmt: skip


def _evidence() -> dict[str, Any]:
    return {
        "steps": [
            {
                "step": "runtime",
                "took_s": 7.2,
                "checks": [{"claim": "dtype", "expected": "float32", "found": "float32", "holds": True}],
            }
        ],
        "bytes_by_dtype": {"float32": 512 * MIB, "int8": 256},
        "kernels": [
            {"operator": "aten::mm", "calls": 211, "self_ms": 39.6, "share": 0.764},
            {"operator": "aten::mul", "calls": 274, "self_ms": 0.44, "share": 0.0085},
        ],
    }


def baseline(group: str = "") -> Variant:
    """The baseline of a cell: no drift, no comparison."""
    return variant("baseline", group=group, is_baseline=True)


def drifting(row: Variant, kl: float | None, top1: float = 0.97) -> Variant:
    """``row`` with a mean KL to the baseline; None where it was not measured."""
    if kl is None:
        return {**row, "drift_reason": "the vocabularies differ"}
    on = {"n": 13515, "windows": 53, "window": 256, "text": "mixed", "asked": 20_000}
    nats = Interval(kl, kl * 0.9, kl * 1.1)
    figures = {
        output_drift.KLD.key: figure(output_drift.KLD.scalar(nats, noise_floor=2e-8, **on)),
        output_drift.TOP1.key: figure(
            output_drift.TOP1.scalar(Interval(top1, top1 - 0.01, top1 + 0.01), **on)
        ),
    }
    return {**row, "drift": {**row["drift"], **figures}}


def failed(name: str, status: str, reason: str, group: str = "") -> Variant:
    """A row that ended early: every figure null."""
    row = variant(name, group=group, status=status, reason=reason)
    nothing = dict.fromkeys(("evidence", "facts", "one_off_s", "warm_up", "energy_reason"))
    return {**row, **nothing, "noise": [], "metrics": dict.fromkeys(row["metrics"])}


def ratio(
    name: str, value: float, low: float | None, high: float | None, verdict: str, group: str = ""
) -> dict[str, Any]:
    """The comparison of a variant with its baseline on cost."""
    return {
        "variant": name, "against": "baseline", "group": group, "metric": cost.PER_1K.key, "ratio": value,
        "ci_low": low, "ci_high": high, "confidence": 0.95, "verdict": verdict, "design": "duet",
    }  # fmt: skip


def rich_run() -> Run:
    """One row of every kind."""
    dynamic = ["quantise torch-int8-dynamic"]
    int8 = drifting(variant("int8-dynamic", 0.33, optimisations=dynamic), 1.42, 0.42)
    refuted = failed("refuted", "not_applied", "0.03 % zeros where 50 % were claimed")
    wrong = [{"claim": "zeros", "expected": ">= 50 %", "found": "0.03 %", "holds": False}]
    refuted["evidence"] = {**_evidence(), "steps": [{"step": "prune magnitude", "checks": wrong}]}
    noted = drifting(variant("nf4", 1.9, one_off_s=12.5), 0.046, 0.86)
    noted["evidence"]["steps"].append(
        {"step": "quantise bnb-nf4", "took_s": 2.0, "note": "dequantised at every step", "checks": []}
    )
    return run(
        [
            baseline(),
            drifting(variant("bf16", 0.63), 0.00144),
            int8,
            noted,
            drifting(variant("same"), 1e-9, 1.0),
            drifting(variant("few-samples", 0.9), 0.003),
            drifting(variant("no-drift", 0.5), None),
            failed("too-big", "oom_host", "killed by the kernel at 7.9 GiB"),
            refuted,
            failed("fp8", "unsupported", "this processor has no fp8"),
        ],
        [
            ratio("bf16", 0.633, 0.611, 0.656, "better"),
            ratio("int8-dynamic", 0.33, 0.32, 0.345, "better"),
            ratio("nf4", 1.9, 1.8, 2.0, "worse"),
            ratio("same", 1.004, 0.985, 1.021, "cannot tell"),
            ratio("few-samples", 0.9, None, None, "cannot tell"),
            ratio("no-drift", 0.5, 0.4, 0.6, "better"),
        ],
        status="partial",
        reasons=["too-big: oom_host: killed by the kernel at 7.9 GiB", "refuted: not_applied: 0.03 % zeros"],
    )


def sweep_run() -> Run:
    """Two cells of a sweep, each with its own baseline."""
    cells = ("batch_size=1", "batch_size=8")
    return run(
        [row for cell in cells for row in (baseline(cell), drifting(variant("bf16", group=cell), 0.002))],
        [ratio("bf16", 0.6, 0.58, 0.63, "better", cell) for cell in cells],
        name="sweep",
        run_id="20260131-130000-sweep-3c4d",
    )


def invalid_run() -> Run:
    """Nothing was measured: the baseline failed, and the run was cut short."""
    return run(
        [{**failed("baseline", "load_error", "no such file"), "is_baseline": True}],
        [],
        status="invalid",
        reasons=["no baseline was measured"],
        finished_utc=None,
        model=None,
    )


BASE, CANDIDATE = "3f" * 20, "a7" * 20
FILES = tuple(f"server/file{number}.py" for number in range(11))
ENDS = (0.0024787521766663585, 403.4287934927351)  # the bounds of a sequence that has too few units


def finding(metric: str, limit: str, verdict: GateVerdict, reason: str, **more: Any) -> Finding:
    """What a gate found of the row ``bf16`` of two commits; a timed rule unless ``kind`` says otherwise."""
    known = {"group": "bf16", "variant": "candidate", "kind": "timed", **more}
    return Finding(f"{metric} {limit}", metric, verdict=verdict, reason=reason, **known)


def sequence(value: float, low: float, high: float, units: int = 12) -> dict[str, Any]:
    """The figure of a timed rule with its confidence sequence."""
    return {"value": value, "low": low, "high": high, "confidence": 0.99, "units": units}


def between_commits(**more: Any) -> Effort:
    """What a gate of two commits rests on."""
    details = {
        "sides": {
            "base": {"label": f"main ({BASE[:12]})", "commit": BASE, "environment": "e1"},
            "candidate": {"label": f"the working tree ({CANDIDATE[:12]})", "commit": CANDIDATE},
        },
        "differences": {
            "config": [{"what": "workload.requests", "base": "8", "candidate": "16"}],
            "packages": [{"what": "torch", "base": "2.12.0", "candidate": "2.13.0"}],
            "files": list(FILES),
        },
        "not_compared": ["nf4"],
        **more,
    }
    return Effort("commits", units=12, void_units=1, seconds_per_unit=3.0, details=details)


RULES = (
    finding("cost_per_request_usd", "max_increase 3 %", GateVerdict.FAIL, "worse than the baseline, shown by "
            "12 units", **sequence(1.062, 1.041, 1.084)),
    finding("tpot_ms", "max_increase 3 %", GateVerdict.PASS, "within the limit, shown by 7 units",
            **sequence(1.003, *ENDS, units=7)),
    finding("ttft_ms", "max_increase 3 %", GateVerdict.PASS, "within the limit, shown by 9 units",
            **sequence(1.002, ENDS[0], 1.028, units=9)),
    finding("output_throughput", "max_decrease 3 %", GateVerdict.INCONCLUSIVE, "not decided by 9 units",
            **sequence(0.981, 0.962, ENDS[1], units=9)),
    finding("kld_mean", "max 0.02", GateVerdict.PASS, "within the limit", kind="interval", value=0.00144,
            low=0.0002, high=0.0093, confidence=0.975),
    finding("top1_agreement", "min 0.95", GateVerdict.ERROR, "it was not measured in this run",
            kind="interval"),
    finding("flops_per_request", "max_increase 0 %", GateVerdict.PASS, "within the limit", kind="exact",
            value=1.0, low=1.0, high=1.0, confidence=1.0),
)  # fmt: skip


def gate_run(rules: Sequence[Finding] = RULES, effort: Effort | None = None, **changes: Any) -> Run:
    """A gate of two commits: no row was measured alone but for one request, whose ratio means nothing."""
    rows = [variant("base", group="bf16", is_baseline=True), variant("candidate", group="bf16")]
    for row in rows:
        row["metrics"] |= dict.fromkeys(row["metrics"])
        row["metrics"][memory.WEIGHTS.key] = figure(memory.WEIGHTS.scalar(512 * MIB))
    apart = {**ratio("candidate", 0.179, None, None, "cannot tell", "bf16"), "design": "solo"}
    gate = block(rules, effort or between_commits()).to_json()
    return run(rows, [apart], name="gated", run_id="20260131-140000-gated-5e6f", gate=gate, **changes)


def unmeasured_run(verdict: GateVerdict) -> Run:
    """A gate of two commits that are the same to the last file: not one row."""
    nothing = {"config": [], "packages": [], "files": []}
    reason = "the commits are the same to the last file: nothing was measured"
    rule = finding("cost_per_request_usd", "max_increase 3 %", verdict, reason, group="")
    gate = gate_run([rule], between_commits(differences=nothing, not_compared=[]))
    return {**gate, "variants": [], "comparisons": [], "status": "invalid", "model": None}


def hostile_gate_run(text: str) -> Run:
    """``text`` wherever a gate's run holds somebody else's words."""
    side = {"label": text, "commit": text, "environment": text}
    differences = {
        "config": [{"what": text, "base": text, "candidate": text}],
        "packages": [{"what": text, "base": text, "candidate": text}],
        "files": [text, "b.py"],
    }
    effort = between_commits(
        sides={"base": side, "candidate": side}, differences=differences, not_compared=[text]
    )
    of_text = {"group": text, "variant": text}
    rules = [
        finding("cost_per_request_usd", "max_increase 3 %", GateVerdict.FAIL, text, **of_text,
                **sequence(1.062, 1.041, 1.084)),
        Finding(text, text, **of_text, kind="interval", verdict=GateVerdict.UNREACHED, reason=text),
        finding("ttft_ms", "max 5", GateVerdict.ERROR, text),
    ]  # fmt: skip
    return gate_run(rules, effort) | {"name": text, "run_id": text, "reasons": [text]}


def hostile_run(text: str) -> Run:
    """``text`` wherever a run holds somebody else's words; how a row ended and verdicts are ours."""
    mean = copy.deepcopy(rich_run())
    name = f"v {text}"
    for row in mean["variants"]:
        if row["name"] in ("bf16", "too-big"):
            row |= {"group": text, "reason": text, "optimisations": [f"quantise {text}", text]}
            row |= {"energy_reason": text, "drift_reason": text}
        if row["facts"]:
            row["facts"] |= {"engine": text, "device_name": text, "loaded": text}
        for kernel in (row["evidence"] or {}).get("kernels", []):
            kernel["operator"] = text
        for step in (row["evidence"] or {}).get("steps", []):
            step |= {"step": text, "note": text}
            step["checks"] = [{"claim": text, "expected": text, "found": text, "holds": True}]
        for stage in row["noise"]:
            stage["stage"] = text
    base = next(row for row in mean["variants"] if row["is_baseline"])
    mean["variants"] += [{**base, "group": text}, drifting(variant(name, 0.7, group=text), 0.01)]
    mean["variants"] += [drifting(variant(text, 0.8), 0.01), failed(text, "timeout", text, group="cell")]
    odd = figure(latency.TTFT.scalar(1.0)) | {"unit": text, "formula": text}
    mean["variants"][-3]["metrics"][text] = odd
    mean["comparisons"] += [
        ratio(text, 0.8, 0.7, 0.9, "better"),
        ratio(name, 0.7, 0.6, 0.8, "worse", text),
    ]
    mean["machine"] |= {"cpu_model": text, "gpus": [text], "packages": {text: text, "torch": text}}
    mean["price"] |= {"name": text, "source": text, "note": text, "date": text}
    mean["model"] |= {"name": text, "location": text, "revision": text}
    mean["text"] |= {"name": text}
    for drift in (one for row in mean["variants"] for one in row["drift"].values() if one):
        drift["text"] = text
    mean["harness"] |= {"version": text}
    mean |= {"name": text, "run_id": text, "reasons": [text], "spec_digest": text, "status": "partial"}
    return mean
