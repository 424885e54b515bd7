"""Say of a cascade how many requests went on, who was paid, and what its curve shows."""

from __future__ import annotations

from bench.drift.suites import generation
from bench.formatting import format_share, format_significant
from bench.metrics import cascade, cascade_curve
from bench.results.row import Row
from bench.stats.figure import Figure


def cascade_words(row: Row) -> str:
    """Describe a cascade; nothing for any other row. A rule that never decided otherwise is said plainly."""
    rate = row.figure(cascade.RATE)
    if rate is None:
        return ""
    parts = [_sent(rate), _learnt(rate), _as_alone(row), _paid(row), _curve_words(row)]
    return "; ".join(part for part in parts if part)


def _sent(rate: Figure) -> str:
    n, sent, offline = (rate.notes.get(key) or 0 for key in ("n", "escalated", "offline"))
    if not sent:
        return "no request went on, so the large model answered nothing"
    lost = _lost(rate, offline)
    if sent == n:
        return f"every request went on{lost}, so the edge model's work comes on top"
    return f"{sent} of {n} requests went on to the large model{lost}"


def _lost(rate: Figure, offline: int) -> str:
    """Say of how many requests no answer came, and why."""
    if not offline:
        return ""
    found = rate.notes.get("refused")
    listed = found if isinstance(found, list | tuple) else ()
    why = [f"{one[0]} ({one[1]})" for one in listed if isinstance(one, list | tuple) and len(one) == 2]
    if not why:
        return f", and the link was down for {offline}"
    return f", and of {offline} no answer came, so the edge's stood: {', '.join(why)}"


def _learnt(rate: Figure) -> str:
    """Say on what a rule that learns was trained; nothing for any other rule."""
    found = rate.notes.get("learnt")
    listed = found if isinstance(found, list | tuple) else ()
    whole = [one for one in listed if isinstance(one, list | tuple) and len(one) == 3]
    seen = [f"{n} of {suite} (the same answer to {same})" for suite, n, same in whole]
    return f"its rule was trained on other questions: {' and '.join(seen)}" if seen else ""


def _as_alone(row: Row) -> str:
    """Say how many replies are the large model's own, whoever gave them."""
    same = row.figure(generation.EXACT)
    by_text = ", as texts" if same and same.notes.get("text_level") else ""
    return f"{format_share(same.value)} of the replies are the baseline's{by_text}" if same else ""


def _paid(row: Row) -> str:
    edge, cloud, egress = (row.figure(one) for one in (cascade.EDGE, cascade.CLOUD, cascade.EGRESS))
    if edge is None or cloud is None or egress is None:
        return ""
    left = f" and {format_significant(egress.value)} for egress" if egress.value else ""
    return (
        f"a request pays {format_significant(edge.value)} USD to the edge device, "
        f"{format_significant(cloud.value)} to the cloud{left}"
    )


def _curve_words(row: Row) -> str:
    gap, apgr = row.figure(cascade_curve.GAP), row.figure(cascade_curve.APGR)
    if gap is None:
        return ""
    suite = gap.notes.get("suite")
    if apgr is None:
        return f"at {suite} the large model is not shown to be better, so there is no gap to recover"
    words = f"at {suite} its rule recovers {format_share(apgr.value)} of the gap on average (APGR"
    words += "; 50 % by chance)" if apgr.ci_low is None else f" [{apgr.ci_low:.2f}, {apgr.ci_high:.2f}])"
    if gap.notes.get("falls"):
        words += ", and quality falls on the way"
    return words
