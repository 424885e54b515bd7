"""Decoding until every reply has ended: how many steps that takes, against counting them by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from fake_engine import FakeEngine

from bench.engine.decoding import CHECK_EVERY, until_ended

END = 2


class Ending(FakeEngine):
    """Each reply ends at its own token; ``ends_at`` has their numbers, from 1 on."""

    def __init__(self, *ends_at: int, whole: bool = False) -> None:
        super().__init__()
        self.ends_at, self.WHOLE_ANSWERS = ends_at, whole  # type: ignore[misc]
        self.asked = 0

    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[int]]:
        self.asked = new_tokens
        return [[self._token(row, 1)] for row in range(len(prompts))]

    def step(self, generation: list[list[int]]) -> None:
        for row, tokens in enumerate(generation):
            tokens.append(self._token(row, len(tokens) + 1))

    def _token(self, row: int, number: int) -> int:
        return END if number == self.ends_at[row] else 10 + number


@pytest.mark.parametrize(
    ("ends_at", "length"),
    [
        ((1,), 4),  # looked for after every fourth step only
        ((4,), 4),
        ((5,), 8),
        ((3, 6), 8),  # the last to end decides
        ((3, 99), 20),
        ((21,), 20),
    ],
)
def test_a_batch_ends_with_its_last_reply(ends_at: tuple[int, ...], length: int) -> None:
    assert CHECK_EVERY == 4
    engine = Ending(*ends_at)
    generation = until_ended(engine, [[1]] * len(ends_at), 20)
    assert [len(tokens) for tokens in generation] == [length] * len(ends_at)
    assert engine.asked == 20


def test_enough_ends_a_reply_too() -> None:
    engine = Ending(99, 99)
    assert len(until_ended(engine, [[1]] * 2, 20, lambda ids: 16 in ids)[0]) == 8
    assert len(until_ended(engine, [[1]] * 2, 20, lambda ids: False)[0]) == 20


def test_an_engine_of_whole_answers_takes_no_step() -> None:
    engine = Ending(99, whole=True)
    assert until_ended(engine, [[1]], 20) == [[11]]
    assert engine.asked == 1
