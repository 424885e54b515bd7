"""The estimate of a row, on a model of round numbers: a pass takes 1 s a token and 1000 s an output.

Seconds are then read off: 3020.0 is three outputs and twenty tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from bench.cli import drift_time
from bench.cli.drift_time import (
    VALUE_S,
    _answers_s,
    _tokens,
    drift_s,
    floors_s,
    learning_s,
    suites_s,
    together_s,
)
from bench.cli.expected import PROCESS_BYTES, PROMPT_TOKENS, START_S, Beside, Load, batches
from bench.config.settings import RuntimeBlock, WorkloadBlock
from bench.drift.behaviour import Suite
from bench.models.reference import Named, Random
from bench.plan.roofline import Ceilings
from bench.worker.shared_beginnings import LEAST

FACTS: Any = SimpleNamespace(
    weights_bytes=lambda bits: 1_000_000 * bits,
    cache_bytes=lambda tokens, item: tokens * item,
    vocabulary=100,
)
RATES = Ceilings(1.0, 1.0, 0.0)


@dataclass(frozen=True)
class Toy(Load):
    def pass_s(self, tokens: int, outputs: int | None = None) -> float:
        return self.rates.bytes_per_s * (tokens + 1000 * (tokens if outputs is None else outputs))


def toy(
    workload: dict[str, Any] | None = None,
    runtime: dict[str, Any] | None = None,
    beside: Any = (),
    **arm: Any,
) -> Toy:
    given: Any = SimpleNamespace(
        workload=WorkloadBlock(**{"input_tokens": 10, "output_tokens": 3, "requests": 7, **(workload or {})}),
        runtime=RuntimeBlock(**{"device": "cpu", **(runtime or {})}), model=Named("m"),
    )  # fmt: skip
    return Toy(given, FACTS, RATES, beside)


EDGE = Beside(toy({"batch_size": 2}, {"dtype": "float16"}))
DRAFTS = Beside(toy(), drafts=4)
DRAWS = Beside(toy({"batch_size": 2}), samples=5)


def test_bytes_of_weights_and_of_the_cache() -> None:
    assert toy().weights_bytes == 32_000_000
    assert toy(runtime={"dtype": "bfloat16"}).weights_bytes == 16_000_000
    assert toy(beside=(EDGE,)).weights_bytes == 32_000_000 + 16_000_000
    assert toy({"batch_size": 2}).cache_bytes == 2 * 13 * 4
    assert toy(beside=(EDGE,)).cache_bytes == 13 * 4 + 2 * 13 * 2
    assert DRAWS.cache_bytes == 2 * 13 * 4 + 5 * 13 * 4
    assert toy().serving_bytes == PROCESS_BYTES + 32_000_000 + 13 * 4
    assert toy().load_s == START_S + 0.032


def test_a_prompt_of_unknown_length() -> None:
    assert toy({"input_tokens": None}).prompt_tokens == PROMPT_TOKENS
    assert toy().prompt_tokens == 10


@pytest.mark.parametrize(("requests", "size", "count"), [(7, 1, 7), (7, 2, 4), (8, 2, 4), (7, 9, 1)])
def test_the_last_batch_may_be_smaller(requests: int, size: int, count: int) -> None:
    assert batches(toy({"requests": requests, "batch_size": size}).arm) == count


def test_a_batch_is_a_prompt_and_a_step_for_each_further_token() -> None:
    assert toy().batch_s == (10 + 1000) + 2 * 1001
    assert toy({"batch_size": 2}).batch_s == (20 + 2000) + 2 * 2002
    assert toy(runtime={"task": "embedding"}).batch_s == 1010
    assert toy().round_s == 7 * toy().batch_s
    assert toy().alone_s == (7 + 3) * toy().batch_s


def test_second_models_add_to_a_batch() -> None:
    alone = toy().batch_s
    assert toy(beside=(EDGE,)).batch_s == alone + EDGE.load.batch_s
    assert DRAFTS.batch_s == 2 * 4 * 1001  # four drafts for each token after the first
    drawn = (5 * 10 + 5000) + 2 * 5005
    assert DRAWS.drawn_s(10, 3) == drawn
    assert DRAWS.batch_s == DRAWS.load.batch_s + 2 * drawn
    assert EDGE.drawn_s(10, 3) == DRAWS.drawn_s(10, 0) == 0.0


@pytest.mark.parametrize(
    ("processes", "device", "turns"), [(4, "cpu", 2), (7, "cpu", 1), (3, "cpu", 3), (4, "cuda", 12)]
)
def test_a_pair_loads_at_once_and_decodes_in_turns(processes: int, device: str, turns: int) -> None:
    """The slower of both starts decides; with four processes each has two of seven batches."""
    base, slow = toy({"warmup": 1}), toy({"warmup": 5, "output_tokens": 5}, {"device": device})
    begun = slow.load_s + 5 * slow.batch_s
    assert slow.pair_s(base, processes) == pytest.approx(begun + turns * (base.batch_s + slow.batch_s))


# ---- drift -------------------------------------------------------------------------------------------


def spec(tokens: int = 0, window: int = 10) -> Any:
    return SimpleNamespace(drift=SimpleNamespace(tokens=tokens, window=window, items=8))


COMPARED_S = 10 * 100 * VALUE_S  # softmax and KL of a window of ten positions
WHOLE_S = 10 + 10_000  # a pass over ten tokens with all its outputs
RANDOM = replace(toy(), arm=SimpleNamespace(**{**vars(toy().arm), "model": Random("tiny-llama")}))  # type: ignore


def test_windows_of_drift_are_read_by_both_sides() -> None:
    assert drift_s(spec(50), toy(), toy()) == pytest.approx(5 * (2 * WHOLE_S + COMPARED_S))
    assert drift_s(spec(50), toy(), RANDOM) == drift_s(spec(50), RANDOM, toy()) == 0.0


def test_texts_of_encoders_are_read_by_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = SimpleNamespace(texts=("x" * 40, "x" * 3))  # ten tokens, and one at least
    monkeypatch.setattr(drift_time, "set_for", lambda task, items: texts)
    encoder = toy(runtime={"task": "embedding"})
    assert drift_s(spec(50), encoder, encoder) == 2 * (WHOLE_S + 1001)
    assert drift_s(spec(0), encoder, encoder) == 0.0
    assert [_tokens("x" * length) for length in (0, 4, 7, 8)] == [1, 1, 1, 2]


@pytest.mark.parametrize(("threads", "other"), [(1, 2), (2, 1), (None, 1)])
def test_noise_floors_are_a_window_computed_in_three_other_ways(threads: int | None, other: int) -> None:
    asked: list[Any] = []

    def rates_of(*of: Any) -> Ceilings:
        asked.append(of)
        return replace(RATES, bytes_per_s=2.0)

    base = toy(runtime={"threads": threads, "dtype": "bfloat16"})
    longer, double = 1001 * (10 + drift_time.FLOOR_EXTRA), 1001 * 20
    once = 3 * (WHOLE_S + COMPARED_S) + longer + double + 2 * WHOLE_S
    assert floors_s(spec(50), base, rates_of) == pytest.approx(drift_time.FLOOR_WINDOWS * once)
    assert asked == [("cpu", other, "bfloat16")]


def test_another_number_of_threads_is_tried_in_our_own_engine_on_a_cpu() -> None:
    def never(*of: Any) -> Ceilings:
        raise AssertionError(of)

    once = 2 * (WHOLE_S + COMPARED_S) + 1001 * (10 + drift_time.FLOOR_EXTRA) + 1001 * 20
    for runtime in ({"device": "cuda"}, {"name": "openvino"}):
        found = floors_s(spec(50), toy(runtime=runtime), never)
        assert found == pytest.approx(drift_time.FLOOR_WINDOWS * once)
    assert floors_s(spec(0), toy(), never) == floors_s(spec(50), RANDOM, never) == 0.0
    assert floors_s(spec(50), toy(runtime={"task": "embedding"}), never) == 0.0


@pytest.mark.parametrize(
    ("requests", "tokens", "seconds"),
    [
        (7, 3, 4 * (1010 + 2 * 1001) + (40 + 4000) + 2 * 4004),
        (2, 3, 2 * (1010 + 2 * 1001) + (20 + 2000) + 2 * 2002),
        (7, 99, 4 * (1010 + 15 * 1001) + (40 + 4000) + 15 * 4004),  # sixteen tokens are compared
        (1, 3, 0.0),
    ],
)
def test_a_few_requests_alone_and_together(requests: int, tokens: int, seconds: float) -> None:
    assert together_s(toy({"requests": requests, "output_tokens": tokens})) == seconds
    assert together_s(RANDOM) == together_s(toy(runtime={"task": "embedding"})) == 0.0


CHOICES = [{"prompt": "x" * 40, "choices": ["a", "b", "c"]}]
REPLIES = [{"prompt": "x" * 40}, {"prompt": "x" * 80}]
BEHIND_S = 10 + 3 * 1001  # the prompt once, without logits


def test_each_choice_is_a_pass_or_behind_one_and_each_reply_a_few_steps() -> None:
    assert _answers_s(toy(), CHOICES, 0, 1) == 3 * WHOLE_S
    assert _answers_s(toy(), CHOICES, 0, 4) == BEHIND_S
    assert _answers_s(toy(runtime={"name": "numpy"}), CHOICES, 0, 4) == 3 * WHOLE_S
    assert _answers_s(toy(), REPLIES, 6, 4) == WHOLE_S + 1001 * 20 + 2 / 4 * 6 * 1001
    assert _answers_s(toy(), REPLIES, 6, 1) == WHOLE_S + 1001 * 20 + 2 * 6 * 1001


def test_a_long_beginning_of_several_prompts_is_read_once() -> None:
    """By the engine that keeps it; an engine of another kind, and a cascade, read each prompt whole."""
    long = "x" * 4 * LEAST
    asked = [{"prompt": long + end} for end in ("a" * 40, "b" * 40)] + [{"prompt": "y" * 2000}]
    first, other, steps = 1001 * (LEAST + 10), 1001 * 500, 3 * 6 * 1001
    assert _answers_s(toy(), asked, 6, 3) == first + 1001 + other + steps / 3
    assert _answers_s(toy(), asked, 6, 1) == 2 * first + other + steps
    assert _answers_s(toy(runtime={"name": "numpy"}), asked, 6, 3) == 2 * first + other + steps / 3
    assert _answers_s(toy(), asked, 0, 3) == 2 * first + other


def test_suites_of_a_row_and_of_a_cascade() -> None:
    asked: Any = [(Suite("a", ""), CHOICES), (Suite("b", "", output_tokens=6), REPLIES)]
    choices, read = 3 * WHOLE_S, WHOLE_S + 1001 * 20
    assert suites_s(asked, toy()) == BEHIND_S + read + 3 * 1001
    assert suites_s(asked, toy(beside=(DRAFTS,))) == suites_s(asked, toy())
    one_by_one = choices + read + 12 * 1001  # of each model
    assert suites_s(asked, toy(beside=(EDGE,))) == 2 * one_by_one
    drawn = DRAWS.drawn_s(10, 6) + DRAWS.drawn_s(20, 6)
    assert suites_s(asked, toy(beside=(DRAWS,))) == 2 * one_by_one + drawn
    assert suites_s(asked, RANDOM) == suites_s([], toy()) == 0.0


def test_the_questions_that_train_a_rule_are_answered_by_both() -> None:
    edge = replace(EDGE, asked=((0, CHOICES), (6, REPLIES)))
    assert learning_s(toy(), edge) == 2 * BEHIND_S + 2 * (WHOLE_S + 1001 * 20) + (3 + 12) * 1001
