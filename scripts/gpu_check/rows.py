"""Single rows: what bounds a step, schemes, drift, memory, energy, and serving."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import yaml

from gpu_check.counting import counted
from gpu_check.harness import STEPS
from gpu_check.setting import ROOT, Setting
from gpu_check.sheet import Figure, Found, at_least, judged, shown, skipped, within

# The KL of each scheme there is what it is beside on a GPU.
QUANTISED_ON_CPU = ROOT / "results" / "reference" / "quantisation-cpu" / "2026-11-28-third" / "run.json"
Run = Callable[[Setting, Mapping[str, Any]], Found]


def mbu(setting: Setting, _kept: Mapping[str, Any]) -> Found:
    """Measure the share of the memory's bandwidth that a compiled step in bfloat16 reaches at batch 1."""
    found = setting.run(setting.config(setting.large, "mbu", optimise=STEPS["compiled"](setting)))
    (row,) = found["variants"]
    reached = (row["metrics"].get("mbu") or {}).get("value")
    if reached is None:
        return Found("fail", reason=f"no MBU: {row['status']}: {row['reason']}")
    least = 0.0 if setting.small else 0.65
    return judged([
        at_least("MBU of a compiled step, batch 1", reached, least),
        shown("its step", f"{row['metrics']['tpot_ms']['mean']:.3f} ms"),
    ])  # fmt: skip


def schemes(names: Sequence[str], config: str, *, short: bool = False) -> Run:
    """Run some rows of a shipped config on the large shape: each is measured, or says why it cannot be.

    Each has one pair of processes: its speed is asked, and no interval. With ``short`` all requests have one
    length, so that a compiled row has one graph. Rows that the time does not suffice for are left for the
    next go.
    """

    def run(setting: Setting, kept: Mapping[str, Any]) -> Found:
        figures = {name: Figure(**one) for name, one in kept.get("rows", {}).items()}
        shape = yaml.safe_dump(setting.large, default_flow_style=True).strip()
        arguments = [f"--set=model={shape}", "--set=drift.tokens=0", f"--set=runtime.device={setting.device}"]
        arguments += [f"--set=price={json.dumps(setting.price)}"]
        arguments += ["--set=measure.processes=1", "--set=measure.max_rounds=1"]
        whole = f"--set=workload={json.dumps(setting.workload(requests=4))}"
        arguments.append(whole if short or setting.small else "--set=workload.requests=4")
        if setting.small:
            arguments.append(f"--set=runtime.dtype={setting.dtype}")
        only = (f"--only={name}" for name in names if name not in figures)
        found = setting.run(ROOT / "configs" / config, *arguments, *only, partly=True)
        ended = [row for row in found["variants"] if row["status"] not in ("interrupted", "")]
        figures |= {row["name"]: _scheme(row) for row in ended if not row["is_baseline"]}
        rows = {name: asdict(one) for name, one in figures.items()}
        return counted(len(figures), len(names), list(figures.values()), {"rows": rows})

    return run


def _scheme(row: Mapping[str, Any]) -> Figure:
    """Return a row's speed, memory and kernel; it is met if it was measured, or cannot run on this card."""
    if row["status"] != "ok":
        return Figure(
            row["name"],
            "measured, or why not",
            f"{row['status']}: {row['reason'][:160]}",
            row["status"] == "unsupported",
        )
    metrics, evidence = row["metrics"], row.get("evidence") or {}
    words = [f"{metrics['tpot_ms']['mean']:.2f} ms a step"]
    for key, unit in (("mbu", ""), ("mfu", ""), ("peak_allocated_bytes", " MiB")):
        value = (metrics.get(key) or {}).get("value")
        if value is not None:
            words.append(f"{key} {value / 2**20:.0f}{unit}" if unit else f"{key} {value:.3f}")
    kernels = [kernel["operator"] for kernel in evidence.get("kernels") or ()]
    return Figure(row["name"], "measured", ", ".join([*words, *kernels[:1]]), True)


