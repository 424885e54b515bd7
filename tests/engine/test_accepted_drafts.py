"""Speculative decoding by a model that is a function: its text is the model's, and every count is by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench.engine.speculation import Drafter, Speculation, Speculator
from bench.records import Speculated


def model(context: Sequence[int]) -> int:
    """The next token, which depends on the two before it."""
    return (context[-1] * 3 + context[-2]) % 7


def alone(context: Sequence[int], count: int) -> list[int]:
    tokens = list(context)
    for _ in range(count):
        tokens.append(model(tokens))
    return tokens[len(context) :]


class Guessing(Drafter):
    """Drafts the model's own tokens, of which every ``wrong``-th is another one."""

    def __init__(self, drafts: int, wrong: int) -> None:
        self.drafts, self.wrong, self.asked = drafts, wrong, list[int]()

    def begin(self) -> None:
        """Nothing is kept."""

    def propose(self, context: Sequence[int], most: int) -> list[int]:
        self.asked.append(most)
        right = alone(context, min(self.drafts, most))
        return [one + ((number + 1) % self.wrong == 0) for number, one in enumerate(right)]


class Run:
    """Decodes ``count`` tokens, with a cache that is as long as what was read less what was forgotten."""

    def __init__(self, drafter: Guessing, count: int) -> None:
        self.context, self.cached = [1, 5], 1  # the last token of the prompt is not in the cache yet
        self.forgotten: list[int] = []
        self.speculator = Speculator(drafter)
        one = Speculation(list(self.context), count)
        self.tokens = [one.next(self.speculator, self.verify, self.forget) for _ in range(count)]
        self.left = one.room

    def verify(self, ids: Sequence[int]) -> list[int]:
        assert self.context[self.cached] == ids[0]
        chosen = [model([*self.context, *ids[1 : place + 1]]) for place in range(len(ids))]
        self.cached += len(ids)
        self._drafted, self._chosen = list(ids[1:]), chosen
        return chosen

    def forget(self, count: int) -> None:
        self.forgotten.append(count)
        self.cached -= count
        kept = len(self._drafted) - count
        self.context += self._chosen[: kept + 1]
        assert self.cached == len(self.context) - 1


@pytest.mark.parametrize("drafts", [0, 1, 3, 9])
@pytest.mark.parametrize("wrong", [1, 2, 3, 99])
def test_the_text_is_the_model_s(drafts: int, wrong: int) -> None:
    run = Run(Guessing(drafts, wrong), 12)
    assert run.tokens == alone([1, 5], 12)
    assert run.left == 0


def test_the_counts_of_drafts_that_are_right_twice_in_three() -> None:
    """Each round of three drafts keeps two and adds one: 3 tokens a pass. The last round may draft two."""
    run = Run(drafter := Guessing(3, 3), 12)
    assert drafter.asked == [11, 8, 5, 2]
    assert run.forgotten == [1, 1, 1, 0]
    found = run.speculator.read()
    assert (found.passes, found.drafted, found.accepted) == (4, 11, 8)
    assert found.drafting_ns >= 0
    assert 0 < found.verifying_ns < 60e9  # not a time of the clock
    assert run.speculator.read() == Speculated(0, 0, 0, 0, 0)


def test_one_token_is_not_drafted_for() -> None:
    run = Run(drafter := Guessing(3, 99), 1)
    assert drafter.asked == []
    assert run.speculator.read().passes == 1
