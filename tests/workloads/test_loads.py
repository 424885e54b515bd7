"""Workloads for servers: when requests come, how long each is, and what people are told of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from bench.config.settings import WorkloadBlock
from bench.errors import UsageError
from bench.serving.arrivals import ClosedLoop, OpenLoop, Sharing, gamma, poisson
from bench.workloads import _loads, closed_loop, data_set, multi_turn, offline, open_loop, search, trace


def asked(
    requests: int = 6, *, file: Path | None = None, lengths: bool = True, **own: object
) -> WorkloadBlock:
    tokens = {"input_tokens": 10} if lengths else {}
    return WorkloadBlock(
        requests=requests, output_tokens=4, file=file and str(file), own=tuple(own.items()), **tokens
    )


@pytest.mark.parametrize(
    ("kind", "own"), [(closed_loop, {"users": 2}), (offline, {}), (open_loop, {"rate": 1.0}), (search, {})]
)
def test_a_load_needs_the_length_of_its_prompts(kind: ModuleType, own: dict[str, object]) -> None:
    assert kind.problem(asked(**own)) is None
    key, said = kind.problem(asked(lengths=False, **own))
    assert key == "input_tokens"
    assert "needs input_tokens" in said


def test_a_rate_may_take_fifteen_days_and_no_more() -> None:
    """A stream of random arrivals may take twice as long as its mean, and thirty days are the most."""
    days_15 = 15 * 86_400
    assert _loads.too_slow(1 / 1000, days_15 // 1000) is None
    found = _loads.too_slow(1 / 1000, days_15 // 1000 + 1)
    assert found == ("rate", "1297 requests at 0.001 a second take more than 15 days: raise the rate")
    assert open_loop.problem(asked(1297, rate=0.001)) == found
    assert open_loop.problem(asked(1296, rate=0.001)) is None


def test_all_requests_are_alike() -> None:
    assert _loads.lengths(asked(3)) == ((10, 4),) * 3
    assert _loads.lengths(asked(3), 5) == ((10, 4),) * 5
    assert _loads.lengths(asked(3), 0) == ()
    assert _loads.sizes(asked()) == "10 tokens in, 4 out"


def test_keys_of_another_kind_are_passed_over_and_bad_values_are_not() -> None:
    assert _loads.asked(closed_loop.Params, asked(users=7, rate=1.0)).users == 7
    with pytest.raises(UsageError, match="users must be from 1 to 8192"):
        _loads.asked(closed_loop.Params, asked(users=0))


def test_users_who_wait_for_their_answers() -> None:
    plan = closed_loop.plan(asked(users=2), 1)
    assert (plan.schedule, plan.lengths) == (ClosedLoop(2, 6), ((10, 4),) * 6)
    assert closed_loop.words(asked(users=2)) == "closed loop, 2 users, 6 requests, 10 tokens in, 4 out"


def test_all_at_once() -> None:
    plan = offline.plan(asked(3), 1)
    assert plan.schedule.times_s == (0.0,) * 3
    assert plan.lengths == ((10, 4),) * 3
    assert offline.words(asked(3)) == "all at once, 3 requests, 10 tokens in, 4 out"


def test_a_rate_that_does_not_wait() -> None:
    steady = open_loop.plan(asked(rate=2.0, arrivals="constant"), 1).schedule
    assert steady.times_s == (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
    assert open_loop.plan(asked(rate=2.0), 5).schedule == poisson(2.0, 6, 5)
    bursts = asked(rate=2.0, arrivals="gamma", burstiness=0.5)
    assert open_loop.plan(bursts, 5).schedule == gamma(2.0, 0.5, 6, 5)
    assert open_loop.words(asked(rate=2.0)) == "Poisson, 2 requests/s, 6 requests, 10 tokens in, 4 out"


def test_each_turn_of_a_conversation_holds_those_before_it() -> None:
    talks = asked(users=2, turns=3, shared_tokens=100, pause_s=1.5)
    plan = multi_turn.plan(talks, 1)
    assert plan.lengths == ((110, 4), (124, 4), (138, 4)) * 2
    assert plan.schedule == ClosedLoop(2, 6, 3, 1.5)
    assert plan.sharing == Sharing(100, 3)
    assert multi_turn.words(talks) == (
        "closed loop, 2 users, 6 requests in conversations of 3, "
        "10 tokens in, 4 out a turn, 100 shared by all"
    )
    assert multi_turn.words(asked(users=2)).endswith("4 out a turn")


@pytest.mark.parametrize(("requests", "turns", "whole"), [(6, 3, True), (7, 3, False), (6, 4, False)])
def test_conversations_are_whole(requests: int, turns: int, whole: bool) -> None:
    found = multi_turn.problem(asked(requests, users=1, turns=turns))
    said = f"{requests} requests are no whole conversations of {turns} turns"
    assert found == (None if whole else ("requests", said))
    assert multi_turn.problem(asked(users=1, lengths=False))[0] == "input_tokens"  # type: ignore[index]


def test_a_search_decides_rate_and_number() -> None:
    plan = search.plan_at(asked(), 2.0, 9, 5)
    assert (plan.schedule, plan.lengths) == (poisson(2.0, 9, 5), ((10, 4),) * 9)
    said = search.words(asked(share=0.95))
    assert said == "search for the highest rate at which 95.0% are good, 10 tokens in, 4 out"


ROWS = [{"arrival_s": 3 * number, "input_tokens": 5 + number, "output_tokens": 7} for number in range(4)]


def test_a_trace_is_played_faster(tmp_path: Path) -> None:
    file = tmp_path / "day.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)))
    plan = trace.plan(asked(3, file=file, speed=2.0), 1)
    assert isinstance(plan.schedule, OpenLoop)
    assert plan.schedule.times_s == (0.0, 1.5, 3.0)
    assert plan.lengths == ((5, 7), (6, 7), (7, 7))
    assert trace.words(asked(3, file=file)) == "trace day.jsonl, 3 requests"
    assert trace.problem(asked(4, file=file)) is None
    assert trace.problem(asked(5, file=file)) == ("requests", f"5 requests asked for, and {file} holds 4")
    assert trace.problem(asked())[0] == "file"  # type: ignore[index]


def people(file: Path, *answers: str | None) -> Path:
    rows = [{"prompt": f"question {number}", "response": one} for number, one in enumerate(answers)]
    file.write_text("\n".join(json.dumps({k: v for k, v in row.items() if v}) for row in rows))
    return file


def test_prompts_of_people_and_how_long_their_answers_are(tmp_path: Path) -> None:
    file = people(tmp_path / "said.jsonl", "one", None)
    plan = data_set.plan(asked(2, file=file, users=2, max_input_tokens=50), 1)
    assert plan.schedule == ClosedLoop(2, 2)
    assert plan.lengths == ((50, 4),) * 2
    assert plan.spoken is not None
    assert plan.spoken.said == (("question 0", "one"), ("question 1", None))
    assert (plan.spoken.most_input, plan.spoken.most_output) == (50, 4)
    equal = data_set.plan(asked(2, file=file, rate=2.0, replies="equal"), 9)
    assert equal.schedule == poisson(2.0, 2, 9)
    assert equal.spoken is not None
    assert equal.spoken.said == (("question 0", None), ("question 1", None))


def test_what_people_are_told_of_a_data_set(tmp_path: Path) -> None:
    file = people(tmp_path / "said.jsonl", "one", "two")
    said = "closed loop, 1 user, 2 requests, prompts of said.jsonl, at most 1024 tokens in, "
    assert data_set.words(asked(2, file=file, users=1)) == f"{said}as recorded, at most 4 out"
    assert data_set.words(asked(2, file=file, users=1, replies="equal")) == f"{said}4 out"


def test_what_is_wrong_with_a_data_set(tmp_path: Path) -> None:
    file = people(tmp_path / "said.jsonl", None, None)
    equal = {"replies": "equal"}
    assert data_set.problem(asked(2, file=file, users=1, **equal)) is None
    assert data_set.problem(asked(2, file=file, users=1)) == (
        "replies", f"{file} has no answers; write replies: equal"
    )  # fmt: skip
    few = data_set.problem(asked(3, file=file, users=1, **equal))
    assert few == ("requests", f"3 requests asked for, and {file} holds 2 prompts")
    slow = data_set.problem(asked(2, file=file, rate=1e-6, **equal))
    assert slow is not None
    assert slow[0] == "rate"
    people(file, None, "an answer")
    assert data_set.problem(asked(2, file=file, users=1)) is None  # one recorded answer is enough


def test_a_data_set_is_asked_again_only_beyond_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_set, "MOST_KEPT", 2)
    file = people(tmp_path / "said.jsonl", "a", "b", "c")
    assert data_set.problem(asked(9, file=file, users=1)) is None
    spoken = data_set.plan(asked(9, file=file, users=1), 0).spoken
    assert spoken is not None
    assert [prompt for prompt, _answer in spoken.said] == ["question 0", "question 1"]


def test_letters_of_prompts_and_answers_count_up_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = people(tmp_path / "said.jsonl", "ten", "ten")  # 10 + 3 letters each
    monkeypatch.setattr(data_set, "MOST_LETTERS", 26)
    assert data_set.problem(asked(2, file=file, users=1)) is None
    people(file, "ten", "tens")
    said = data_set.problem(asked(2, file=file, users=1))
    assert said == ("file", f"{file}: more than 26 characters in 2 entries")
