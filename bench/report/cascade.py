"""Describe a cascade in words: how many requests were escalated, who was paid, and what its curve shows."""

from __future__ import annotations

from bench.drift.suites import generation
from bench.formatting import format_share, format_significant
from bench.metrics import cascade, cascade_curve
from bench.results.row import Row
from bench.stats.figure import Figure


def cascade_words(row: Row) -> str:
    """Describe a cascade; the text is empty for any other row.

    The text says clearly if the rule escalated every request, or none.
    """
    rate = row.figure(cascade.RATE)
    if rate is None:
        return ""
    parts = [_sent(rate), _learnt(rate), _same_as_large_model(row), _paid(row), _curve_words(row)]
    return "; ".join(part for part in parts if part)


def edge_alone(row: Row) -> str:
    """Say that the large model of a cascade answered no request, so that its dollars are the edge model's.

    The text is empty for any other row. It belongs before the dollars: a cloud that only refuses is free.
    """
    rate = row.figure(cascade.RATE)
    if rate is None:
        return ""
    sent, reached = rate.notes.get("escalated") or 0, rate.notes.get("reached")
    if not sent:
        return "the edge model answered alone"
    return "no answer came from the large model, and the edge model's stood" if reached == 0 else ""


def _sent(rate: Figure) -> str:
    n, sent, offline = (rate.notes.get(key) or 0 for key in ("n", "escalated", "offline"))
    if not sent:
        return "no request went on, so the large model answered nothing"
    lost = _lost(rate, offline)
    if offline == sent and rate.notes.get("reached") == 0:
        return f"{_of_all(sent, n)} went on{lost}, so the large model answered nothing"
    if sent == n and not offline:
        return "every request went on, so the edge model's work comes on top"
    return f"{_of_all(sent, n)} went on to the large model{lost}"


def _of_all(sent: int, n: int) -> str:
    return "every request" if sent == n else f"{sent} of {n} requests"


def _lost(rate: Figure, offline: int) -> str:
    """Say how many escalated requests got no answer, and why."""
    if not offline:
        return ""
    refused = rate.notes.get("refused")
    listed = refused if isinstance(refused, list | tuple) else ()
    pairs = [pair for pair in listed if isinstance(pair, list | tuple) and len(pair) == 2]
    if not pairs:
        return f", and the link was down for {offline}"
    why = [f"{reason} ({number})" for reason, number in pairs]
    others = offline - sum(number for _reason, number in pairs if isinstance(number, int))
    why += [f"other reasons ({others})"] if others > 0 else []
    return f", and of {offline} no answer came, so the edge's stood: {', '.join(why)}"


def _learnt(rate: Figure) -> str:
    """Say on which questions a learnt rule was trained; the text is empty for any other rule."""
    learnt = rate.notes.get("learnt")
    listed = learnt if isinstance(learnt, list | tuple) else ()
    suites = [entry for entry in listed if isinstance(entry, list | tuple) and len(entry) == 3]
    seen = [f"{n} of {suite} (the same answer to {same})" for suite, n, same in suites]
    return f"its rule was trained on other questions: {' and '.join(seen)}" if seen else ""


def _same_as_large_model(row: Row) -> str:
    """Say how many replies equal those of the large model alone, whichever model gave them."""
    same = row.figure(generation.EXACT)
    by_text = ", as texts" if same and same.notes.get("text_level") else ""
    return f"{format_share(same.value)} of the replies are the baseline's{by_text}" if same else ""


def _paid(row: Row) -> str:
    edge, cloud, egress = (row.figure(metric) for metric in (cascade.EDGE, cascade.CLOUD, cascade.EGRESS))
    if edge is None or cloud is None or egress is None:
        return ""
    left = f" and {format_significant(egress.value)} for egress" if egress.value else ""
    return (
        f"a request pays {format_significant(edge.value)} USD to the edge device, "
        f"{format_significant(cloud.value)} to the cloud{left}{_pays_below(row, edge, cloud, egress)}"
    )


def _pays_below(row: Row, edge: Figure, cloud: Figure, egress: Figure) -> str:
    """Say up to which share of escalated requests the cascade is cheaper than the large model alone: 1 − e/c,
    where c is what a request pays that the large model answers.

    The text is empty if it answered none, because c is not known then.
    """
    rate = row.figure(cascade.RATE)
    n, reached = (rate.notes.get(key) or 0 for key in ("n", "reached")) if rate else (0, 0)
    paid_usd = cloud.value + egress.value
    if not reached or not paid_usd > 0:
        return ""
    share = 1 - edge.value / (paid_usd * n / reached)
    is_server = cloud.notes.get("by_tokens")  # elsewhere, so it is not the baseline
    if share <= 0:
        return f", so its edge model alone costs more than {'that server' if is_server else 'the large one'}"
    than = " beside that server alone" if is_server else ""
    return f", so it saves money{than} while less than {format_share(share)} of the requests go on"


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
