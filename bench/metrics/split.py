"""Compute where the time of a token goes in a model split over two processes, its bytes, and both costs."""

from __future__ import annotations

from bench.metrics.throughput import Totals, totals
from bench.records import ArmRecord, RunRecord, SplitPhase, SplitWork
from bench.stats.figure import Figure, Figures, Metric

PARTS = "edge + cloud + link + socket"
PROMPT = Metric("split_prompt_ms", "ms", "lower", PARTS, "time to the first token of a batch, and its parts")
STEP = Metric("split_step_ms", "ms", "lower", PARTS, "time of each further token, and its parts")
BYTES = Metric(
    "split_bytes_per_token",
    "B",
    "lower",
    "(bytes up + bytes down) ÷ Σ n_out",
    "bytes over the link per output token",
)
COST = Metric(
    "split_cost_per_1k_tokens_usd",
    "USD",
    "lower",
    "1000 · ((edge $/h · W + cloud $/h · cloud_s) ÷ 3600 + $/GB · bytes down ÷ 1e9) ÷ Σ(n_in + n_out)",
    "cost of both sides: the edge is paid all the time, the cloud while it computes",
)
PLACE = 5
METRICS = (PROMPT, STEP, BYTES, COST)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures of the solo pass; None for a model in one process, and for costs without prices."""
    work, sums = arm.split, totals(arm)
    if work is None or sums is None:
        return {metric.key: None for metric in METRICS}
    sent = work.prefill.sent_bytes + work.decode.sent_bytes
    received = work.prefill.received_bytes + work.decode.received_bytes
    moved = BYTES.scalar(
        (sent + received) / sums.output_tokens,
        sent_bytes=sent, received_bytes=received, output_tokens=sums.output_tokens,
    )  # fmt: skip
    return {
        PROMPT.key: _by_part(PROMPT, work.prefill),
        STEP.key: _by_part(STEP, work.decode),
        BYTES.key: moved,
        COST.key: _dollars(work, sums),
    }


def worked(arm: ArmRecord, run: RunRecord) -> dict[str, str]:
    """Return the arithmetic of the times of a pass, of the bytes, and of the dollars of both sides."""
    work, sums = arm.split, totals(arm)
    if work is None or sums is None:
        return {}
    both = ((PROMPT, work.prefill), (STEP, work.decode))
    lines = {metric.key: _worked_pass(phase) for metric, phase in both if phase.passes}
    phases = (work.prefill, work.decode)
    moved = " + ".join(f"{phase.sent_bytes} + {phase.received_bytes}" for phase in phases)
    lines[BYTES.key] = f"({moved}) / {sums.output_tokens}"
    if _dollars(work, sums) is not None:
        cloud = " + ".join(f"{phase.cloud_s:.6g}" for phase in phases)
        edge_hours = f"{work.edge_usd_per_hour:g} * {sums.wall_s:.6g}"
        hours = f"({edge_hours} + {work.cloud_usd_per_hour:g} * ({cloud})) / 3600"
        received = sum(phase.received_bytes for phase in phases)
        egress = f" + {work.egress_usd_per_gb:g} * {received} / 1e9" if work.egress_usd_per_gb else ""
        lines[COST.key] = f"1000 * ({hours}{egress}) / ({sums.input_tokens} + {sums.output_tokens})"
    return lines


def _worked_pass(phase: SplitPhase) -> str:
    parts = " + ".join(f"{part:.6g}" for part in (phase.edge_s, phase.cloud_s, phase.link_s, phase.socket_s))
    return f"1000 * ({parts}) / {phase.passes}"


def _by_part(metric: Metric, phase: SplitPhase) -> Figure | None:
    """Return the mean milliseconds of a pass, with its parts and its bytes in the notes."""
    if not phase.passes:
        return None
    parts = ("edge_s", "cloud_s", "link_s", "link_asked_s", "socket_s", "sent_bytes", "received_bytes")
    each = {part: getattr(phase, part) / phase.passes for part in parts}
    return metric.scalar(1000 * phase.total_s / phase.passes, passes=phase.passes, **each)


def _dollars(work: SplitWork, sums: Totals) -> Figure | None:
    """Return the dollars of a thousand tokens on both sides; None unless both sides have an hourly price."""
    tokens = sums.input_tokens + sums.output_tokens
    if work.edge_usd_per_hour is None or work.cloud_usd_per_hour is None or not tokens:
        return None
    cloud_s = work.prefill.cloud_s + work.decode.cloud_s
    received = work.prefill.received_bytes + work.decode.received_bytes
    edge_usd = work.edge_usd_per_hour * sums.wall_s / 3600
    cloud_usd = work.cloud_usd_per_hour * cloud_s / 3600
    egress_usd = None if work.egress_usd_per_gb is None else work.egress_usd_per_gb * received / 1e9
    return COST.scalar(
        1000 * (edge_usd + cloud_usd + (egress_usd or 0.0)) / tokens,
        edge_usd=edge_usd, cloud_usd=cloud_usd, egress_usd=egress_usd, edge_s=sums.wall_s, cloud_s=cloud_s,
    )  # fmt: skip
