"""Let a loaded model answer the behaviour suites of a run; nothing is timed after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from bench.config.suite_block import lm_eval_of
from bench.drift import items as files
from bench.drift.behaviour import Suite, suites_of
from bench.measure import lm_eval_suite, replies
from bench.measure.arm import ArmUnderTest
from bench.measure.events import Began
from bench.records import Answered, BothAnswered, Json, SuiteAnswers

ITEMS_A_CALL = 40  # an interrupt waits for one call at most


def answer(under: ArmUnderTest) -> None:
    """Ask the model every suite of the run, or record why not. A baseline keeps the items, because figures
    are computed from the journal alone."""
    asked, tasks = suites_of(under.context.drift.suites), lm_eval_of(under.context.drift.suites)
    if not asked and tasks is None:
        return None
    if under.known.random_weights:
        return under.record(suites_reason="random weights have no behaviour to lose")
    for suite in asked:
        if under.is_far and not suite.output_tokens:
            under.record(suites_reason=f"{suite.name}: a server elsewhere gives no likelihoods of choices")
            continue
        if under.turns == 1 and not suite.output_tokens and not under.is_cascade:
            under.record(
                suites_reason=f"{suite.name}: an answer that comes as a whole has no log-likelihoods"
            )
            continue
        under.record(suites={suite.name: _answers(under, suite)})
    if tasks is not None:
        lm_eval_suite.answer(under, tasks)
    return None


def _answers(under: ArmUnderTest, suite: Suite) -> SuiteAnswers:
    asked = suite.items(under.context.drift.items)
    digest = files.digest(asked)
    scores: list[tuple[float, ...] | None] = []
    texts: list[str | None] = []
    both: list[BothAnswered] = []
    for start in range(0, len(asked), ITEMS_A_CALL):
        part = _ask(under, suite, asked[start : start + ITEMS_A_CALL], f"{start} of {len(asked)}")
        scores += part.scores
        texts += part.replies
        both += [part.both] if part.both else []
    kept: tuple[Json, ...] = ()
    if under.arm.is_baseline:
        kept = tuple(files.kept(item) for item in asked)
    return SuiteAnswers(digest, tuple(scores), tuple(texts), kept, _joined(both))


def _joined(parts: Sequence[BothAnswered]) -> BothAnswered | None:
    """Put together what both models of a cascade answered, call by call; None for any other row."""
    if not parts:
        return None
    sides = (
        Answered(tuple(chain(*(one.scores for one in side))), tuple(chain(*(one.replies for one in side))))
        for side in ([one.edge for one in parts], [one.cloud for one in parts])
    )
    return BothAnswered(tuple(chain(*(one.requests for one in parts))), *sides)


def _ask(under: ArmUnderTest, suite: Suite, asked: Sequence[Json], done: str) -> SuiteAnswers:
    under.context.pause()
    under.context.tell(Began(under.title, f"suite {suite.name}, {done}"))
    result = under.worker.ask(
        "suite", under.context.measure.timeout_s, items=list(asked), output_tokens=suite.output_tokens
    )
    found = replies.read(replies.SUITE, result, under.asked)
    replies.check_answers(found, asked, suite.output_tokens)
    return replace(found, digest="")
