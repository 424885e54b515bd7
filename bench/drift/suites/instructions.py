"""Instruction following: each item asks for a form of reply that a program can check, such as JSON."""

from __future__ import annotations

import re
from collections.abc import Callable

from bench.drift.behaviour import Answer, Suite
from bench.records import Json

CHINESE = re.compile(r"[一-鿿]")
LATIN = re.compile(r"[A-Za-z]")
QUOTES = ('"', "“", "「", "『", "'")


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text)


def _starts_an_object(text: str, key: str) -> bool:
    """Return whether a reply begins a JSON object with this key; the output limit may cut off its end."""
    return re.match(r"^(```(json)?\s*)?\{\s*\"" + re.escape(key) + r"\"\s*:", text) is not None


# Each check gets the reply without white space at its ends, and the value that the item gives.
CHECKS: dict[str, Callable[[str, str], bool]] = {
    "one_word": lambda text, _value: len(_words(text)) == 1,
    "at_most": lambda text, value: 0 < len(CHINESE.findall(text)) <= int(value),
    "contains": lambda text, value: value.lower() in text.lower(),
    "without": lambda text, value: (
        bool(text)
        and not re.search(
            rf"\b{re.escape(value)}\b" if value.isascii() else re.escape(value), text, re.IGNORECASE
        )
    ),
    "upper": lambda text, _value: bool(LATIN.search(text)) and text == text.upper(),
    "begins": lambda text, value: text.lower().startswith(value.lower()),
    "quoted": lambda text, _value: text.startswith(QUOTES),
    "digits": lambda text, _value: re.fullmatch(r"[\d\s.。]+", text) is not None,
    "repeats": lambda text, value: (
        re.sub(r"[\s,,。.]+", " ", text).strip().lower().replace(" ", "") == value.lower().replace(" ", "")
    ),
    "chinese": lambda text, _value: len(CHINESE.findall(text)) > len(LATIN.findall(text)) / 4,
    "english": lambda text, _value: bool(LATIN.search(text)) and not CHINESE.search(text),
    "object": _starts_an_object,
}


def obeyed(item: Json, answer: Answer) -> bool:
    """Return whether a reply has the form that its item asks for."""
    kind, value = item["check"]
    return CHECKS[kind](str(answer).strip(), value)


SUITE = Suite(
    "instructions", "the reply has the form that was asked for", obeyed, output_tokens=24, chat=True
)
PLACE = 22
METRICS = SUITE.metrics
OF_EVERY_ROW = (SUITE.accuracy,)
figures = SUITE.figures
