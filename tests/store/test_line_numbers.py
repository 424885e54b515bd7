"""A line of a journal is the same after its numbers were taken out and put back, whatever it holds."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.store.chain import MOST_IN_A_LINE, seal
from bench.store.line_numbers import CHECK, OTHER, PREV, WHOLE, CannotRebuild, Sample, frame_of, line_of

PREVIOUS = hashlib.sha256(b"the line before").hexdigest()
TEXTS = st.text(st.characters(codec=None, exclude_categories=()), max_size=12)  # lone surrogates, too
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**39), 10**39) | st.integers(-100, 100) | TEXTS,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


def line(payload: dict[str, Any]) -> bytes:
    link = {"seq": 7, "prev": PREVIOUS, "kind": "arm", "at_utc": "2026-11-30T00:00:00Z"}
    return seal({key: value for key, value in payload.items() if key != "check"} | link)


def again(whole: bytes) -> tuple[bytes, list[Sample]]:
    frame, samples = frame_of(whole, json.loads(whole))
    numbers = iter([(sample.digits, sample.power) for sample in samples])
    rebuilt = line_of(frame, PREVIOUS, numbers)
    assert next(numbers, None) is None
    return rebuilt, samples


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
@example({"a": {"check": "0" * 64}, "nested": {"prev": PREVIOUS, "check": "0" * 64, "seq": 7}})
@example({"a": "[1,2.5,-3]", "b": '\\"1', "c": "\x01\x02\x03\x04", "d": "\\"})
@example({"a": [-0.0, 0.0, 5e-324, 1.7976931348623157e308, 1e16, 1.2345678901234567e16, 12345678901234567]})
@example({"a": [2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**39], "NaN": ["NaN", "Infinity"]})
def test_a_line_comes_back_byte_for_byte(payload: dict[str, Any]) -> None:
    whole = line(payload)
    assert again(whole)[0] == whole


@pytest.mark.parametrize(
    "number", ["1E5", "1.50", "-0", "-0.0", "0.1e1", "1e22", "1e400", "1e-400", "9" * 40, "1e5", "100000.0"]
)
def test_a_number_that_others_write(number: str) -> None:
    rest = f'{{"at_utc":"x","kind":"k","n":[{number},3],"prev":"{PREVIOUS}","seq":7}}'
    check = hashlib.sha256(rest.encode()).hexdigest()
    whole = rest.replace('"kind"', f'"check":"{check}","kind"').encode() + b"\n"
    rebuilt, samples = again(whole)
    assert rebuilt == whole
    assert samples[-1] == Sample("n", 3, 0)


def test_what_is_taken_out() -> None:
    whole = line({"name": "fast", "turns": [{"ns": [5, 6], "s": 0.25}, {"ns": [7], "s": 1e-7}], "on": True})
    frame, samples = frame_of(whole, json.loads(whole))
    assert samples == [
        Sample("turns.ns", 5, 0), Sample("turns.ns", 6, 0), Sample("turns.s", 25, -2),
        Sample("turns.ns", 7, 0), Sample("turns.s", 1, -7),
    ]  # fmt: skip
    assert frame == (
        b'{"at_utc":"2026-11-30T00:00:00Z",' + CHECK + b'"kind":"arm","name":"fast","on":true,' + PREV
        + b',"seq":7,"turns":[{"ns":[' + WHOLE + b"," + WHOLE + b'],"s":' + OTHER + b'},{"ns":[' + WHOLE
        + b'],"s":' + OTHER + b"}]}\n"
    )  # fmt: skip


def test_too_few_numbers_and_too_many_places() -> None:
    whole = line({"a": [1, 2]})
    frame, samples = frame_of(whole, json.loads(whole))
    with pytest.raises(CannotRebuild, match="fewer"):
        line_of(frame, PREVIOUS, iter([(samples[0].digits, 0)]))
    with pytest.raises(CannotRebuild, match="power of ten"):
        line_of(frame, PREVIOUS, iter([(1, 0), (2, 1)]))
    many = b"[" + WHOLE * (MOST_IN_A_LINE.values + MOST_IN_A_LINE.containers + 1) + b"]"
    with pytest.raises(CannotRebuild, match="more than"):
        line_of(many, PREVIOUS, iter([(1, 0)] * len(many)))


def test_a_key_of_megabytes_is_not_repeated_for_each_number() -> None:
    whole = line({"k" * 1_000_000: {"n" * 1000: list(range(1000))}})
    assert {len(sample.path) for sample in again(whole)[1]} == {120}
