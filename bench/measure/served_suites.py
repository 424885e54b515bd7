"""Let a server answer the behaviour suites of a run, after everything that is timed.

A server writes replies, so it can be asked the suites that are judged by a reply. The others need the
likelihood of each choice; a config of servers that names one is refused.
"""

from __future__ import annotations

from dataclasses import replace

from bench.drift import items as files
from bench.drift.behaviour import Suite, suites_of
from bench.errors import BenchError, Outcome, VariantFailed
from bench.formatting import one_line
from bench.measure.arm import ArmUnderTest, RunContext
from bench.measure.events import Began
from bench.measure.load_blocks import Serving, failing_as
from bench.measure.suite_records import keep
from bench.records import SuiteAnswers
from bench.serving.greedy_replies import Said, answers, must_be_modest
from bench.serving.load import run

ITEMS_A_CALL = 20  # an interrupt waits for one call at most
REASON_LETTERS = 300


def asked(context: RunContext) -> bool:
    """Return whether the config names a suite whose items are put to the servers."""
    return bool(suites_of(context.drift.suites))


def answer(server: Serving, row: ArmUnderTest) -> None:
    """Ask a server every suite of the run. Record its answers, and for which suites it has none and why.

    A baseline records the items too, because figures are computed from the journal alone.
    """
    failed = []
    for suite in suites_of(row.context.drift.suites):
        try:
            with failing_as(Outcome.RUN_ERROR):
                answered = _answers(server, row, suite)
        except VariantFailed as bad:
            failed.append(f"{suite.name}: {one_line(bad.reason)[:REASON_LETTERS]}")
        else:
            if why := keep(row, suite.name, answered):
                failed.append(why)
    if failed:
        row.record(suites_reason="; ".join(failed))


def _answers(server: Serving, row: ArmUnderTest, suite: Suite) -> SuiteAnswers:
    """Ask one suite: at the chat endpoint if its prompts need the chat template, else for completions.

    An item that the server refuses, for example because it is too long, has no answer. Raises BenchError if
    the server refuses all of them, or if another request fails.
    """
    items = suite.items(row.context.drift.items)
    settings = replace(server.target.settings, api="chat" if suite.chat else "completions")
    said: list[Said] = []
    for start in range(0, len(items), ITEMS_A_CALL):
        row.context.pause()
        row.context.tell(Began(row.title, f"suite {suite.name}, {start} of {len(items)}"))
        prompts = [item["prompt"] for item in items[start : start + ITEMS_A_CALL]]
        said += run(answers(settings, prompts, suite.output_tokens))
        must_be_modest(said)
    if all(reply.refused for reply in said):
        raise BenchError(f"the server refused every item: {said[0].refused}")
    kept = tuple(map(files.kept, items)) if row.arm.is_baseline else ()
    texts = tuple(None if reply.refused else reply.text for reply in said)
    return SuiteAnswers(files.digest(items), replies=texts, items=kept)
