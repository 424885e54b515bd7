"""scripts/peer-serving and scripts/queue-fidelity without a server: their arithmetic, and how they go on."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from client_accuracy import capacity
from loaded_script import loaded_script
from peer_serving import ours, tables, vllm_bench
from peer_serving.block import Block, from_first, matched
from plain_server import Asked, PlainServer
from queue_fidelity import beside
from serving_trials.rows import Rows

from bench.plan.arrivals import poisson

TIMES = [(10.0, (10.5, 10.6, 10.8), 10.9, 4, 3), (10.1, (10.9, 11.0, 11.1), 11.2, 4, 3)]


def test_the_figures_of_a_block_are_those_of_its_times() -> None:
    """TTFT 500 and 800 ms, gaps of 100, 200, 100 and 100 ms, six tokens in 1.1 s; also without the gaps."""
    found = matched(from_first(TIMES, every=True))
    wanted = {"ttft_ms": 650, "tpot_ms": 125, "itl_ms": 125, "itl_p50_ms": 100, "tok_per_s": 6 / 1.1}
    assert found == pytest.approx(wanted)
    ends = [(sent, (events[0], events[-1]), *more) for sent, events, *more in TIMES]
    assert matched(from_first(ends, every=False)) == pytest.approx(found | {"itl_p50_ms": None})


def test_a_measurement_goes_on_and_refuses_other_settings(tmp_path: Path) -> None:
    path = tmp_path / "place" / "rows.jsonl.gz"
    Rows(path, {"requests": 16}).add({"round": 0, "client": "ours"})
    again = Rows(path, {"requests": 16})
    assert again.find(round=0, client="ours") == again.rows[0]
    assert again.find(round=1, client="ours") is None
    with pytest.raises(SystemExit, match="another requests"):
        Rows(path, {"requests": 8})


def test_rounds_are_reversed_in_turns() -> None:
    found = list(loaded_script("peer-serving").order([ours, vllm_bench], 2))
    assert found == [(0, ours.NAME), (0, vllm_bench.NAME), (1, vllm_bench.NAME), (1, ours.NAME)]


def test_a_ratio_is_of_the_blocks_of_one_round(capsys: pytest.CaptureFixture[str]) -> None:
    """The machine becomes twice as slow; the other client is 10 % above ours in each round."""
    rows = []
    for number, speed in enumerate((1.0, 2.0)):
        for client, more in ((vllm_bench.NAME, 1.1), (ours.NAME, 1.0)):
            events = tuple(speed * more * at for at in (0.5, 0.6))
            block = Block({"ttft_ms": 1.0}, from_first([(0.0, events, events[-1], 4, 2)], every=True))
            seen = {"time_to_first_token_seconds_count": 1.0, "time_to_first_token_seconds_sum": events[0]}
            rows.append({"round": number, "client": client, "client_cpu_s": 1.0, "server_counters": seen,
                         "noise": {"foreign_share": 0.01, "steal_share": 0.0}}
                        | block.to_json())  # fmt: skip
    assert tables.against(rows, tables.matched, "ttft_ms", vllm_bench.NAME).startswith("1.100 [1.100, 1.100]")
    assert tables.against(rows, tables.beyond_server, "ttft_ms", vllm_bench.NAME) == "1.000 [1.000, 1.000]"
    tables.show(rows, {ours.NAME: ours.DEFINED})
    assert "to be explained" in capsys.readouterr().out


def closed(server: PlainServer, users: int, count: int) -> dict[str, Any]:
    """The times of a closed loop, as queue-fidelity keeps them."""
    *_, done = server.closed_loop(users, count, 64, 8, 1e-3)
    return {"users": users, "requests": seen(done)}


def seen(done: list[Asked]) -> list[list[float]]:
    return [[one.arrival_s] * 2 + [one.tokens_s[0]] + [one.tokens_s[-1]] * 2 for one in done]


def test_a_server_with_known_passes_is_as_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    """From the closed loops of two rounds to the lines of a load, with steps that lie on no straight line."""
    script = loaded_script("queue-fidelity")
    steps_s = {1: 0.02, 2: 0.03, 3: 0.07, 4: 0.075}
    server = PlainServer(steps_s.__getitem__, lambda tokens: 0.002 * tokens, script.PLACES)
    rows = list[dict[str, Any]]()
    given = Namespace(input_tokens=64, output_tokens=8)
    parts = script.parts_of([0.8])
    assert parts == ["round 0", "round 1", "load 0.8 1", "round 2", "load 0.8 2", "round 3"]
    for part in parts:
        row: dict[str, Any] = {"part": part, "noise": {"foreign_share": 0.01}}
        if part.startswith("round"):
            row["loops"] = [closed(server, users, 4 * users) for users in script.LOOPS]
        else:
            row["rate"] = 0.8 * beside.capacity(rows[:2], 8)
            asked = [Asked(one.arrival_s, 64, 8) for one in poisson(row["rate"], 100, 64, 8, int(part[-1]))]
            done = sorted(server.answer(asked), key=lambda one: one.arrival_s)
            row["requests"] = seen(done)
        rows.append(row)
    found = beside.passes(rows[:1], (64, 8)).steps
    assert found.most == 4
    assert [found.seconds(size, 0, 0) for size in steps_s] == pytest.approx([*steps_s.values()], rel=0.02)
    beside.show("known", parts, rows, given)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    (line,) = (line for line in lines if line[:1] == ["all"])
    ratios = [
        float(word.rstrip("!")) for word in line if "[" not in word and "]" not in word and word != "all"
    ]
    assert ratios == pytest.approx([1] * 6, abs=0.03)


@pytest.mark.parametrize("limit", [137.0, 30.0, 3.0])
def test_the_capacity_is_the_highest_rate_on_time(limit: float) -> None:
    """Found from below and from above, within 9 %."""

    def probe(rate: float) -> dict[str, float]:
        return {"late_p99_ms": 1.0 if rate <= limit else 6.0, "sent": capacity.requests_at(rate)}

    found = capacity.searched(probe, 50.0)["requests_per_s"]
    assert limit / 1.0906 <= found <= limit


@pytest.mark.parametrize(
    ("late", "rate"),
    [(None, 0.0), (6.0, 0.0), (1.0, capacity.FASTEST)],
    ids=["nothing sent", "late", "never late"],
)
def test_a_capacity_beyond_what_is_looked_at(late: float | None, rate: float) -> None:
    def probe(rate: float) -> dict[str, float | None]:
        return {"late_p99_ms": late, "sent": 0 if late is None else capacity.requests_at(rate)}

    found = capacity.searched(probe, 50.0)
    assert found["requests_per_s"] == rate


def test_lateness_is_from_the_most_punctual_request() -> None:
    starts = [100 + number / 10 for number in range(200)]
    assert capacity.late_p99_ms(starts, 10) == pytest.approx(0, abs=1e-6)
    late = [at + 0.007 * (number % 50 == 7) for number, at in enumerate(starts)]  # 4 of 200
    assert capacity.late_p99_ms(late, 10) == pytest.approx(7)
