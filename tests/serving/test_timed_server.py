"""The server of scripts/client-accuracy keeps what it really did, whatever its own queue was."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from running_stub import running

from bench.serving.address import Address
from bench.serving.arrivals import ClosedLoop, constant
from bench.serving.client import Settings
from bench.serving.load import load, run
from bench.serving.reply import Asked

SERVER = Path(__file__).parents[2] / "scripts" / "client_accuracy" / "timed_server.py"
MS = 1_000_000
HOW = "ttft=40,gap=10,tokens=6,per=2"


@pytest.fixture
def timed() -> Iterator[Address]:
    with running(program=SERVER) as address:
        yield address


def times(server: Address) -> dict[str, Any]:
    with urlopen(f"http://{server.netloc}/times", timeout=20) as page:
        return {one["prompt"]: one for one in json.load(page)}


@pytest.mark.parametrize("schedule", [ClosedLoop(4, 8), constant(50, 8)])
def test_what_it_keeps_lies_within_what_the_client_saw(timed: Address, schedule: Any) -> None:
    """A request comes after it was sent, and each event leaves before it comes: no error is below zero."""
    asked = [Asked(f"prompt {number}", 2, 6) for number in range(8)]
    done = run(load(Settings(timed, HOW, timeout_s=20), schedule, asked))
    kept = times(timed)
    for one in done.samples:
        assert (one.status, one.tokens, one.n_in) == ("ok", (2, 2, 2), 2)
        found = kept[asked[one.number].prompt]
        assert one.sent_ns + one.connect_ns - MS < found["came_ns"] < found["left_ns"][0]
        assert found["left_ns"][0] - found["came_ns"] >= 40 * MS
        assert all(b - a > 0 for a, b in pairwise(found["left_ns"]))
        assert all(ours > left - MS for ours, left in zip(one.events_ns, found["left_ns"], strict=True))
    assert len(kept) == 8


def test_a_request_came_with_its_last_byte(timed: Address) -> None:
    """However long its first bytes have waited; and it came then, though the server may wake later."""
    body = json.dumps({"model": HOW, "prompt": "in two parts"}).encode()
    with socket.create_connection((timed.host, timed.port)) as client:
        client.sendall(b"POST /v1/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:9])
        time.sleep(0.2)
        before_ns = time.monotonic_ns()
        client.sendall(body[9:])
        after_ns = time.monotonic_ns()
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += client.recv(65536)
    came_ns = times(timed)["in two parts"]["came_ns"]
    assert before_ns - MS <= came_ns
    if sys.platform == "linux":
        assert came_ns <= after_ns + MS
