"""The checks that decoding by steps is one pass, on models that are tables: each of their faults by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from fake_engine import FakeEngine

from bench.engine.evidence import Check
from bench.engine.stepping import by_batch, by_steps, that_fit

KINDS = 20
TABLE = np.random.default_rng(3).normal(size=(KINDS, KINDS))


class Table(FakeEngine):
    """The logits after a token are a row of a table. ``rank`` is which of them is decoded (0: the best), and
    ``peek`` how much the logits of a token depend on the last token of all."""

    def __init__(self, rank: int = 0, peek: float = 0.0, parameters: int = 1, **facts: object) -> None:
        super().__init__(facts={"vocabulary": KINDS, "context": None, **facts})
        self.rank, self.peek, self._parameters = rank, peek, parameters
        self.prompts: list[list[int]] = []
        self.asked = self.steps = 0

    def parameters(self) -> int:
        return self._parameters

    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[int]]:
        self.prompts, self.asked, self.steps = [list(one) for one in prompts], new_tokens, 0
        return [[self._next(one[-1])] for one in prompts]

    def step(self, generation: list[list[int]]) -> None:
        self.steps += 1
        for row in generation:
            row.append(self._next(row[-1]))

    def _next(self, token: int) -> int:
        return int(np.argsort(-TABLE[token], kind="stable")[self.rank])

    def logits(self, ids: Sequence[int]) -> Any:
        return np.stack([TABLE[one] + self.peek * ids[-1] * (np.arange(KINDS) == 4) for one in ids])

    def cache_bytes(self, generation: list[list[int]]) -> int | None:
        return 100 + 8 * len(generation[0])


def found(checks: Sequence[Check]) -> list[bool]:
    return [one.holds for one in checks]


def test_a_model_that_decodes_what_it_scores() -> None:
    engine = Table()
    checks, a_token = by_steps(engine, engine.facts())
    assert found(checks) == [True, True]
    assert a_token == 8.0
    assert ([len(one) for one in engine.prompts], engine.asked, engine.steps) == ([48], 13, 12)
    assert found(by_batch(engine, engine.facts())) == [True]
    assert ([len(one) for one in engine.prompts], engine.asked, engine.steps) == ([48, 24], 13, 12)
    assert found(by_batch(engine, engine.facts(), padded=False)) == [True]
    assert ([len(one) for one in engine.prompts], engine.asked, engine.steps) == ([48, 48], 13, 12)
    assert engine.prompts[0][:3] == [3, 4, 5]
    assert engine.prompts[1][:3] == [10, 11, 12]  # another prompt, not the beginning of the longer one


def test_how_far_below_the_best_its_tokens_lie() -> None:
    """The second best is decoded. The mean of its distance is counted by a plain loop."""
    engine = Table(rank=1)
    checks, _a_token = by_steps(engine, engine.facts())
    token, below = engine.prompts[0][-1], []
    for _ in range(13):
        first, second = sorted(TABLE[token], reverse=True)[:2]
        below.append((first - second) / TABLE[token].std())
        token = engine._next(token)
    assert found(checks) == [True, False]
    assert checks[1].found == f"{np.mean(below):.2g} sd of the logits below the best, over 13 tokens"
    assert found(by_batch(engine, engine.facts())) == [False]


def test_how_far_later_tokens_move_the_logits() -> None:
    """Token 4's logit moves by 0.5 for each number that the last token is larger, and no other one does."""
    engine = Table(peek=0.5)
    checks, _a_token = by_steps(engine, engine.facts())
    prompt = engine.prompts[0]
    reply = [token := engine._next(prompt[-1])]
    for _ in range(11):
        reply.append(token := engine._next(token))
    alone = engine.logits(prompt)
    moved = [abs(0.5 * (reply[-1] - prompt[-1])) / KINDS / row.std() for row in alone]
    assert checks[0].found == f"moved by {np.mean(moved):.2g} sd of the logits"
    assert found(checks)[0] is (bool(np.mean(moved) <= 0.02))


