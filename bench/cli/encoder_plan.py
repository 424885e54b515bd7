"""Print the plan of a run of encoders: `bench plan RUN` with machines and dollars for texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from bench.cli.api_pages import count_words
from bench.cli.idle_options import refuse_idle
from bench.cli.plan_options import PlanOptions
from bench.cli.plan_words import dollars
from bench.cli.tables import align
from bench.formatting import format_significant
from bench.plan.encoded import FORMULA_TEXTS, PlannedEncoder, planned_encoders
from bench.plan.fleet import Stream
from bench.plan.plan_result import FORMULA_MONTH
from bench.report.formats import ascii_json, harmless
from bench.report.row_sentence import bounds_text
from bench.results.run_summary import RunSummary

HEADS = (
    "", "texts/s of a server", "in batches of", "s a batch", "machines", "$/month", "by the hour",
    "$/1M texts", "beside the baseline",
)  # fmt: skip


def encoder_plan(run: RunSummary, asked: PlanOptions) -> str:
    """Return the plan as text or as JSON. Raises UsageError for options that are only for replies."""
    about_replies = {
        "--slo": bool(asked.slo), "--good": asked.good != PlanOptions.good, "--api": bool(asked.api),
        "--cached": asked.cached is not None, "--token-ratio": asked.token_ratio != 1,
        "--volumes": bool(asked.volumes), "--reserved": asked.reserved is not None,
    }  # fmt: skip
    refuse_idle(about_replies, "an encoder reads a text in one pass, and no queue of replies is simulated")
    stream = Stream(asked.requests_per_day, 1, 1, asked.peak)  # the plan does not use its tokens
    rows = planned_encoders(run, stream)
    if asked.as_json:
        options = [asdict(row) | {"text_usd": row.month_usd / stream.per_month} for row in rows]
        about = {"texts_per_day": stream.per_day, "peak": stream.peak, "formula_month": FORMULA_MONTH}
        return ascii_json(
            {"title": run.name, **about, "formula_texts": FORMULA_TEXTS, "encoders": options}, indent=1
        )
    return _page(harmless(run), stream, harmless(rows))


def _page(run: RunSummary, stream: Stream, rows: Sequence[PlannedEncoder]) -> str:
    shape = "a flat day" if stream.peak == 1 else f"the busiest hour {stream.peak:g} times the mean"
    return "\n".join(
        (
            f"{run.name}: {(run.model or {}).get('name') or 'no model'}, measured in run {run.run_id}",
            f"{count_words(stream.per_day)} texts a day ({format_significant(stream.per_day / 86_400)} a "
            f"second, {shape}), each as long as those of the run",
            f"{run.price['name']}, {run.price['date']}",
            "",
            *align([HEADS, *(_row(row, stream) for row in rows)]),
            "",
            f"machines     {FORMULA_TEXTS}; servers of a run that used a part of a machine share it",
            f"$/month      {FORMULA_MONTH}; the machines of the busiest hour all month",
            "by the hour  each hour of the day pays for the machines that it needs; not for owned machines",
            "not in it    waiting: a text takes the time of its batch, and waits until that is full; network",
        )
    )


def _row(row: PlannedEncoder, stream: Stream) -> tuple[str, ...]:
    bounds = bounds_text(row.texts_per_s, format_significant)
    return (
        row.title, f"{format_significant(row.texts_per_s.value)} {bounds}".strip(), str(row.batch),
        format_significant(row.batch_s), f"{row.fleet.most:,}", dollars(row.month_usd),
        dollars(row.scaled_usd), dollars(1e6 * row.month_usd / stream.per_month), row.beside,
    )  # fmt: skip
