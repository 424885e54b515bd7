"""Two replies beside each other, letter by letter."""

from __future__ import annotations

from bench.report.side_by_side import NONE, WIDTH, render
from bench.results.examples import Example


def test_where_two_replies_begin_to_differ() -> None:
    example = Example("reply", "p" * 190 + "\nlast words", "The cat sat.", "The cow.", 5)
    (head, prompt, names, rule, texts) = render([("int8", [example])]).splitlines()
    assert head == "int8, 1: reply"
    assert prompt == f"  prompt: {'p' * 189}⏎last words"
    assert names == f"  {'baseline':<{WIDTH}}  variant"
    assert rule == f"  {'--------':<{WIDTH}}  -------"
    assert texts == f"  {'The c▸at sat.':<{WIDTH}}  The c▸ow."


def test_the_longer_side_decides_how_tall_it_is() -> None:
    words = "word " * 30
    lines = render([("row", [Example("s", "p", words, "", 0)])]).splitlines()
    assert [line[2 : 2 + WIDTH].strip() for line in lines[4:]] == [
        f"▸{'word ' * 10}".strip(), ("word " * 10).strip(), ("word " * 10).strip()
    ]  # fmt: skip
    assert [line[4 + WIDTH :] for line in lines[4:]] == ["▸", "", ""]


def test_each_row_counts_its_own() -> None:
    one = Example("reply", "p", "a", "b", 0)
    found = render([("x", [one, one]), ("y", []), ("z", [one])])
    assert [block.splitlines()[0] for block in found.split("\n\n")] == [
        "x, 1: reply",
        "x, 2: reply",
        "z, 1: reply",
    ]
    assert render([("y", [])]) == render([]) == NONE
