"""A connection that the server resets ends its request at once, with all that came before the reset."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

import pytest

from bench.serving.address import Address
from bench.serving.client import Client, Settings
from bench.serving.load import run
from bench.serving.plain_socket import READ_BYTES, PlainSocket, connected
from bench.serving.reply import Asked

Loop = Callable[..., object]
SOON_S = 20.0


class Receiver:
    """Keep what comes."""

    def __init__(self) -> None:
        self.data = b""
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def received(self, at_ns: int, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("in_loop", [run, asyncio.run], ids=["fastest loop", "asyncio"])
@pytest.mark.parametrize("size", [5, 3 * READ_BYTES // 2])
def test_a_reset_that_comes_with_bytes_is_seen_and_the_bytes_are_kept(in_loop: Loop, size: int) -> None:
    """The loop is held up, so that it finds both at once."""

    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            receiver = Receiver()
            wire = PlainSocket(await connected("127.0.0.1", listening.getsockname()[1]), receiver)
            server, _ = listening.accept()
            await asyncio.sleep(0.05)  # the loop looks at the socket
            server.sendall(b"x" * size)
            time.sleep(0.05)
            reset(server)
            bad = await asyncio.wait_for(receiver.lost, SOON_S)
        assert isinstance(bad, ConnectionResetError)
        assert len(receiver.data) == size
        assert wire.is_closing()

    in_loop(work())


def test_what_came_before_a_write_that_fails_is_read() -> None:
    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            receiver = Receiver()
            wire = PlainSocket(await connected("127.0.0.1", listening.getsockname()[1]), receiver)
            server, _ = listening.accept()
            server.sendall(b"refused")
            time.sleep(0.05)
            reset(server)
            wire.write(b"the rest of a request")
            bad = await asyncio.wait_for(receiver.lost, SOON_S)
        assert isinstance(bad, OSError)
        assert receiver.data == b"refused"

    run(work())


def test_an_answer_that_comes_before_the_request_is_read_is_read() -> None:
    """As of a server that refuses a long prompt by its head: it answers, closes, and the rest of the request
    runs into a reset."""
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"

    def refuse() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                connection.recv(1024)
                connection.sendall(answer)
                time.sleep(0.05)
                connection.close()  # with unread bytes: a reset

    async def work(server: Address) -> None:
        client = Client(Settings(server, "m", timeout_s=SOON_S))
        for number in range(3):
            one = await client.send(number, Asked("x" * 8_000_000, 1, 1))
            assert (one.status, one.http_status, one.reason) == ("failed", 413, "HTTP 413")
        client.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        Thread(target=refuse, daemon=True).start()
        run(work(Address("http", "127.0.0.1", listening.getsockname()[1])))
        listening.shutdown(socket.SHUT_RDWR)


def test_a_reset_while_a_request_is_written_and_no_answer_is_a_reset() -> None:
    def hang_up() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                connection.recv(1024)
                reset(connection)

    async def work(server: Address) -> None:
        client = Client(Settings(server, "m", timeout_s=SOON_S))
        one = await client.send(0, Asked("x" * 8_000_000, 1, 1))
        client.close()
        assert (one.status, one.reason) == ("failed", "the connection was reset before it answered")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        Thread(target=hang_up, daemon=True).start()
        run(work(Address("http", "127.0.0.1", listening.getsockname()[1])))
        listening.shutdown(socket.SHUT_RDWR)
