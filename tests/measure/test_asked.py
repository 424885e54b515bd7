"""What a pair asks: own code is asked nothing twice in one process, if there is something else to ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.config.settings import RuntimeBlock, WorkloadBlock
from bench.config.spec import Arm
from bench.measure.asked import Asked, asked_of
from bench.models.reference import Named


def arm(engine: str = "callable", **workload: Any) -> Arm:
    load = WorkloadBlock(name="chat", **workload)
    return Arm("v", False, Named("smollm2-135m"), RuntimeBlock(name=engine), load, ())


@pytest.mark.parametrize("engine", ["callable", "command"])
@pytest.mark.parametrize("requests", [2, 3, 4, 5, 24])
def test_own_code_is_asked_nothing_twice_and_each_request_in_its_turn(engine: str, requests: int) -> None:
    """A cache in the process answered what it had warmed up with, or was asked a second time."""
    one = arm(engine, requests=requests)
    timed = []
    for number in range(1, requests + 1):
        found = asked_of(number, 4, one, one)
        assert len({found.first, *found.timed}) == 1 + min(4, requests - 1)
        assert not found.again
        timed += found.timed
    assert {timed.count(request) for request in range(requests)} == {len(timed) // requests}


def test_of_equal_requests_it_is_said_that_they_were_asked_before(tmp_path: Path) -> None:
    alone = arm(requests=1)
    assert asked_of(1, 4, alone, alone) == Asked(0, [0, 0, 0, 0], again=True)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "the same"}\n' * 8)
    load = WorkloadBlock(name="file", file=str(prompts), requests=8)
    equal = Arm("v", False, Named("smollm2-135m"), RuntimeBlock(name="callable"), load, ())
    assert asked_of(1, 4, equal, equal).again
    assert asked_of(1, 4, arm(requests=8), alone).again, "of one side"


def test_an_engine_keeps_no_answers() -> None:
    one = arm("transformers", requests=4)
    assert asked_of(2, 2, one, one) == Asked(0, [2, 3])
    alone = arm("transformers", requests=1)
    assert asked_of(1, 4, alone, alone) == Asked(0, [0, 0, 0, 0])
