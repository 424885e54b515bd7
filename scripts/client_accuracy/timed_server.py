"""A server of the OpenAI kind that keeps when each request really came, and when each event left.

A request came when the kernel had its last byte (SO_TIMESTAMPNS), not when this process woke. An event left
between two looks at the clock right before and right after it was given to the kernel; the first one counts.
So neither the waking of this server nor its queue is taken for an error of a client. The ``model`` of a
request says what is sent, as ``ttft=100,gap=20,tokens=32,per=1``, in milliseconds.

``python timed_server.py`` prints its port. ``GET /times`` returns a list with an entry for each request that
was answered: its prompt, ``came_ns`` and ``left_ns`` of each event (CLOCK_MONOTONIC).
"""

from __future__ import annotations

import functools
import heapq
import json
import selectors
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SO_TIMESTAMPNS = 35
SPIN_NS = 2_000_000  # before something is due, the clock is looked at all the time: epoll counts milliseconds
Asked = dict[str, Any]


def note_arrivals(sock: socket.socket) -> None:
    """Let the kernel note when bytes come. Only Linux does; elsewhere the time of reading counts."""
    if sys.platform == "linux":
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(body: object) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


@dataclass
class Answer:
    """One request, and what has been sent of its answer."""

    prompt: str
    came_ns: int
    parts: tuple[bytes, ...]
    left_ns: list[int] = field(default_factory=list)

    def to_json(self) -> Asked:
        return {"prompt": self.prompt, "came_ns": self.came_ns, "left_ns": self.left_ns}


class Connection:
    """One connection, and the bytes of a request that is not complete."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.rest = sock, b""

    def request(self) -> tuple[bytes, bytes, int] | None:
        """Read; return head, body and time of a request if it is complete now. Raises EOFError at the end."""
        data, notes, _, _ = self.sock.recvmsg(65536, 64)
        if not data:
            raise EOFError
        came_ns = now_ns = time.monotonic_ns()
        if notes:
            seconds, nanoseconds = struct.unpack("@qq", notes[0][2])
            came_ns = now_ns - (time.time_ns() - seconds * 10**9 - nanoseconds)
        self.rest += data
        head, end, body = self.rest.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if not end or len(body) < int(length or 0):
            return None
        self.rest = b""
        return head, body, came_ns


class Server:
    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listening.setblocking(False)
        note_arrivals(self.listening)  # so the kernel has begun when the first request comes
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listening, selectors.EVENT_READ, None)
        self.due: list[tuple[int, int, int, Connection, Answer]] = []
        self.answers: list[Answer] = []

    def serve(self) -> None:
        print(self.listening.getsockname()[1], flush=True)
        while True:
            left_ns = self.due[0][0] - time.monotonic_ns() if self.due else 10**9
            for key, _ in self.selector.select(max(0, left_ns - SPIN_NS) // 1_000_000 / 1e3):
                self.accept() if key.data is None else self.read(key.data)
            while self.due and self.due[0][0] <= time.monotonic_ns():
                self.send(*heapq.heappop(self.due)[2:])

    def accept(self) -> None:
        sock, _ = self.listening.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        note_arrivals(sock)
        self.selector.register(sock, selectors.EVENT_READ, Connection(sock))

    def read(self, connection: Connection) -> None:
        try:
            found = connection.request()
        except (EOFError, OSError):
            self.selector.unregister(connection.sock)
            connection.sock.close()
            return
        if found is None:
            return
        head, body, came_ns = found
        if head.startswith(b"GET"):
            data = json.dumps([one.to_json() for one in self.answers]).encode()
            connection.sock.setblocking(True)
            connection.sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
            return
        self.plan(connection, json.loads(body), came_ns)

    def plan(self, connection: Connection, asked: Asked, came_ns: int) -> None:
        """Send the head now and each event at its time after the request came."""
        connection.sock.sendall(HEAD)
        how = dict(part.split("=") for part in asked["model"].split(","))
        tokens, per = int(how["tokens"]), int(how.get("per", 1))
        answer = Answer(asked["prompt"], came_ns, parts(len(asked["prompt"].split()), tokens, per))
        for number in range(len(answer.parts)):
            at_ms = float(how["ttft"]) + number * float(how["gap"])
            heapq.heappush(
                self.due, (came_ns + round(at_ms * 1e6), id(answer), number, connection, answer)
            )  # fmt: skip

    def send(self, number: int, connection: Connection, answer: Answer) -> None:
        answer.left_ns.append(time.monotonic_ns())
        try:
            connection.sock.sendall(answer.parts[number])
        except OSError:
            return
        if number == len(answer.parts) - 1:
            self.answers.append(answer)


@functools.cache
def parts(prompt_tokens: int, tokens: int, per: int) -> tuple[bytes, ...]:
    """Return the events of an answer; the end of the stream is in the last one."""
    sizes = [min(per, tokens - at) for at in range(0, tokens, per)]
    texts = ["".join(f" t{number}.{one}" for one in range(size)) for number, size in enumerate(sizes)]
    found = [chunk(event({"choices": [{"index": 0, "text": text}]})) for text in texts]
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": tokens}
    last = event({"choices": [{"index": 0, "text": "", "finish_reason": "length"}]})
    last += event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n"
    return *found[:-1], found[-1] + chunk(last) + b"0\r\n\r\n"


if __name__ == "__main__":
    Server().serve()
