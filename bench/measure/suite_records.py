"""Record the answers to a behaviour suite, or say why a result cannot keep them."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import BenchError, JournalFailed
from bench.formatting import one_line
from bench.measure.arm import ArmUnderTest
from bench.records import Json, SuiteAnswers
from bench.store.values import MOST_REPLY

MOST_SAID = 300  # letters of a reason


def keep(row: ArmUnderTest, name: str, answered: SuiteAnswers, asked: Sequence[Json] = ()) -> str:
    """Record the answers to a suite. Return why a result cannot keep them, or ''.

    The row's times stay good if they cannot be kept, so the row does not fail. ``asked`` are the items, which
    name a reply that is too long.
    """
    for item, reply in zip(asked, answered.replies, strict=False):
        if reply is not None and len(reply) > MOST_REPLY:
            has = f"the reply to {item['id']!r} has {len(reply):,} characters"
            return f"{name}: {has}, and at most {MOST_REPLY:,} are kept"
    try:
        row.record(suites={name: answered})
    except JournalFailed:
        raise
    except BenchError as bad:  # longer than a line of the journal, or more than a reader takes
        return f"{name}: {one_line(str(bad))[-MOST_SAID:]}"
    return ""
