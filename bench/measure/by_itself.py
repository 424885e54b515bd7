"""Find out which side of a failed pair works by itself: a base that does not may be what a change repairs."""

from __future__ import annotations

from bench.config.served import is_server
from bench.config.spec import Arm, Group
from bench.errors import VariantFailed
from bench.measure import passes, replies
from bench.measure.arm import Fetch, RunContext, open_worker, tidy
from bench.measure.asked import prompts_of
from bench.measure.worker_process import PeerGone


def broken_base(group: Group, variant: Arm, context: RunContext, fetch: Fetch) -> str:
    """Return why the baseline does not work by itself; '' if it does, or if the variant does not work either.

    Each side is started once more, alone: beside the other one it may have lacked memory or a processor.
    Servers are not tried.
    """
    if is_server(variant.runtime):
        return ""
    why = _failure(group.baseline, group, context, fetch)
    return why if why and not _failure(variant, group, context, fetch) else ""


def _failure(arm: Arm, group: Group, context: RunContext, fetch: Fetch) -> str:
    """Return why a row cannot answer all of its requests; '' if it can. Nothing of this is recorded."""
    row = open_worker(arm, group.label, context)
    row.reopened = True
    try:
        tidy(row)
        with row.worker:
            passes.load(row, fetch(arm.model), fetch(group.baseline.model), fetch)
            passes.warm_up(row, prompts_of(arm))
            row.stage("answer all requests", replies.SOLO)
    except (VariantFailed, PeerGone) as failure:
        return str(failure)
    return ""
