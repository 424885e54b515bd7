"""Let a loaded model answer the behaviour suites of a run; nothing is timed after it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from typing import TypeVar

from bench.config.suite_reader import lm_eval_of
from bench.drift import items as files
from bench.drift.behaviour import Suite, suites_of
from bench.measure import lm_eval_suite, replies
from bench.measure.arm import ArmUnderTest
from bench.measure.events import Began
from bench.measure.suite_records import keep
from bench.records import Answered, BothAnswered, Json, SuiteAnswers

Kind = TypeVar("Kind")
ITEMS_A_CALL = 50  # an interrupt waits for one call at most; all items of long-context go in one


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
    parts: list[SuiteAnswers] = []
    order = _by_length(asked)
    for start in range(0, len(order), ITEMS_A_CALL):
        part = [asked[place] for place in order[start : start + ITEMS_A_CALL]]
        parts.append(_ask(row, suite, part, f"{start} of {len(asked)}"))
    kept: tuple[Json, ...] = ()
    if row.arm.is_baseline:
        kept = tuple(files.kept(item) for item in asked)
    scores, said = (part.scores for part in parts), (part.replies for part in parts)
    both = _joined([part.both for part in parts if part.both], order)
    return SuiteAnswers(files.digest(asked), _placed(scores, order), _placed(said, order), kept, both)


def _by_length(asked: Sequence[Json]) -> list[int]:
    """Return the places of the items, those of one language and similar length beside each other: a worker
    reads texts with the same number of tokens in one pass, if it is given them in one call."""

    def length(item: Json) -> int:
        return len(item["prompt"]) + max(map(len, item.get("choices", ("",))))

    return sorted(range(len(asked)), key=lambda place: (asked[place]["lang"], length(asked[place])))


def _placed(parts: Iterable[Sequence[Kind]], order: Sequence[int]) -> tuple[Kind, ...]:
    """Return what the calls answered, in the order of the items; nothing if they answered in another form."""
    found = list(chain(*parts))
    if not found:
        return ()
    return tuple(one for _place, one in sorted(zip(order, found, strict=True), key=itemgetter(0)))


def _joined(parts: Sequence[BothAnswered], order: Sequence[int]) -> BothAnswered | None:
    """Put together what both models of a cascade answered, call by call; None for any other row."""
    if not parts:
        return None
    sides = (
        Answered(
            _placed((part.scores for part in side), order), _placed((part.replies for part in side), order)
        )
        for side in ([part.edge for part in parts], [part.cloud for part in parts])
    )
    return BothAnswered(_placed((part.requests for part in parts), order), *sides)


def _ask(row: ArmUnderTest, suite: Suite, asked: Sequence[Json], done: str) -> SuiteAnswers:
    row.context.pause()
    row.context.tell(Began(row.title, f"suite {suite.name}, {done}"))
    result = row.worker.ask(
        "suite", row.context.measure.timeout_s, items=list(asked), output_tokens=suite.output_tokens
    )
    answered = replies.read(replies.SUITE, result, row.asked)
    replies.check_answers(answered, asked, suite.output_tokens)
    return replace(answered, digest="")
