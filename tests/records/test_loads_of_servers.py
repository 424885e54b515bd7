"""Whether a client kept up with its own load: the bounds, from both sides, and what is said beyond them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.records.loads import ClientOverhead, LoadBlock

AT_THE_BOUNDS = ClientOverhead(1.0, 5.0, 70.0, 2.0, 10.0, 0.9, "asyncio")


def test_at_every_bound_the_load_still_counts() -> None:
    assert AT_THE_BOUNDS.reasons() == ()
    assert replace(AT_THE_BOUNDS, lag_p99_ms=None).reasons() == ()
    assert LoadBlock("all at once", (), AT_THE_BOUNDS).void == ()


@pytest.mark.parametrize(
    ("beyond", "said"),
    [
        ({"late_p99_ms": 5.06}, "1 % of the requests were sent 5.1 ms late or later, and at most 5 ms"),
        (
            {"lag_p99_ms": 10.06},
            "its event loop was 10.1 ms late or later in 1 % of the looks, and at most",
        ),
        ({"cpu_share": 0.906}, "it used 91% of a core, and at most 90%"),
    ],
)
def test_beyond_one_of_them_it_does_not(beyond: dict[str, float], said: str) -> None:
    (reason,) = replace(AT_THE_BOUNDS, **beyond).reasons()  # type: ignore[arg-type]
    assert reason.startswith(f"the client was the bottleneck: {said}")
    assert reason.endswith("are allowed")


def test_every_reason_is_kept_and_the_stop_comes_last() -> None:
    slow = ClientOverhead(1.0, 6.0, 7.0, 2.0, 11.0, 1.0, "asyncio")
    assert len(slow.reasons()) == 3
    block = LoadBlock("all at once", (), slow, stopped="the server ended")
    assert block.void == (*slow.reasons(), "the server ended")
    assert replace(block, client=AT_THE_BOUNDS).void == ("the server ended",)


def test_a_journal_gives_it_back() -> None:
    assert ClientOverhead.from_json(json.loads(json.dumps(AT_THE_BOUNDS.to_json()))) == AT_THE_BOUNDS