def drift(setting: Setting, _kept: Mapping[str, Any]) -> Found:
    """Measure the drift of schemes on real weights, and hold it against the committed run on a CPU."""
    from bench.errors import BenchError
    from bench.models.fetch import ensure
    from bench.models.reference import Named

    if setting.small:
        return skipped("small runs have random weights, which have no quality to lose")
    try:
        ensure(Named("smollm2-135m"))
    except BenchError as absent:
        return skipped(f"the weights of smollm2-135m are not here and cannot be fetched: {absent}"[:200])
    names = ("bnb-int8", "bnb-nf4", "ao-int8", "int4-rtn")
    arguments = [
        "--set=model=smollm2-135m",
        "--set=workload.requests=4",
        f"--set=price={json.dumps(setting.price)}",
    ]
    found = setting.run(
        ROOT / "configs" / "quantisation-gpu.yaml", *arguments, *(f"--only={name}" for name in names)
    )
    before = json.loads(QUANTISED_ON_CPU.read_text(encoding="utf-8"))
    cpu = {row["name"]: _kl(row) for row in before["variants"]}
    figures = []
    for row in found["variants"]:
        ours, theirs = _kl(row), cpu.get(row["name"])
        if row["is_baseline"] or ours is None:
            continue
        if theirs is None:
            figures.append(shown(f"KL of {row['name']}", f"{ours:.5f} nat; not in the run on a CPU"))
        else:
            figures.append(within(f"KL of {row['name']}, GPU ÷ CPU", ours / theirs, 0.9, 1.1))
    return judged(figures)


def _kl(row: Mapping[str, Any]) -> float | None:
    found = (row.get("drift") or {}).get("kld_mean") or {}
    return found.get("value", found.get("mean"))


def memory_and_energy(setting: Setting, _kept: Mapping[str, Any]) -> Found:
    """Hold a row's memory and energy against what the driver's own totals say while it runs."""
    from gpu_check.totals import Totals

    config = setting.config(
        setting.large, "memory", optimise=STEPS["compiled"](setting) if not setting.small else []
    )
    with Totals(setting.device) as totals:
        found = setting.run(config)
    (row,) = found["variants"]
    metrics = row["metrics"]
    key = "peak_rss_bytes" if setting.device == "cpu" else "peak_device_bytes"
    peak = (metrics.get(key) or {}).get("value") or (metrics.get("peak_allocated_bytes") or {}).get("value")
    if peak is None or totals.most_bytes is None:
        return Found("fail", reason=f"no peak of memory: {row['status']}: {row['reason']}")
    # The totals have every phase in them: loading, and the blocks of the machine's ceilings.
    phases = [peak, *((metrics.get(key) or {}).get("phases") or {}).values()]
    loading = (metrics.get("load_peak_rss_bytes") or {}).get("value") if setting.device == "cpu" else None
    whole = max(float(one) for one in [*phases, loading] if one is not None)
    least = 0.0 if setting.small else 0.7  # a tiny model is small beside the blocks of the ceilings
    figures = [
        within(f"{key} of the row ÷ most that the totals saw", whole / totals.most_bytes, least, 1.1),
        shown(
            "the row's peak, and the totals'", f"{peak / 2**20:.0f} MiB, {totals.most_bytes / 2**20:.0f} MiB"
        ),
    ]
    energy = metrics.get("energy_per_request_j")
    if energy is None:
        return judged([*figures, shown("energy", row.get("energy_reason") or "no counter")])
    check = energy.get("integrated_power_ratio")
    if check is not None:
        figures.append(within("integrated power ÷ counter of energy", check, 0.95, 1.05))
    net = (metrics.get("energy_net_per_request_j") or {}).get("value")
    return judged([*figures, shown("joules a request, gross and net", f"{energy['value']:.3f}, {net}")])


def serving(setting: Setting, _kept: Mapping[str, Any]) -> Found:
    """Put the serving engine that is there under load by `bench load`, a client of its OpenAI interface."""
    there = [name for name in ("vllm", "sglang") if importlib.util.find_spec(name) is not None]
    if not there:
        return skipped("neither vllm nor sglang can be imported")
    if setting.device == "cpu":
        return skipped("a serving engine needs the GPU")
    from bench.errors import BenchError
    from bench.models.fetch import ensure
    from bench.models.reference import Named

    try:
        model = ensure(Named("smollm2-135m")).directory
    except BenchError as absent:
        return skipped(f"the weights of smollm2-135m are not here and cannot be fetched: {absent}"[:200])
    figures = []
    for engine in there:
        ended = setting.bench(
            "load", engine, "--model", str(model), "--users", "4", "--requests", "32",
            "--out", str(setting.out / "serving"), "-q",
        )  # fmt: skip
        good = ended.returncode == 0
        said = "32 requests answered" if good else ended.stderr.strip()[-200:]
        figures.append(Figure(f"bench load {engine}", "exit code 0", f"{ended.returncode}: {said}", good))
    return judged(figures)
