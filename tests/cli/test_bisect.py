"""The search for the commit that made it more expensive."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.cli.bisect import bisect
from bench.gate.finding import GateVerdict


def search(
    count: int, first_bad: int, undecided: frozenset[int] = frozenset()
) -> tuple[tuple[str, ...], list[int]]:
    """Search ``count`` commits, of which those from ``first_bad`` on are worse; the last is known to be."""
    asked: list[int] = []

    def verdict(commit: str) -> GateVerdict:
        number = int(commit)
        asked.append(number)
        if number in undecided:
            return GateVerdict.INCONCLUSIVE
        return GateVerdict.FAIL if number >= first_bad else GateVerdict.PASS

    found = bisect([str(n) for n in range(count)], verdict)
    assert found.steps == len(asked)
    return found.suspects, asked


@given(st.integers(1, 200), st.data())
def test_the_first_bad_commit_is_found_in_few_steps(count: int, data: st.DataObject) -> None:
    first_bad = data.draw(st.integers(0, count - 1))
    suspects, asked = search(count, first_bad)
    assert suspects == (str(first_bad),)
    assert len(asked) <= math.ceil(math.log2(count)) if count > 1 else asked == []


@given(st.integers(2, 40), st.data())
def test_what_cannot_be_decided_stays_among_the_suspects(count: int, data: st.DataObject) -> None:
    first_bad = data.draw(st.integers(0, count - 1))
    undecided = data.draw(st.frozensets(st.integers(0, count - 2)))
    suspects, asked = search(count, first_bad, undecided)
    assert str(first_bad) in suspects
    assert len(asked) == len(set(asked)), "no commit is measured twice"
    assert {int(one) for one in suspects[:-1]} <= undecided, "all before the last could not be decided"


@pytest.mark.parametrize("word", ["IDENTICAL", "UNREACHED"])
def test_a_change_that_is_not_measured_did_not_do_it(word: str) -> None:
    found = bisect(["a", "b", "c"], lambda commit: GateVerdict.FAIL if commit == "c" else GateVerdict(word))
    assert found.suspects == ("c",)