@pytest.mark.parametrize(
    ("facts", "parameters", "tokens", "steps"),
    [
        ({}, 999_999_999, 48, 12),
        ({}, 1_000_000_000, 16, 4),
        ({"device": "cuda"}, 1_000_000_000, 48, 12),
        ({"context": 60}, 1, 48, 12),
        ({"context": 59}, 1, 47, 12),
        ({"context": 13}, 1, 1, 12),
        ({"context": 10}, 1, 1, 9),
        ({"context": 1}, 1, 1, 1),
    ],
)
def test_prompt_and_reply_fit_the_context(
    facts: dict[str, object], parameters: int, tokens: int, steps: int
) -> None:
    engine = Table(parameters=parameters, **facts)
    by_steps(engine, engine.facts())
    assert (len(engine.prompts[0]), engine.steps) == (tokens, steps)


@pytest.mark.parametrize(
    ("context", "lengths", "steps"),
    [(60, [48, 24], 12), (24, [12, 6], 12), (23, [12, 6], 11), (2, [1, 1], 1), (1, [1, 1], 1)],
)
def test_both_prompts_of_a_batch_fit_the_context(context: int, lengths: list[int], steps: int) -> None:
    engine = Table(context=context)
    by_batch(engine, engine.facts())
    assert ([len(one) for one in engine.prompts], engine.steps) == (lengths, steps)


@pytest.mark.parametrize(
    ("most", "new", "context", "fit"),
    [
        (48, 12, None, 48),
        (48, 12, 100, 48),
        (48, 12, 60, 48),
        (48, 12, 59, 47),
        (48, 12, 12, 1),
        (5, 0, 5, 5),
    ],
)  # fmt: skip
def test_the_prompt_that_leaves_room(most: int, new: int, context: int | None, fit: int) -> None:
    assert that_fit(most, new, context) == fit


@pytest.mark.parametrize(
    ("facts", "bound"),
    [
        ({}, (0.02, 0.002)),
        ({"dtype": "bfloat16"}, (0.3, 0.3)),
        ({"quantised_checkpoint": "gptq"}, (0.3, 0.3)),
    ],
)
def test_rounding_is_allowed_more(facts: dict[str, object], bound: tuple[float, float]) -> None:
    engine = Table(**facts)
    steps, _a_token = by_steps(engine, engine.facts())
    expected = [one.expected for one in (*steps, *by_batch(engine, engine.facts()))]
    assert expected == [f"at most {bound[0]}", f"at most {bound[0]}", f"at most {bound[1]}"]


def test_logits_that_are_not_finite_are_reported_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Table()
    monkeypatch.setitem(globals(), "TABLE", np.where(np.eye(KINDS) > 0, math.nan, TABLE))
    with np.errstate(invalid="ignore"):
        assert by_steps(engine, engine.facts()) == ([], 8.0)
        assert by_batch(engine, engine.facts()) == []
    engine.cache_bytes = lambda generation: None  # type: ignore[method-assign]
    assert by_steps(engine, engine.facts())[1] is None


def test_logits_that_are_all_alike_are_no_distance_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Table()
    monkeypatch.setitem(globals(), "TABLE", np.zeros((KINDS, KINDS)))
    checks, _a_token = by_steps(engine, engine.facts())
    assert found(checks) == [True, True]


def test_rows_that_are_mixed_in_a_batch() -> None:
    """RWKV of transformers adds up the states of all rows, at full speed, and is sound alone."""
    engine = Mixed()
    assert found(by_steps(engine, engine.facts())[0]) == [True, True]
    (one,) = by_batch(engine, engine.facts(), padded=False)
    assert not one.holds
    assert "mixes the rows of a batch: set batch_size to 1" in str(one.found)


class Mixed(Table):
    """Each row of a batch is continued after the last token of the first row."""

    def step(self, generation: list[list[int]]) -> None:
        for row, token in [(row, self._next(generation[0][-1])) for row in generation]:
            row.append(token)
