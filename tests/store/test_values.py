"""Values of a results directory that look right to one parser and not to the next."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from bench.store.row_blocks import KernelBlock, Workload
from bench.store.schema import Profile
from bench.store.values import MOST_REPLY, Reply, Stamp

KERNEL = {"operator": "mm", "calls": 1, "self_ms": 1.0, "share": 0.5}


@pytest.mark.parametrize(
    "text",
    ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.123456+01:00", "0001-01-01T00:00:00+23:59"],
)
def test_a_time(text: str) -> None:
    assert TypeAdapter(Stamp).validate_python(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "20260131T120000Z", "2026-W05-6T12:00:00Z", "2026-01-31 12:00:00Z", "2026-01-31\x1b12:00:00Z",
        "2026-01-31\n12:00:00Z", "2026-01-31T12:00:00", "2026-02-30T12:00:00Z", "2026-01-31T12:00:00Z\n",
        "２０２６-01-31T12:00:00Z", "2026-01-31T25:00:00Z", "2026-01-31T::::::::Z", "", "now",
    ],
)  # fmt: skip
def test_what_python_alone_calls_a_time(text: str) -> None:
    """Its first ten letters are shown as the day, and are taken for one."""
    with pytest.raises(ValidationError):
        TypeAdapter(Stamp).validate_python(text)


def test_a_reply_has_a_length() -> None:
    assert TypeAdapter(Reply).validate_python("x" * MOST_REPLY)
    for bad in ("x" * (MOST_REPLY + 1), "\ud800"):
        with pytest.raises(ValidationError):
            TypeAdapter(Reply).validate_python(bad)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Workload, {"batch_size": 4097}), (Workload, {"batch_size": -1}), (Workload, {"requests": 10**7}),
        (Profile, {"kernels": [KERNEL] * 21}), (KernelBlock, {**KERNEL, "operator": "x" * 20_001}),
        (KernelBlock, {**KERNEL, "share": 1.5}),
    ],
)  # fmt: skip
def test_more_than_a_row_has(kind: Any, value: Any) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate(value)
