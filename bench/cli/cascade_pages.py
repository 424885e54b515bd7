"""Print the cascades of a plan: a line among the options, and a table of what each place needs and costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bench.cli.plan_words import bounds, dollars
from bench.cli.tables import align
from bench.formatting import format_significant
from bench.plan.cascade_fleet import Paid, PlannedCascade
from bench.plan.cascades import Place
from bench.plan.fleet import Stream
from bench.plan.plan_result import Answer

SERVER = "edge + cloud"
HEADS = (
    "who is paid",
    "of requests",
    "s of work each",
    "one takes req/s",
    "machines",
    "load",
    "$/month",
    "$/1M requests",
)


def cascade_row(row: PlannedCascade, stream: Stream) -> tuple[str, ...]:
    """Return the cells of a cascade in the table of options, with both places as ``edge + cloud``."""
    option, edge, cloud = row.option, row.edge, row.cloud
    if edge is None or cloud is None or row.busiest is None:
        late = f"{row.alone.ttft_p50_ms:,.0f} alone"
        return (option.title, SERVER, "0", "none", "-", late, "-", "-", "-", "-", option.drift, "")
    usd = row.request_usd(stream)
    return (
        option.title,
        SERVER,
        f"{format_significant(edge.rate)} + {format_significant(cloud.rate)}",
        f"{edge.fleet.most} + {cloud.fleet.most}",
        f"{edge.fleet.load:.0%} + {cloud.fleet.load:.0%}",
        f"{row.busiest.ttft_p95_ms:,.0f}",
        "-",
        f"{dollars(row.month_usd)}{bounds(row.month_usd, row.month_bounds_usd)}{_kept(cloud)}",
        dollars(row.scaled_usd),
        dollars(None if usd is None else 1e6 * usd),
        option.drift,
        "",
    )


def _kept(cloud: Paid) -> str:
    return "" if cloud.fleet.reserved is None else f" ({cloud.fleet.reserved} reserved)"


def paid_rows(answer: Answer) -> Iterator[str]:
    """Yield a table of what each place of every cascade needs and costs; nothing without cascades."""
    table = [line for row in answer.cascades for line in _of_places(row, answer.plan.stream)]
    if table:
        yield from ("", *align([HEADS, *table]))


def _of_places(row: PlannedCascade, stream: Stream) -> Iterator[tuple[str, ...]]:
    option, edge, cloud = row.option, row.edge, row.cloud
    if edge is None or cloud is None:
        return
    share = option.escalated
    onward = f"{share.value:.0%}"
    if share.low is not None and share.high is not None:
        onward += f" [{share.low:.0%}, {share.high:.0%}]"
    for name, of, place, paid in (
        ("the edge devices", "100%", option.edge, edge),
        ("the cloud", onward, option.cloud, cloud),
    ):
        yield (
            f"{option.title}: {name}", of, format_significant(place.request_s), format_significant(paid.rate),
            f"{paid.fleet.most}", f"{paid.fleet.load:.0%}", *_usd(paid.month_usd, stream),
        )  # fmt: skip
    if row.egress_usd:
        yield (f"{option.title}: egress", onward, "-", "-", "-", "-", *_usd(row.egress_usd, stream))


def _usd(month_usd: float, stream: Stream) -> tuple[str, str]:
    return dollars(month_usd), dollars(1e6 * month_usd / stream.per_month)


def cascade_notes(answer: Answer) -> Iterator[str]:
    """Yield notes about how cascades are planned; nothing without cascades."""
    if not answer.cascades:
        return
    yield (
        "edge + cloud  every request comes to an edge device, which is paid for every hour; the share that "
        "went on in the run comes to the cloud too"
    )
    yield (
        "              TTFT is the time of the whole answer, with the link; both places work the same share "
        "of the time"
    )
    yield (
        "              the edge's seconds are those of the machine that measured; its devices are counted as "
        "if each could take any request"
    )
    if any(bounds(row.month_usd, row.month_bounds_usd) for row in answer.cascades):
        yield (
            "              [low, high] are the dollars at the 95 % bounds of the share that goes on, and of "
            "the seconds where both sides ran in turns"
        )


def cascade_json(row: PlannedCascade, stream: Stream) -> dict[str, Any]:
    """Return a planned cascade as data for JSON."""
    option = row.option
    return {
        "title": option.title,
        "drift": option.drift,
        "escalation_rate": asdict(option.escalated),
        "link_s": option.link_s,
        "load": row.load,
        "alone": asdict(row.alone),
        "busiest_hour": asdict(row.busiest) if row.busiest else None,
        "edge": _place_json(option.edge, row.edge),
        "cloud": _place_json(option.cloud, row.cloud),
        "egress_month_usd": row.egress_usd if row.edge else None,
        "month_usd": row.month_usd,
        "month_bounds_usd": row.month_bounds_usd,
        "by_the_hour_usd": row.scaled_usd,
        "request_usd": row.request_usd(stream),
    }


def _place_json(place: Place, paid: Paid | None) -> dict[str, Any]:
    return {**asdict(place), "paid": None if paid is None else asdict(paid)}
