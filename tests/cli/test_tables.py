"""Rows of cells as lines: aligned columns, and where the last one wraps or goes below."""

from __future__ import annotations

import pytest

from bench.cli.plan_words import bounds, dollars, ms
from bench.cli.tables import LEAST_WIDTH, align

ROWS = [("a", "bbb", "last"), ("aaaa", "b", "")]


def test_columns_are_aligned_and_no_line_ends_in_spaces() -> None:
    assert align(ROWS) == ["a     bbb  last", "aaaa  b"]
    assert align([]) == []
    assert align([("only",)]) == ["only"]


WORDS = "word " * 20


@pytest.mark.parametrize("width", [LEAST_WIDTH + 2 + 5, 60, 80])
def test_the_last_column_wraps_within_the_width(width: int) -> None:
    lines = align([("abc", WORDS.strip())], width)
    assert len(lines) > 1
    assert all(len(line) + 2 <= width for line in lines)
    assert all(line.startswith(" " * 5 + "word") for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == f"abc {WORDS.strip()}"


def test_with_less_room_it_is_below() -> None:
    first, *below = align([("abc", WORDS.strip())], LEAST_WIDTH + 2 + 4)
    assert first == "abc"
    assert all(line.startswith("    word") and len(line) + 2 <= LEAST_WIDTH + 6 for line in below)


@pytest.mark.parametrize(("width", "count"), [(9, 1), (8, 3)])
def test_a_text_that_just_fits_is_one_line(width: int, count: int) -> None:
    assert len(align([("a", "four")], width)) == count


@pytest.mark.parametrize(
    ("usd", "text"),
    [(None, "-"), (999.5, "1,000"), (1000, "1,000"), (1234.6, "1,235"), (0.5, "0.500"), (0, "0")],
)
def test_dollars_in_words(usd: float | None, text: str) -> None:
    assert dollars(usd) == text


@pytest.mark.parametrize(
    ("usd", "interval", "text"),
    [
        (5.0, None, ""),
        (5.0, (5.0, 5.0), ""),
        (5.0, (5.0, 6.0), " [5.00, 6.00]"),
        (5.0, (4.0, 5.0), " [4.00, 5.00]"),
        (5.0, (4.0, None), " [4.00, never]"),
    ],
)
def test_bounds_of_a_month(usd: float, interval: tuple[float, float | None] | None, text: str) -> None:
    assert bounds(usd, interval) == text


def test_milliseconds_in_words() -> None:
    assert (ms(None), ms(12.5)) == ("-", "12.5")


def test_of_three_columns_the_last_wraps_between_words_only() -> None:
    words = "a-hyphenated-word " * 6
    first, *rest = align([("abc", "de", words.strip())], 60)
    assert first.startswith("abc  de  a-hyphenated-word")
    assert rest
    assert all(line.strip().split() == ["a-hyphenated-word"] * len(line.split()) for line in rest)
    assert all(line.startswith(" " * 9 + "a-") for line in rest)
