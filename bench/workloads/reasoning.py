"""Problems that a reasoning model thinks about; a reply counts up to its end, at most output_tokens.

The price of such a model is that of an answer: a variant whose tokens are cheaper and that thinks longer may
cost more. ``think_start`` and ``think_end`` are the texts between which it thinks, if its card has none.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.config.settings import WorkloadBlock
from bench.workloads import Prompt

PROBLEMS = (
    "A tank fills in 6 hours through one pipe and in 4 hours through another. A drain empties it in "
    "12 hours. How long does it take with all three open? Give the time in hours and minutes.",
    "How many positive whole numbers below 1000 are divisible by 3 or by 7, but not by both?",
    "Anna is twice as old as Ben was when Anna was as old as Ben is now. Together they are 49. How "
    "old is each?",
    "What is the remainder when 7 to the power of 100 is divided by 13?",
    "A bag holds 5 red, 4 blue and 3 green balls. Three are drawn without putting any back. What is the "
    "probability that they have three different colours?",
    "Find all whole numbers n for which n squared plus 12 n plus 20 is a prime number.",
    "Three boxes are labelled apples, pears and both, and every label is wrong. You may take one fruit from "
    "one box. From which box, and how do you find the right labels?",
    "A clock shows 3:15. What is the angle between its hour hand and its minute hand?",
    "In how many ways can the letters of the word LEVEL be arranged?",
    "A farmer has 240 m of fence for a rectangle along a straight river; the side at the river needs none. "
    "What is the largest area?",
    "On an island knights always tell the truth and knaves always lie. A says: B is a knave. B says: A and I "
    "are of the same kind. What are A and B?",
    "Solve x + y = 10 and x squared + y squared = 58 for whole numbers x and y.",
    "A train of 200 m passes a signal in 8 seconds. How long does it take to cross a bridge of 400 m?",
    "What is the smallest whole number that has exactly 12 divisors?",
    "Write a Python function that returns the longest palindrome in a string, and say how its time grows "
    "with the length.",
    "A price was raised by 20 % and then lowered by 20 %. It is now 115.20. What was it at first?",
    "Two trains, 300 km apart, drive towards each other at 70 and 80 km/h. A bird flies between them at "
    "120 km/h until they meet. How far does it fly?",
    "How many zeros are at the end of 100 factorial?",
    "Five friends sit in a row. Eva is not at an end. Tom is left of Eva, but not next to her. Ina sits next "
    "to Tom. Who can be in the middle?",
    "What is the sum of the digits of all numbers from 1 to 100?",
    "A fair die is thrown until each face has come up. How many throws does that take on average?",
    "Show that among any 13 people at least two were born in the same month. What is the least number of "
    "people so that surely three were?",
    "A rectangle is 3 cm longer than wide, and its diagonal is 15 cm. What is its area?",
    "For which real numbers k has x squared + k x + 9 = 0 two different real solutions?",
)


@dataclass(frozen=True)
class Params:
    """The markers of a model that has no card; without them those of the card, or ``<think>``."""

    think_start: str | None = None
    think_end: str | None = None


def problem(workload: WorkloadBlock) -> tuple[str, str] | None:
    """Return (key, what is wrong with it), or None."""
    if workload.file is not None:
        return "file", "is for the workload 'file'"
    if workload.input_tokens is not None:
        return "input_tokens", "chat prompts are not cut; use the workload 'fixed'"
    if "output_tokens" not in workload.model_fields_set:
        return "output_tokens", (
            "is missing: it is where an answer is cut that has not ended, reasoning included; reasoning "
            "models often need 2048 and more"
        )
    marks = dict(workload.own)
    for key, other in (("think_start", "think_end"), ("think_end", "think_start")):
        if marks.get(key) == "" or (marks.get(key) is None and marks.get(other) is not None):
            return key, "give both think_start and think_end, each with some text"
    return None


def prompts(workload: WorkloadBlock) -> list[Prompt]:
    """Return the problems in order, from the start again if more requests are asked for."""
    return [Prompt(PROBLEMS[i % len(PROBLEMS)], chat=True) for i in range(workload.requests)]
