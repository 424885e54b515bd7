"""The client's times are those of the bytes, and a connection is used again only where that hides nothing."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Barrier, Thread

import pytest

from bench.cli.load_pages import page
from bench.formatting import MIB
from bench.metrics.requests import Limits
from bench.records.samples import Sample
from bench.serving import alarm, plain_socket, record
from bench.serving import reply as reply_module
from bench.serving.address import Address, Secret
from bench.serving.alarm import Alarm, asleep_until, waited_until
from bench.serving.arrivals import ClosedLoop
from bench.serving.client import Client, Settings
from bench.serving.load import load, run
from bench.serving.plain_socket import PlainSocket, arrived_ns, connected
from bench.serving.reply import Asked, Reply, Trip
from bench.serving.stream_events import Event

needs_stamps = pytest.mark.skipif(not plain_socket._KNOWN, reason="this kernel notes no arrivals")
MS = 1_000_000
ASKED = Asked("one two three", 3, 8)
LAST = b'data: {"choices": [{"text": "%s", "finish_reason": "stop"}]}\n\n'


def reply(text: bytes = b"a") -> bytes:
    body = LAST % text
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head + body


Behaviour = Callable[[socket.socket, int], None]  # a connection, and the number of the request on it


@contextmanager
def scripted(behave: Behaviour) -> Iterator[tuple[Address, list[list[bytes]]]]:
    """A server that does something after each request, and the requests that it read, by connection."""
    seen: list[list[bytes]] = []

    def answer(connection: socket.socket, requests: list[bytes]) -> None:
        with connection, suppress(OSError):
            while request := whole_request(connection):
                requests.append(request)
                behave(connection, len(requests))

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                seen.append([])
                Thread(target=answer, args=(connection, seen[-1]), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        Thread(target=accept, daemon=True).start()
        yield Address("http", "127.0.0.1", listening.getsockname()[1]), seen
        listening.shutdown(socket.SHUT_RDWR)


def whole_request(connection: socket.socket) -> bytes:
    """Read one request; b'' at the end."""
    data = bytearray()
    head = None
    while head is None or len(data) < head.end() + int(head.group(1)):
        more = connection.recv(MIB)
        if not more:
            return b""
        data += more
        head = head or re.search(rb"Content-Length: (\d+)\r\n(?:.+\r\n)*\r\n", data)
    return bytes(data)


# ---- when bytes came ----


@needs_stamps
def test_bytes_have_the_time_at_which_they_came_and_not_at_which_they_were_read() -> None:
    """The event loop is held up for 0.3 s, as by the parsing of many other streams."""
    took: list[tuple[int, bytes]] = []

    class Receiver:
        def received(self, at_ns: int, data: bytes) -> None:
            took.append((at_ns, data))

        def connection_lost(self, exc: Exception | None) -> None:
            took.append((0, b""))

    async def work() -> tuple[int, int]:
        wanting = plain_socket.stamps_on()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            wire = PlainSocket(await connected("127.0.0.1", listening.getsockname()[1]), Receiver())
            server, _ = listening.accept()
            await asyncio.sleep(0.1)  # the kernel begins to note a moment after it was asked to
            before_ns = time.monotonic_ns()
            server.sendall(b"one")
            after_ns = time.monotonic_ns()
            time.sleep(0.3)
            await asyncio.sleep(0.05)
            wire.abort()
            await asyncio.sleep(0)
            server.close()
        assert wanting is not None
        wanting.close()
        return before_ns, after_ns

    before_ns, after_ns = run(work())
    [(at_ns, data), end] = took
    assert (data, end) == (b"one", (0, b""))
    assert before_ns - MS <= at_ns <= after_ns + MS


@needs_stamps
def test_parsing_one_reply_does_not_make_another_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 0.3 s to parse here, and both come at once."""
    plain, both = reply_module.event_of, Barrier(2)
    sent_between: dict[str, tuple[int, int]] = {}

    def slow(data: str) -> Event:
        time.sleep(0.3)
        return plain(data)

    def together(connection: socket.socket, _: int) -> None:
        name = str(connection.fileno())
        both.wait(20)
        before_ns = time.monotonic_ns()
        connection.sendall(reply(name.encode()))
        sent_between[name] = before_ns, time.monotonic_ns()

    async def work(server: Address) -> list[Trip]:
        client = Client(Settings(server, "m", timeout_s=20))
        await asyncio.sleep(0.1)  # the kernel begins to note a moment after it was asked to
        found = await asyncio.gather(*(client.trip(number, ASKED) for number in range(2)))
        client.close()
        return found

    monkeypatch.setattr(reply_module, "event_of", slow)
    with scripted(together) as (server, _):
        found = run(work(server))
    for [first] in (trip.reply.arrivals for trip in found):
        before_ns, after_ns = sent_between[first.event.text]
        assert before_ns - MS <= first.at_ns <= after_ns + MS


