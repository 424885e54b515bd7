"""The record of a request that an API answered, or did not: who is charged for which seconds and bytes."""

from __future__ import annotations

import pytest

from bench.engine.api_cascade import ApiAnswer
from bench.records import Cascaded

BEFORE = Cascaded(0.4, True, 0.25)


def test_an_answer_is_the_cloud_s_work() -> None:
    assert ApiAnswer("hé", 0.5, 9, 3).told(BEFORE, 17) == Cascaded(
        0.4, True, 0.25, cloud_s=0.5, sent_bytes=17, received_bytes=3, billed_in=9, billed_out=3
    )


def test_a_refused_request_is_time_on_the_link() -> None:
    found = ApiAnswer(None, 0.5, reason="HTTP 429").told(BEFORE, 17)
    assert found == Cascaded(0.4, True, 0.25, link_s=0.5, offline=True, refused="HTTP 429")
    assert not found.reached
    assert not found.from_cloud


def test_an_answer_that_was_lost_is_paid_for() -> None:
    found = ApiAnswer(None, 0.5, 9, 3, "closed").told(BEFORE, 17)
    assert (found.cloud_s, found.link_s, found.sent_bytes, found.received_bytes) == (0.5, 0.0, 17, 0)
    assert (found.billed_in, found.billed_out, found.offline) == (9, 3, True)
    assert found.reached
    assert not found.from_cloud


@pytest.mark.parametrize(("escalated", "offline", "of_cloud"), [(True, False, True), (True, True, False),
                                                                (False, False, False)])  # fmt: skip
def test_whose_answer_it_is(escalated: bool, offline: bool, of_cloud: bool) -> None:
    assert Cascaded(0.4, escalated, 0.1, offline=offline).from_cloud is of_cloud
