"""A worker's answer is whole, or it is refused: nothing is averaged over what did come."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import Outcome, VariantFailed
from bench.measure import replies
from bench.records import Windows

ASKED = replies.Asked(requests=3, turns=2)
BATCH = {"sent_ns": 0, "stamps_ns": [5, 9], "end_ns": 9, "input_tokens": [4, 4], "tokens": [[1, 2], [3, 4]]}
LAST = {"sent_ns": 10, "stamps_ns": [15, 19], "end_ns": 20, "input_tokens": [4], "tokens": [[1, 2]]}
WINDOW = {"kld": [0.1], "same_top": [1], "ln_p_base": [-1.0], "ln_p_variant": [-1.0]}
GOOD: dict[str, dict[str, Any]] = {
    "load": {
        "facts": {"device": "cpu", "dtype": "float32", "vocabulary": 9, "random_weights": False},
        "load_s": 1.0,
        "optimise_s": 0.0,
        "load_memory": {"peak_rss_bytes": 5},
        "weights_bytes": 4,
        "bytes_by_dtype": {"float32": 4},
        "parameters": 1,
        "evidence": [{"step": "runtime"}],
    },
    "prompts": {"digest": "d", "input_tokens": [1, 2, 3], "end_ids": []},
    "warm_up": {"durations_ms": [5.0, 5.1], "steady": True, "first_request_ms": 5.0},
    "profile": {"kernels": []},
    "device_times": {"prefill_ns": [5], "steps_ns": [[3]]},
    "solo": {"batches": [BATCH, LAST]},
    "memory": {"prefill": {"peak_rss_bytes": 1}, "decode": {"peak_rss_bytes": None}},
    "energy": {"energy_j": None, "energy_valid": False, "code": "nvml_missing", "reason": "none"},
    "ceilings": {"memory_bytes_per_s": 1e9, "matmul_flop_per_s": 1e12},
    "corpus": {"tokens": 100, "digest": "d"},
    "floor": {"windows": [WINDOW]},
    "score": {"windows": [WINDOW]},
    "duet": {"durations_ns": [[1, 2]]},
    "count": {
        "requests": 2,
        "input_tokens": 8,
        "output_tokens": 4,
        "forward_calls": None,
        "flops": 9,
        "kv_cache_bytes": None,
    },
    "probe": {"threads_alive": 3.0, "minor_page_faults_per_request": None},
    "export": {"parameters": 4, "logits_apart": 0.0},
    "together": {"requests": 4, "differ": 1},
}
COMMANDS = {one.do: one for one in vars(replies).values() if isinstance(one, replies.Command)}
FREE = ("ceilings", "probe")  # their keys are their own  # fmt: skip


def windows_of(*windows: dict[str, Any]) -> Windows:
    return replies.read(replies.SCORE, {"windows": list(windows)}, ASKED)


def refused(do: str, reply: Any) -> str:
    with pytest.raises(VariantFailed) as caught:
        replies.read(COMMANDS[do], reply, ASKED)
    assert caught.value.outcome == Outcome.PROTOCOL_ERROR
    assert do in caught.value.reason
    return caught.value.reason


@pytest.mark.parametrize("do", GOOD)
def test_a_whole_answer_is_taken(do: str) -> None:
    replies.read(COMMANDS[do], GOOD[do], ASKED)


@pytest.mark.parametrize("do", GOOD)
def test_an_empty_answer_is_not(do: str) -> None:
    if do not in FREE:
        refused(do, {})


@pytest.mark.parametrize("do", GOOD)
def test_no_key_may_be_missing(do: str) -> None:
    for key in GOOD[do]:
        if do not in FREE:
            refused(do, {k: v for k, v in GOOD[do].items() if k != key})


@pytest.mark.parametrize("do", GOOD)
@given(junk=st.none() | st.text(max_size=3) | st.lists(st.integers(), max_size=2) | st.integers(-9, 0))
def test_junk_is_refused_or_harmless_and_never_an_accident(do: str, junk: object) -> None:
    for key in GOOD[do]:
        with suppress(VariantFailed):
            replies.read(COMMANDS[do], {**GOOD[do], key: junk}, ASKED)


def edited(edit: Callable[[list[dict[str, Any]]], object]) -> dict[str, Any]:
    batches = copy.deepcopy(GOOD["solo"]["batches"])
    edit(batches)
    return {"batches": batches}


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda b: b.pop(), "2 requests instead of 3"),
        (lambda b: b.append(copy.deepcopy(LAST)), "4 requests instead of 3"),
        (lambda b: b[0]["tokens"].append([1, 2]), "4 requests instead of 3"),
        (lambda b: b[0]["tokens"][0].pop(), "1 tokens instead of 2"),
        (lambda b: b[0]["stamps_ns"].append(11), "3 time stamps instead of 2"),
        (lambda b: b[0]["stamps_ns"].reverse(), "not above zero"),
        (lambda b: b[0].update(stamps_ns=[5, 5]), "not above zero"),
        (lambda b: b[1].update(sent_ns=15), "not above zero"),
        (lambda b: b[0].update(end_ns=8), "ended before its last token"),
        (lambda b: b[0]["input_tokens"].pop(), "1 prompt lengths instead of 2"),
        (lambda b: b[0].update(stamps_ns=[5.5, 9.2]), "stamps_ns"),
        (lambda b: b[0].update(stamps_ns=["soon", 9]), "stamps_ns"),
    ],
)
@pytest.mark.fault(20, 22)
def test_times_and_requests_that_cannot_be(edit: Any, problem: str) -> None:
    assert problem in refused("solo", edited(edit))


def test_prompts_that_are_missing() -> None:
    assert "2 prompts instead of 3" in refused("prompts", {**GOOD["prompts"], "input_tokens": [1, 2]})
    refused("prompts", {**GOOD["prompts"], "input_tokens": [1, 2, 0]})


def test_a_model_that_says_nothing_about_itself() -> None:
    assert "facts.dtype: " in refused(
        "load", {**GOOD["load"], "facts": {"device": "cpu", "random_weights": True}}
    )


def test_a_warm_up_in_no_time() -> None:
    refused("warm_up", {**GOOD["warm_up"], "durations_ms": [0.0, 0.0]})


def test_a_machine_without_speed() -> None:
    refused("ceilings", {"memory_bytes_per_s": 0.0, "matmul_flop_per_s": 1.0})


@pytest.mark.parametrize(
    ("key", "value"), [("kld", -0.1), ("kld", 2e6), ("ln_p_base", 0.1), ("ln_p_variant", -2e6)]
)
def test_a_window_holds_no_likelihood_that_none_can_be(key: str, value: float) -> None:
    """A journal would not be read with it, so the row ends where it comes from."""
    with pytest.raises(VariantFailed, match=r"that none can be|more than a million nats"):
        replies.check_windows(windows_of({**WINDOW, key: [value]}), 1, 1)


@pytest.mark.fault(22)
def test_windows_are_complete() -> None:
    replies.check_windows(windows_of(WINDOW, WINDOW), 2, 1)
    for windows, positions in ((3, 1), (2, 2)):
        with pytest.raises(VariantFailed, match="instead of"):
            replies.check_windows(windows_of(WINDOW, WINDOW), windows, positions)
    with pytest.raises(VariantFailed):
        replies.check_windows(windows_of(WINDOW, {**WINDOW, "ln_p_base": []}), 2, 1)


def test_further_statistics_are_complete_too() -> None:
    """One from another package may give one number for a whole window, say."""
    replies.check_windows(windows_of({**WINDOW, "more": {"jsd": [0.1]}}), 1, 1)
    with pytest.raises(VariantFailed, match="2 positions instead of 1"):
        replies.check_windows(windows_of({**WINDOW, "more": {"jsd": [0.1, 0.2]}}), 1, 1)


def test_kinds_and_ranges_are_complete_too() -> None:
    whole = {"windows": [{**WINDOW, "kinds": "l"}], "logits": [[-1.0, 2.0]]}
    replies.check_windows(replies.read(replies.SCORE, whole, ASKED), 1, 1)
    for spoiled in ({"windows": [{**WINDOW, "kinds": "ll"}]}, {"logits": [[-1.0, 2.0]] * 2}):
        with pytest.raises(VariantFailed, match="instead of 1"):
            replies.check_windows(replies.read(replies.SCORE, {**whole, **spoiled}, ASKED), 1, 1)
    assert "smallest logit" in refused("score", {**whole, "logits": [[2.0, -1.0]]})
    read = {"format": "float16", "looked": 4, "reach": 1.0, "layers": {"a": 3, "b": 2}}
    assert "at the end of their format than there are" in refused("score", {**whole, "activations": read})
    assert "5 of 4" in refused("together", {"requests": 4, "differ": 5})
    with pytest.raises(VariantFailed, match="2 fingerprints of replies instead of 1"):
        replies.turn_times({"durations_ns": [[1, 2]], "replies": ["a", "b"]}, 1, 2)


def test_a_whole_answer_is_one_turn_of_any_length() -> None:
    whole = {"sent_ns": 0, "stamps_ns": [5], "end_ns": 6, "input_tokens": [4], "tokens": [[1, 2, 3]]}
    found = replies.read(replies.SOLO, {"batches": [whole]}, replies.Asked(requests=1, turns=1))
    assert found.batches[0].whole
    with pytest.raises(VariantFailed, match="1 time stamps instead of 2"):
        replies.read(replies.SOLO, {"batches": [whole]}, replies.Asked(requests=1, turns=2))