def test_the_end_has_the_time_of_the_bytes_it_came_with() -> None:
    with scripted(lambda connection, _: connection.sendall(reply())) as (server, _):
        [one] = run(sent(Settings(server, "m", timeout_s=20)))
    assert one.end_ns == one.events_ns[0]


def test_the_end_is_when_the_last_bytes_came() -> None:
    """Not when the task that waits for the reply has its turn."""
    trip = Trip(0, ASKED, None, 1)
    trip.reply = Reply()
    trip.reply.begins(200, {"content-type": "text/event-stream"})
    trip.reply.receives(5, LAST % b"a")
    trip.reply.ends(7)
    trip.finish()
    sample = trip.sample(None)
    assert (sample.status, sample.events_ns, sample.end_ns) == ("ok", (5,), 7)


def test_a_request_is_made_before_it_is_sent(stub: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it takes to make a request, and its place for the reply, is no time of the server."""
    begun = []

    class Slow(Reply):
        def __init__(self, *given: int, **named: int) -> None:
            time.sleep(0.05)
            begun.append(time.monotonic_ns())
            super().__init__(*given, **named)

    monkeypatch.setattr("bench.serving.client.Reply", Slow)
    [one] = run(sent(Settings(stub, "gap=1")))
    assert one.sent_ns >= begun[-1]
    assert one.scheduled_ns == one.sent_ns


async def sent(
    settings: Settings, requests: int = 1, between: Callable[[], None] | None = None
) -> list[Sample]:
    """The samples of requests one after another; ``between`` holds the event loop up."""
    client, found = Client(settings), []
    for number in range(requests):
        if number and between is not None:
            between()
        found.append(await client.send(number, ASKED))
    client.close()
    return found


def noted(real_ns: int) -> list[tuple[int, int, bytes]]:
    spec = struct.pack("@qq", *divmod(real_ns, 10**9))
    return [(socket.SOL_SOCKET, plain_socket._SO_TIMESTAMPNS, spec)]


def test_a_clock_that_was_set_meanwhile_moves_no_time() -> None:
    start_ns = time.monotonic_ns()
    for hour_ns in (-3600 * 10**9, 3600 * 10**9):
        now_ns = time.monotonic_ns()
        at_ns = arrived_ns(noted(time.time_ns() + hour_ns), start_ns)
        assert now_ns <= at_ns <= time.monotonic_ns()


@pytest.mark.parametrize("notes", [[], [(socket.SOL_SOCKET, 999, b"x" * 16)], [(1, 35, b"x")]])
def test_without_a_note_of_the_kernel_it_is_now(notes: list[tuple[int, int, bytes]]) -> None:
    now_ns = time.monotonic_ns()
    assert now_ns <= arrived_ns(notes, 0) <= time.monotonic_ns()


def test_what_the_kernel_noted_is_taken() -> None:
    at_ns = arrived_ns(noted(time.time_ns() - 50 * MS), 0)
    assert 50 * MS <= time.monotonic_ns() - at_ns < 10_000 * MS
    used_ns = time.monotonic_ns()
    assert arrived_ns(noted(time.time_ns() - 50 * MS), used_ns) >= used_ns


def test_nothing_is_loaded_within_the_first_request() -> None:
    code = (
        "import sys; from bench.serving.client import Client, Settings; from bench.serving.address import "
        "Address; assert 'httptools' not in sys.modules; Client(Settings(Address('http', 'h', 1), 'm'))."
        "close(); assert 'httptools' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# ---- when a request goes out ----


@pytest.mark.parametrize("file", [True, False])
def test_an_alarm_is_never_early(file: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> list[int]:
        clock, late = Alarm(), []
        for wait_ns in (3 * MS, 500_000, 0, -MS, 7_700_000):
            due_ns = time.monotonic_ns() + wait_ns
            await clock.until(due_ns)
            late.append(time.monotonic_ns() - due_ns)
        clock.close()
        return late

    if not file:
        monkeypatch.setattr(alarm, "_made", lambda _: -1)
    assert min(run(work())) >= 0


def test_an_alarm_rings_again_after_a_wait_that_was_given_up() -> None:
    async def work() -> bool:
        clock = Alarm()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                await clock.until(time.monotonic_ns() + 10**12)
        due_ns = time.monotonic_ns() + 5 * MS
        await clock.until(due_ns)
        clock.close()
        return time.monotonic_ns() >= due_ns

    assert run(work())


def test_the_last_moment_is_waited_out_and_no_more_than_that() -> None:
    due_ns = time.monotonic_ns() + alarm.LEAD_NS // 2
    assert waited_until(due_ns) >= due_ns
    far_ns = time.monotonic_ns() + 3600 * 10**9
    assert waited_until(far_ns) < far_ns
    asyncio.run(asleep_until(due_ns))


# ---- connections ----


@pytest.mark.parametrize("size", [10, 30_000_000])
def test_a_request_that_the_kernel_takes_in_parts_is_sent_whole(size: int) -> None:
    def slowly(connection: socket.socket, _: int) -> None:
        time.sleep(0.05)
        connection.sendall(reply())

    async def work(server: Address) -> Sample:
        client = Client(Settings(server, "m", timeout_s=20))
        one = await client.send(0, Asked("x" * size, 1, 8))
        client.close()
        return one

    with scripted(slowly) as (server, seen):
        one = run(work(server))
    assert one.status == "ok"
    assert json.loads(seen[0][0].partition(b"\r\n\r\n")[2])["prompt"] == "x" * size


def test_a_name_with_several_addresses(stub: Address) -> None:
    """Of localhost, ::1 may be the first, and nobody listens there."""
    [one] = run(sent(Settings(Address("http", "localhost", stub.port), "gap=1")))
    assert one.status == "ok"
    assert one.connect_ns > 0


def test_a_kept_connection_that_was_closed_while_the_loop_was_busy_is_not_tried(stub: Address) -> None:
    found = run(sent(Settings(stub, "mode=close", timeout_s=20), 3, lambda: time.sleep(0.1)))
    assert [(one.status, one.attempts, one.reconnects) for one in found] == [("ok", 1, 0)] * 3
    assert all(one.connect_ns > 0 for one in found)


def test_what_a_lost_kept_connection_cost_stays_in_the_latency() -> None:
    """The server closes it 0.2 s after it got the second request, which is sent again."""

    def closing(connection: socket.socket, number: int) -> None:
        if number == 1:
            connection.sendall(reply())
            return
        time.sleep(0.2)
        connection.shutdown(socket.SHUT_RDWR)

    with scripted(closing) as (server, seen):
        first, second = run(sent(Settings(server, "m", timeout_s=20), 2))
    assert [len(requests) for requests in seen] == [2, 1]
    assert (first.reconnects, second.reconnects) == (0, 1)
    assert (second.status, second.attempts) == ("ok", 1)
    assert second.ttft_ms >= 200
    assert 0 < second.connect_ns < 200 * MS


@pytest.mark.parametrize("busy", [True, False], ids=["loop busy", "loop free"])
def test_bytes_that_nobody_asked_for_are_not_the_next_answer(busy: bool) -> None:
    """A second reply on a kept connection would be taken for that of the next request."""

    def twice(connection: socket.socket, _: int) -> None:
        connection.sendall(reply(b"mine"))
        time.sleep(0.05)
        connection.sendall(reply(b"of somebody else"))

    async def work(server: Address) -> list[Trip]:
        client, found = Client(Settings(server, "m", timeout_s=20)), []
        for number in range(2):
            found.append(await client.trip(number, ASKED))
            if busy:
                time.sleep(0.2)
            else:
                await asyncio.sleep(0.2)
        client.close()
        return found

    with scripted(twice) as (server, seen):
        found = run(work(server))
    assert [[one.event.text for one in trip.reply.arrivals] for trip in found] == [["mine"]] * 2
    assert [len(requests) for requests in seen] == [1, 1]


def test_no_connection_is_shared_between_keys_or_hosts() -> None:
    """Two clients of one server have two keys; a third asks another server."""

    def answer(connection: socket.socket, _: int) -> None:
        connection.sendall(reply())

    async def work(one: Address, other: Address) -> None:
        clients = [
            Client(Settings(server, "m", key=key, timeout_s=20))
            for server, key in ((one, Secret("A", "sk-aaaa")), (one, Secret("B", "sk-bbbb")), (other, None))
        ]
        for number in range(3):
            for client in clients:
                assert (await client.send(number, ASKED)).status == "ok"
        for client in clients:
            client.close()

    with scripted(answer) as (one, seen), scripted(answer) as (other, elsewhere):
        run(work(one, other))
    keys = [{key for request in requests for key in re.findall(rb"sk-\w+", request)} for requests in seen]
    assert sorted(keys, key=sorted) == [{b"sk-aaaa"}, {b"sk-bbbb"}]
    assert [len(requests) for requests in (*seen, *elsewhere)] == [3, 3, 3]
    assert not re.search(rb"sk-|Authorization", b"".join(elsewhere[0]))
    assert all(b"Host: 127.0.0.1:%d\r\n" % other.port in request for request in elsewhere[0])


def test_the_page_says_how_many_requests_opened_a_connection(tmp_path: Path) -> None:
    """And that their time to the first token holds it."""

    def closing(connection: socket.socket, number: int) -> None:
        if number == 1:
            connection.sendall(reply())
        else:
            connection.shutdown(socket.SHUT_RDWR)

    with scripted(closing) as (server, _):
        done = run(load(Settings(server, "m", timeout_s=20), ClosedLoop(1, 3), [ASKED] * 3))
    assert all(one.ttft_ms * MS >= one.connect_ns > 0 for one in done.samples)
    about = {"target": "t", "model": "m", "schedule": "s"}
    shown = page(record.result(about, done, Limits({}), None), tmp_path)
    assert "connections: 3 of 3 requests opened one, in " in shown
    assert "which is in their TTFT; 2 kept ones were lost" in shown
