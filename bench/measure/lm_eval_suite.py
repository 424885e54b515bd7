"""Ask a loaded model the requests of lm-eval, let lm-eval judge the answers, and write down what it says."""

from __future__ import annotations

from collections.abc import Sequence

from bench.config.suite_block import NAME, LmEvalBlock
from bench.drift import items as files
from bench.errors import BenchError, InterruptedRun
from bench.formatting import one_line
from bench.measure import replies
from bench.measure.arm import ArmUnderTest
from bench.measure.events import Began
from bench.measure.lm_eval_tasks import REPLY, Evaluated, Request, items_of, judged, listed, values_of
from bench.records import RequestAnswers, SuiteAnswers

REQUESTS_A_CALL = 40  # an interrupt waits for one call at most


def answer(row: ArmUnderTest, asked: LmEvalBlock) -> None:
    """Let the model answer, and record how lm-eval judges it, or why it was not asked."""
    if row.is_cascade:
        return row.record(suites_reason=f"{NAME}: a cascade gives no likelihoods of texts")
    tasks = listed(asked)
    if row.turns == 1 and any(one.kind != REPLY for one in tasks.requests):
        reason = f"{NAME}: an answer that comes as a whole has no log-likelihoods"
        return row.record(suites_reason=reason)
    answers = _answers(row, tasks)
    row.context.tell(Began(row.title, f"suite {NAME}, judged by {tasks.harness}"))
    try:
        found = judged(asked, answers, row.context.pause)
    except InterruptedRun:
        raise
    except BenchError as bad:
        return row.record(suites_reason=f"{NAME}: {one_line(str(bad))[:300]}")
    kept = tuple(map(files.kept, items_of(tasks))) if row.arm.is_baseline else ()
    values = values_of(found, answers)
    row.record(suites={NAME: SuiteAnswers(found.digest, items=kept, judged=values, about=found.about)})
    return None


def _answers(row: ArmUnderTest, tasks: Evaluated) -> list[tuple[float, bool] | str | None]:
    """Return an answer to each request, in order; requests of one kind are asked together."""
    found: list[tuple[float, bool] | str | None] = [None] * len(tasks.requests)
    for kind in dict.fromkeys(one.kind for one in tasks.requests):
        places = [place for place, one in enumerate(tasks.requests) if one.kind == kind]
        for start in range(0, len(places), REQUESTS_A_CALL):
            part = places[start : start + REQUESTS_A_CALL]
            done = f"{kind} {start} of {len(places)}"
            given = _ask(row, kind, [tasks.requests[place] for place in part], done)
            for place, one in zip(part, given.replies or given.likelihoods, strict=True):
                found[place] = one
    return found


def _ask(row: ArmUnderTest, kind: str, asked: Sequence[Request], done: str) -> RequestAnswers:
    row.context.pause()
    row.context.tell(Began(row.title, f"suite {NAME}, {done}"))
    result = row.worker.ask(
        "requests", row.context.measure.timeout_s, kind=kind, requests=[list(one.args) for one in asked]
    )
    found = replies.read(replies.REQUESTS, result, row.asked)
    replies.check_requests(found, len(asked), replies=kind == REPLY)
    return found
