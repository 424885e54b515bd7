"""Ask a loaded model the requests of lm-eval, let lm-eval judge the answers, and write down what it says."""

from __future__ import annotations

from collections.abc import Sequence

from bench.config.suite_reader import NAME, LmEvalBlock
from bench.drift import items as files
from bench.errors import BenchError
from bench.formatting import one_line
from bench.measure import replies
from bench.measure.arm import ArmUnderTest
from bench.measure.events import Began
from bench.measure.lm_eval_tasks import REPLY, Evaluated, Request, items_of, judged, listed, values_of
from bench.measure.suite_records import keep
from bench.records import RequestAnswers, SuiteAnswers

REQUESTS_A_CALL = 40  # an interrupt waits for one call at most


def answer(row: ArmUnderTest, asked: LmEvalBlock) -> str:
    """Let the model answer, and record how lm-eval judges the answers. Return why there is no judgement, or
    '' if there is one."""
    if row.is_cascade:
        return f"{NAME}: a cascade gives no likelihoods of texts"
    tasks = listed(asked)
    if row.turns == 1 and any(request.kind != REPLY for request in tasks.requests):
        return f"{NAME}: an answer that comes as a whole has no log-likelihoods"
    answers = _answers(row, tasks)
    row.context.tell(Began(row.title, f"suite {NAME}, judged by {tasks.harness}"))
    try:
        evaluated = judged(asked, answers, row.context.pause)
    except BenchError as bad:
        return f"{NAME}: {one_line(str(bad))[:300]}"
    kept = tuple(map(files.kept, items_of(tasks))) if row.arm.is_baseline else ()
    values = values_of(evaluated, answers)
    suite = SuiteAnswers(evaluated.digest, items=kept, judged=values, about=evaluated.about)
    return keep(row, NAME, suite)


def _answers(row: ArmUnderTest, tasks: Evaluated) -> list[tuple[float, bool] | str | None]:
    """Return an answer to each request, in order; requests of one kind are asked together."""
    answers: list[tuple[float, bool] | str | None] = [None] * len(tasks.requests)
    for kind in dict.fromkeys(request.kind for request in tasks.requests):
        places = [place for place, request in enumerate(tasks.requests) if request.kind == kind]
        for start in range(0, len(places), REQUESTS_A_CALL):
            part = places[start : start + REQUESTS_A_CALL]
            done = f"{kind} {start} of {len(places)}"
            given = _ask(row, kind, [tasks.requests[place] for place in part], done)
            for place, answer in zip(part, given.replies or given.likelihoods, strict=True):
                answers[place] = answer
    return answers


def _ask(row: ArmUnderTest, kind: str, asked: Sequence[Request], done: str) -> RequestAnswers:
    row.context.pause()
    row.context.tell(Began(row.title, f"suite {NAME}, {done}"))
    result = row.worker.ask(
        "requests", row.context.measure.timeout_s, kind=kind, requests=[list(each.args) for each in asked]
    )
    answered = replies.read(replies.REQUESTS, result, row.asked)
    replies.check_requests(answered, len(asked), replies=kind == REPLY)
    return answered
