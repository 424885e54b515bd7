"""Refuse a config that would measure more than a journal can hold, before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence

from bench.config.settings import DriftBlock, LimitBlock, MeasureBlock
from bench.config.spec import Group

MOST_SAMPLES = 2_600_000  # of 3 million values (bench/store/chain.py)
MOST_WINDOWS = 7_500  # of 8,000 (bench/store/replay.py): the others are those of noise floors
# Requests to servers: a record has 21 keys for each, a journal 600,000, and a line of it, with the four
# blocks of a pair, 100,000 (bench/store/chain.py).
MOST_SERVED, MOST_OF_A_BLOCK = 27_000, 1000
PER_SCORED_TOKEN, PER_ANSWERED_TOKEN = 4, 2  # values of a token in a journal


def too_many_requests(groups: Sequence[Group], measure: MeasureBlock) -> tuple[str, ...] | None:
    """Return (problem, hint) if a run of servers would have more requests than a journal holds; None if not.

    A row that is measured alone has up to eight blocks and a pair has four. Up to as many pairs again may be
    void.
    """
    pairs = measure.processes * (measure.max_rounds + 1) + 1
    blocks = sum(8 + 4 * pairs * len(group.variants) for group in groups)
    requests = max((arm.workload.requests for group in groups for arm in group.arms), default=0)
    tokens = max((arm.workload.output_tokens for group in groups for arm in group.arms), default=0)
    most = min(MOST_OF_A_BLOCK, MOST_SERVED // blocks, MOST_SAMPLES // (2 * tokens * blocks))
    if requests <= most:
        return None
    problem = f"{requests} requests in up to {blocks} blocks are more than a journal holds (at most {most})"
    return problem, "send fewer, measure fewer pairs, or split the variants over several runs"


def too_much(
    groups: Sequence[Group], drift: DriftBlock, gate: Sequence[tuple[str, LimitBlock]]
) -> tuple[tuple[str, ...], str, str] | None:
    """Return (key, problem, hint) if the journal of a run would be too large to be read; None if not.

    Every variant is scored on all tokens of ``drift``, and every row answers all requests once outside pairs.
    """
    variants = sum(len(group.variants) for group in groups)
    scored = drift.tokens * variants
    values = scored * (PER_SCORED_TOKEN + len(drift.statistics))
    windows = scored // max(drift.window - 1, 1)
    if values > MOST_SAMPLES or windows > MOST_WINDOWS:
        most = min(MOST_SAMPLES * scored // max(values, 1), MOST_WINDOWS * (drift.window - 1))
        problem = f"{drift.tokens} tokens in {variants} variants are more than a journal holds ({most})"
        return ("drift", "tokens"), problem, "score fewer tokens, or split the variants over several runs"
    arms = [arm for group in groups for arm in group.arms]
    answered = sum(arm.workload.requests * arm.workload.output_tokens for arm in arms)
    if values + answered * PER_ANSWERED_TOKEN > MOST_SAMPLES:
        problem = f"the rows would answer with {answered} tokens, more than a journal holds"
        return ("workload", "requests"), problem, "send fewer requests, or make several runs"
    if not gate:
        return None
    from bench.gate.limits import MOST_FINDINGS, MOST_TIMED, rules, timed_cells

    wanted = list(rules({key: limit.model_dump(exclude_none=True) for key, limit in gate}))
    if timed_cells(wanted, variants) > MOST_TIMED or len(wanted) * variants > MOST_FINDINGS:
        problem = f"{len(wanted)} limits on {variants} variants are more than a gate judges"
        return ("gate",), problem, f"{MOST_TIMED} limits on times, times variants, are the most"
    return None
