"""Arithmetic: the model adds numbers, in digits and in words; the first number of its reply counts."""

from __future__ import annotations

import re

from bench.drift.behaviour import Answer, Suite
from bench.records import Json

NUMBER = re.compile(r"-?\d[\d,]*")


def first_number(item: Json, answer: Answer) -> bool:
    """Return whether the first number of a reply is the right one; commas between digits are ignored."""
    match = NUMBER.search(str(answer))
    return match is not None and match.group().replace(",", "") == str(item["number"])


SUITE = Suite("arithmetic", "the first number of the reply is right", first_number, output_tokens=6)
PLACE = 21
METRICS = SUITE.metrics
OF_EVERY_ROW = (SUITE.accuracy,)
figures = SUITE.figures
