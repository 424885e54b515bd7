"""Long context: the model must find the word that ends one sentence among up to 8,000 tokens of others.

A text of one length and language has such a sentence for each of its items, and each item asks for one of
them. So an engine that can keep what it has read reads the text once (``bench.worker.shared_beginnings``).

Items that do not fit the model's context are left out. There are only 46 items, so only a large loss can be
detected.
"""

from __future__ import annotations

from bench.drift.behaviour import Answer, Suite
from bench.records import Json


def found(item: Json, answer: Answer) -> bool:
    """Return whether the reply contains the word to find."""
    return str(item["word"]).lower() in str(answer).lower()


SUITE = Suite("long-context", "the reply has the word that stands in the text", found, output_tokens=6)
PLACE = 25
METRICS = SUITE.metrics
OF_EVERY_ROW = (SUITE.accuracy,)
figures = SUITE.figures
