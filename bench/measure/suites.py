"""Let a loaded model answer the behaviour suites of a run; nothing is timed after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from bench.config.suite_reader import lm_eval_of
from bench.drift import items as files
from bench.drift.behaviour import Suite, suites_of
from bench.measure import lm_eval_suite, replies
from bench.measure.arm import ArmUnderTest
from bench.measure.events import Began
from bench.measure.suite_records import keep
from bench.records import Answered, BothAnswered, Json, SuiteAnswers

ITEMS_A_CALL = 40  # an interrupt waits for one call at most


def answer(row: ArmUnderTest) -> None:
    """Ask the model every suite of the run. Record its answers, and for which suites it has none and why.

    A baseline records the items too, because figures are computed from the journal alone.
    """
    asked, tasks = suites_of(row.context.drift.suites), lm_eval_of(row.context.drift.suites)
    if not asked and tasks is None:
        return None
    if row.known.random_weights:
        return row.record(suites_reason="random weights have no behaviour to lose")
    missing: list[str] = []
    for suite in asked:
        if why := _why_not(row, suite):
            missing.append(f"{suite.name}: {why}")
        elif why := keep(row, suite.name, _answers(row, suite), suite.items(row.context.drift.items)):
            missing.append(why)
    if tasks is not None and (why := lm_eval_suite.answer(row, tasks)):
        missing.append(why)
    return row.record(suites_reason="; ".join(missing)) if missing else None


def _why_not(row: ArmUnderTest, suite: Suite) -> str:
    """Return why the model cannot be asked a suite; '' if it can."""
    if suite.output_tokens:
        return ""
    if row.is_far:
        return "a server elsewhere gives no likelihoods of choices"
    if row.turns == 1 and not row.is_cascade:
        return "an answer that comes as a whole has no log-likelihoods"
    return ""


def _answers(row: ArmUnderTest, suite: Suite) -> SuiteAnswers:
    asked = suite.items(row.context.drift.items)
    digest = files.digest(asked)
    scores: list[tuple[float, ...] | None] = []
    texts: list[str | None] = []
    both: list[BothAnswered] = []
    for start in range(0, len(asked), ITEMS_A_CALL):
        part = _ask(row, suite, asked[start : start + ITEMS_A_CALL], f"{start} of {len(asked)}")
        scores += part.scores
        texts += part.replies
        both += [part.both] if part.both else []
    kept: tuple[Json, ...] = ()
    if row.arm.is_baseline:
        kept = tuple(files.kept(item) for item in asked)
    return SuiteAnswers(digest, tuple(scores), tuple(texts), kept, _joined(both))


def _joined(parts: Sequence[BothAnswered]) -> BothAnswered | None:
    """Put together what both models of a cascade answered, call by call; None for any other row."""
    if not parts:
        return None
    sides = (
        Answered(
            tuple(chain(*(part.scores for part in side))), tuple(chain(*(part.replies for part in side)))
        )
        for side in ([part.edge for part in parts], [part.cloud for part in parts])
    )
    return BothAnswered(tuple(chain(*(part.requests for part in parts))), *sides)


def _ask(row: ArmUnderTest, suite: Suite, asked: Sequence[Json], done: str) -> SuiteAnswers:
    row.context.pause()
    row.context.tell(Began(row.title, f"suite {suite.name}, {done}"))
    result = row.worker.ask(
        "suite", row.context.measure.timeout_s, items=list(asked), output_tokens=suite.output_tokens
    )
    answered = replies.read(replies.SUITE, result, row.asked)
    replies.check_answers(answered, asked, suite.output_tokens)
    return replace(answered, digest="")
