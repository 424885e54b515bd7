"""Take requests over a Unix socket, let the engine make its steps, and send what each request got, and when.

A line is an object of JSON. A request has an ``id`` and is answered by one line when it has ended, with the
time of each step that made a token for it. An ``ask`` is answered at once. The times are those of this
process as a step ends, so the socket is in none of them.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from bench.serving.inside.engine import Engine, Made, Refused, Wanted

MOST_LINE = 64 * 1024 * 1024
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Connection:
    """One connection: lines come in one thread, and may be sent by several."""

    def __init__(self, number: int, accepted: socket.socket) -> None:
        self.number = number
        self._socket = accepted
        self._lines = accepted.makefile("rb")
        self._sending = threading.Lock()

    def next_line(self) -> Mapping[str, Any] | None:
        """Return the next line; None at the end, and for what is no object of JSON."""
        try:
            found = json.loads(self._lines.readline(MOST_LINE))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def send(self, line: Mapping[str, object]) -> None:
        """Send a line; to nobody if the other side is gone."""
        with self._sending:
            try:
                self._socket.sendall(json.dumps(line).encode() + b"\n")
            except OSError:
                return

    def close(self) -> None:
        """Close it."""
        self._socket.close()


@dataclass
class Held:
    """A request that has not ended, and what it got until now."""

    connection: Connection
    number: object
    wanted: Wanted
    ids: list[int] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    cached: int | None = None

    def take(self, at_ns: int, made: Made) -> None:
        """Take what a step made."""
        self.cached = self.cached if made.cached is None else made.cached
        if made.ids:
            self.ids += made.ids
            self.times_ns.append(at_ns)
            self.tokens.append(len(made.ids))


@dataclass
class Counts:
    """What the steps were until now: ``most_at_once`` sequences got a token in one of them."""

    steps: int = 0
    sequences: int = 0
    most_at_once: int = 0

    def take(self, sequences: int) -> None:
        """Count a step that made tokens for so many sequences."""
        self.steps += 1
        self.sequences += sequences
        self.most_at_once = max(self.most_at_once, sequences)


class Desk:
    """Requests come in here, and what was made of them goes out."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: dict[str, Held] = {}
        self._counts = Counts()
        self._changing = threading.Lock()

    def serve(self, place: str) -> None:
        """Listen at the abstract address ``place`` and make steps; ends only by an exception of the
        engine."""
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(f"\0{place}")
        listening.listen()
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
        while True:
            self.step()

    def step(self) -> None:
        """Let the engine make a step, and hand out what ended with it."""
        step = self._engine.step()
        with_tokens = sum(bool(one.ids) for one in step.made)
        if with_tokens:
            self._counts.take(with_tokens)
        for made in step.made:
            with self._changing:
                held = self._held.get(made.key)
                if held is not None and (made.finish or made.failed):
                    del self._held[made.key]
            if held is None:
                continue  # it was cancelled meanwhile
            held.take(step.at_ns, made)
            if made.finish or made.failed:
                self._end(held, made, step.at_ns)

    def _accept(self, listening: socket.socket) -> None:
        number = 0
        while True:
            accepted, _ = listening.accept()
            if _same_user(accepted):
                number += 1
                threading.Thread(
                    target=self.receive, args=(Connection(number, accepted),), daemon=True
                ).start()
            else:
                accepted.close()

    def receive(self, connection: Connection) -> None:
        """Take the lines of a connection; when it ends, its requests are dropped."""
        while (line := connection.next_line()) is not None:
            if "ask" in line:
                self._answer(connection, line)
            elif "cancel" in line:
                self._drop(f"{connection.number}/{line['cancel']}")
            else:
                self._begin(connection, line)
        with self._changing:
            mine = [key for key, held in self._held.items() if held.connection is connection]
        for key in mine:
            self._drop(key)
        connection.close()

    def _begin(self, connection: Connection, line: Mapping[str, Any]) -> None:
        try:
            said = line["prompt"]
            ids = self._engine.turn(said) if line.get("chat") else self._engine.tokens(said, special=True)
            wanted = Wanted(tuple(ids), line["most"], bool(line.get("whole")))
            self._hold(Held(connection, line["id"], wanted))
        except (Refused, KeyError, TypeError, ValueError) as bad:
            connection.send({"id": line.get("id"), "failed": _sentence(bad), "refused": True})

    def _hold(self, held: Held) -> None:
        key = f"{held.connection.number}/{held.number}"
        with self._changing:
            self._held[key] = held
        with ExitStack() as if_refused:
            if_refused.callback(self._forget, key)
            self._engine.add(key, held.wanted)
            if_refused.pop_all()

    def _forget(self, key: str) -> Held | None:
        with self._changing:
            return self._held.pop(key, None)

    def _drop(self, key: str) -> None:
        if self._forget(key) is not None:
            self._engine.cancel(key)

    def _end(self, held: Held, made: Made, at_ns: int) -> None:
        if held.wanted.distribution:
            held.connection.send({"id": held.number, **_distribution(made)})
            return
        line: dict[str, object] = {
            "id": held.number, "n_in": len(held.wanted.ids), "n_out": len(held.ids), "cached": held.cached,
            "times_ns": held.times_ns, "tokens": held.tokens, "ended_ns": at_ns, "finish": made.finish,
        }  # fmt: skip
        if made.failed:
            line |= {"failed": made.failed, "refused": made.refused}
        else:
            line["text"] = self._engine.text(held.ids)
        held.connection.send(line)

    def _answer(self, connection: Connection, line: Mapping[str, Any]) -> None:
        """Answer what a server is asked at a path."""
        try:
            body = line.get("body") or {}
            if line["ask"] == "/v1/completions":
                self._hold(Held(connection, line["id"], _one_position(body)))
                return
            connection.send({"id": line["id"], "answer": self._told(line["ask"], body)})
        except (Refused, KeyError, TypeError, ValueError) as bad:
            connection.send({"id": line.get("id"), "error": _sentence(bad)})

    def _told(self, path: str, body: Mapping[str, Any]) -> object:
        if path == "/evidence":
            return dict(self._engine.evidence())
        if path == "/steps":
            with self._changing:
                return {**vars(self._counts), "not_ended": len(self._held)}
        if path == "/tokenize":
            special = body.get("add_special_tokens", True)
            return {"tokens": list(self._engine.tokens(body["prompt"], special=special))}
        raise Refused(f"an engine in process has no {path}")


def _one_position(body: Mapping[str, Any]) -> Wanted:
    """Return the request for a distribution. Raises Refused unless the whole vocabulary is wanted."""
    if body["logprobs"] != -1:
        raise Refused("an engine in process is asked for its whole vocabulary only")
    return Wanted(tuple(body["prompt"]), 1, whole=True, distribution=True)


def _distribution(made: Made) -> Mapping[str, object]:
    """Return a distribution as a server says it."""
    if made.failed or made.distribution is None:
        return {"error": made.failed or "the engine gave no log-probabilities"}
    row = {f"token_id:{token}": ln_p for token, ln_p in made.distribution.items()}
    return {"answer": {"choices": [{"logprobs": {"top_logprobs": [row]}}]}}


def _sentence(bad: Exception) -> str:
    return str(bad) if isinstance(bad, Refused) else f"{type(bad).__name__}: {bad}"


def _same_user(accepted: socket.socket) -> bool:
    """Return whether the other side is a process of this user: an abstract address has no permissions."""
    found = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(found)[1]
    return uid == os.getuid()
