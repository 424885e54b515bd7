"""Read the ``gate`` block: each limit must be on a known metric that the config measures."""

from __future__ import annotations

import math

from bench.config.block_reader import BlockReader
from bench.config.cascades import check_limits_of_cascades
from bench.config.served import serves
from bench.config.settings import DriftBlock, EnergyBlock, LimitBlock, SloBlock
from bench.config.spec import Group
from bench.config.suite_reader import names_of
from bench.models.reference import Random
from bench.stats.figure import Range

Limits = tuple[tuple[str, LimitBlock], ...]


def read_limits(
    reader: BlockReader,
    raw: object,
    drift: DriftBlock,
    slo: SloBlock | None,
    groups: tuple[Group, ...],
    energy: EnergyBlock | None,
) -> Limits:
    """Return the limits of the block ``raw`` in their order. Raises ConfigError for what cannot be judged."""
    if not isinstance(raw, dict):
        raise reader.source.error(("gate",), "must be a block of limits")
    if not raw:
        return ()
    from bench.gate.limits import never_judged
    from bench.metrics import all_metrics

    reader.known(raw, ("gate",), tuple(all_metrics()))
    check_limits_of_cascades(reader.source, raw, groups, drift.suites)
    served = serves(groups)
    random = all(isinstance(arm.model, Random) for group in groups for arm in group.arms)
    limits = tuple((key, _limit(reader, key, value, all_metrics()[key].range)) for key, value in raw.items())
    asked = energy.model_dump(exclude_none=True) if energy else {}
    for key, limit in limits:
        relative = limit.max_increase is not None or limit.max_decrease is not None
        scores = bool(drift.tokens) and not random
        reason = never_judged(
            key,
            relative,
            scores,
            names_of(drift.suites),
            good=slo is not None,
            served=served,
            searches=all(group.baseline.workload.name == "search" for group in groups),
            asked=asked,
            statistics=drift.statistics,
        )
        if reason:
            raise reader.source.error(("gate", key), *reason)
        _must_be_shown(reader, key, limit)
    return limits


def _limit(reader: BlockReader, key: str, value: object, possible: Range) -> LimitBlock:
    """Return a limit of the block; refuse a bound that no figure, or every figure, is beyond."""
    limit, (low, high) = reader.block(LimitBlock, key, value, ("gate",)), possible
    for name, bound in (("max", limit.max), ("min", limit.min)):
        if bound is not None and not low <= bound <= high:
            ends = f"from {low:g} to {high:g}" if high < math.inf else f"{low:g} or more"
            hint = f"5 % is {0.05 * high:g}" if high == 1 else ""
            raise reader.source.error(("gate", key, name), f"{bound:g} is impossible: {key} is {ends}", hint)
    return limit


def _must_be_shown(reader: BlockReader, key: str, limit: LimitBlock) -> None:
    """Refuse margins of 0 on what is timed, which cannot be shown, and endless ones, which limit nothing."""
    from bench.gate.limits import rules

    for rule in rules({key: limit.model_dump()}):
        if rule.kind == "timed" and not 0 < rule.margin < math.inf:
            hint = "give the smallest change that matters, such as 2%; 0% is for what is counted"
            problem = f"{100 * rule.bound:g} % cannot be shown for what is timed"
            raise reader.source.error(("gate", key, rule.limit), problem, hint)
