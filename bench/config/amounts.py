"""How much a config would measure: more than a journal can hold is refused before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence

from bench.config.spec import DriftBlock, Group, LimitBlock

MOST_SAMPLES = 2_600_000  # of 3 million values (bench/store/chain.py)
MOST_WINDOWS = 7_500  # of 8,000 (bench/store/replay.py): the others are those of noise floors
PER_SCORED_TOKEN, PER_ANSWERED_TOKEN = 4, 2  # values of a token in a journal


def too_much(
    groups: Sequence[Group], drift: DriftBlock, gate: Sequence[tuple[str, LimitBlock]]
) -> tuple[tuple[str, ...], str, str] | None:
    """Return (key, problem, hint) for a config of which the run would be too much to be read, else None.

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
    from bench.gate.limits import MOST_FINDINGS, MOST_TIMED, rules

    wanted = list(rules({key: limit.model_dump(exclude_none=True) for key, limit in gate}))
    timed = sum(rule.kind == "timed" for rule in wanted) * variants
    if timed > MOST_TIMED or len(wanted) * variants > MOST_FINDINGS:
        problem = f"{len(wanted)} limits on {variants} variants are more than a gate judges"
        return ("gate",), problem, f"{MOST_TIMED} limits on times, times variants, are the most"
    return None
