"""Print the result of `bench load`: how requests ended, a table of times, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.formatting import format_setting, format_share, format_significant, printable
from bench.records.loads import sharing_words
from bench.records.samples import Sample
from bench.serving.drift_failed import DriftFailed
from bench.serving.engines.server_facts import Said
from bench.serving.record import TURNS, Result
from bench.serving.text_drift import TextDrift
from bench.stats.figure import Figure, value_of
from bench.stats.intervals import quantile

TIMES = (
    ("ttft_sched_ms", "TTFT from arrival"), ("ttft_ms", "TTFT from sending"),
    ("ttfo_ms", "TTFO (no reasoning)"),
    ("tpot_ms", "TPOT"), ("itl_ms", "ITL"),
    ("e2el_sched_ms", "E2EL from arrival"), ("e2el_ms", "E2EL from sending"),
    ("scheduling_error_ms", "sent too late by"),
)  # fmt: skip
COLUMNS = ("mean", "p50", "p90", "p95", "p99", "max")
COSTS = (
    ("cost_per_request_usd", "a request"), ("cost_per_1k_tokens_usd", "1k tokens"),
    ("cost_per_good_request_usd", "a good request"),
)  # fmt: skip


def page(done: Result, directory: Path) -> str:
    """Return the result of one load as text."""
    head, counts = done.head, done.counts
    lines = [
        f"{head['target']}, model {head['model']}: {head['schedule']}",
        *_server(head.get("settings")),
        f"INVALID: {'; '.join(done.reasons)}" if done.reasons else "valid",
        f"{counts.ok} ok, {counts.failed} failed, {counts.cut_short} cut short; {counts.retries} retries; "
        f"{counts.input_tokens:,} + {counts.output_tokens:,} tokens in {counts.wall_s:.3g} s",
        *_failures(done), *_searched(head.get("search")), "", *_table(done), "",
        *_rates(done), *_money(done), *_drift(done), "",
        *_client(done), *_connections(done.load.samples), *_pinned(done.head), *_cache(done),
        *(f"note: {warning}" for warning in done.warnings),
        *([f"note: {head['left_behind']}"] if head.get("left_behind") else []),
        f"written: {directory}",
    ]  # fmt: skip
    return printable("\n".join(lines))


def _server(settings: dict[str, Any] | None) -> list[str]:
    sentence = Said.from_json(settings).sentence if settings else ""
    return [f"the server says: {sentence}"] if sentence else []


def _failures(done: Result) -> list[str]:
    reasons: dict[str, int] = {}
    for sample in done.load.samples:
        if not sample.ok:
            reason = f"{sample.status}: {sample.reason}"
            reasons[reason] = reasons.get(reason, 0) + 1
    most = sorted(reasons.items(), key=lambda item: -item[1])[:5]
    return [f"  {count} × {reason}" for reason, count in most]


def _searched(search: dict[str, Any] | None) -> list[str]:
    if search is None:
        return []
    lines = [
        f"  {step['rate']:.3g} requests/s: {step['bad']} of {step['requests']} not good: {step['found']}"
        for step in search["steps"]
    ]
    best = (
        "no rate held"
        if search["holds"] is None
        else f"highest rate that held: {search['holds']:.3g} requests/s"
    )
    return [f"{best} ({search['why']})", *lines, "the figures below are those of that load"]


def _table(done: Result) -> list[str]:
    rows: list[tuple[str, ...]] = [("ms", *COLUMNS)]
    for key, title in TIMES:
        figure = done.figures.get(key)
        if figure is None or figure.sample is None:
            continue
        if key != "scheduling_error_ms" or figure.sample.max:  # in a closed loop nothing can be too late
            rows.append((title, *(format_significant(getattr(figure.sample, name)) for name in COLUMNS)))
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _rates(done: Result) -> list[str]:
    figures = done.figures
    lines = [
        f"{_of(figures.get('request_throughput'))} requests/s, "
        f"{_of(figures.get('output_throughput'))} output tokens/s, "
        f"{_of(figures.get('total_token_throughput'))} tokens/s"
    ]
    if done.limits.most_ms:
        limits = ", ".join(f"{name} ≤ {most:g} ms" for name, most in done.limits.most_ms.items())
        share = format_share(value_of(figures["good_fraction"]))
        lines.append(f"good ({limits}): {share}, {_of(figures['request_goodput'])} good requests/s")
    return lines


def _money(done: Result) -> list[str]:
    if done.price is None:
        return ["no cost: name what the machine costs with --hardware"]
    parts = [f"{title} ${_of(done.figures[key])}" for key, title in COSTS if key in done.figures]
    used = format_setting(done.price.get("utilisation", 1.0))
    return [f"cost: {', '.join(parts)} ({done.price['name']}, {done.price['date']}, used {used} of the time)"]


def _drift(done: Result) -> list[str]:
    if done.drift is None:
        return []
    if isinstance(done.drift, DriftFailed):
        return [f"drift: NOT MEASURED: {done.drift.reason}"]
    if isinstance(done.drift, TextDrift):
        return _text_drift(done, done.drift)
    kld, top1 = done.figures["kld_mean"], done.figures["top1_agreement"]
    assert kld is not None
    low, high = (format_significant(bound) for bound in (kld.ci_low, kld.ci_high))
    return [
        f"drift: KL {_of(kld)} nat [{low}, {high}], same next token {format_share(value_of(top1))}, "
        f"{kld.notes['n']} positions ({done.drift.sentence}; tokens {done.drift.tokenizer})"
    ]


def _text_drift(done: Result, drift: TextDrift) -> list[str]:
    same, edits = done.figures["text_exact_match"], done.figures["text_edit_distance"]
    assert same is not None
    return [
        f"drift: {format_share(same.value)} of {same.notes['n']} replies are the model's own (the server "
        f"itself again: {format_share(same.notes['again'])}), {format_share(value_of(edits))} of the "
        f"characters changed ({drift.sentence})"
    ]


def _client(done: Result) -> list[str]:
    client = done.load.client
    lag, late = (format_significant(value) for value in (client.lag_p99_ms, client.late_p99_ms))
    return [
        f"the client: {client.cpu_share:.0%} of a core, event loop p99 {lag} ms late, requests p99 {late} ms "
        f"late ({client.loop})"
    ]


def _connections(samples: Sequence[Sample]) -> list[str]:
    took_ms = sorted(one.connect_ns / 1e6 for one in samples if one.connect_ns)
    if not took_ms:
        return []
    middle, slowest = (format_significant(value) for value in (quantile(took_ms, 0.5), took_ms[-1]))
    lost = sum(one.reconnects for one in samples)
    return [
        f"connections: {len(took_ms)} of {len(samples)} requests opened one, in {middle} ms (median; the "
        f"slowest {slowest} ms), which is in their TTFT" + (f"; {lost} kept ones were lost" if lost else "")
    ]


def _pinned(head: Mapping[str, Any]) -> list[str]:
    said = sharing_words(head.get("pinned"), str(head.get("not_pinned", "")))
    return [said] if said else []


def _cache(done: Result) -> list[str]:
    if done.prompts != TURNS:
        return []
    if done.answered_by_cache is None:
        return ["each turn begins with those before it; the server does not say what a cache answered"]
    share = format_share(done.answered_by_cache)
    return [f"a prefix cache answered {share} of the input tokens: each turn begins with those before it"]


def _of(figure: Figure | None) -> str:
    return format_significant(value_of(figure))
