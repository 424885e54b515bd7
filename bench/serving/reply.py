"""Hold a streamed reply and the time of each part, and what is kept of a request when it is over."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.formatting import one_line
from bench.records.samples import Sample, Status
from bench.serving.address import Secret
from bench.serving.alarm import waited_until
from bench.serving.sse import BadStream, EventParser
from bench.serving.stream_events import DONE, event_of, message_of
from bench.serving.tokens import Arrival, counted, first_answer, with_the_end

MOST_BODY = 64 * 1024
MOST_LETTERS = 300  # of a reason
MORE_EVENTS = 1000  # than tokens that were asked for, in a reply
NOT_MODIFIED = 304


@dataclass(frozen=True)
class Asked:
    """A request: its prompt, how many tokens that is meant to be, and the most tokens of the reply."""

    prompt: str
    input_tokens: int
    output_tokens: int


class Reply:
    """A reply as it comes."""

    def __init__(self, most_body: int = MOST_BODY, most_events: int = MORE_EVENTS) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.arrivals: list[Arrival] = []
        self.usage: tuple[int | None, int | None] | None = None
        self.cached: int | None = None
        self.reasoned: int | None = None
        self.last: Arrival | None = None  # the event that says why it ended, if that has no text
        self.finish: str | None = None
        self.done = False
        self.direct = False  # an engine in process told it as a whole
        self.ended_ns: int | None = None
        self._body = bytearray()
        self.too_long = False
        self._most_body = most_body
        self._events_left = most_events
        self._parser = EventParser()

    @property
    def body(self) -> bytes:
        """Return what came of a reply that is no stream, up to the most that was asked for."""
        return bytes(self._body)

    @property
    def streamed(self) -> bool:
        """Return whether it is a stream of events, or what an engine in process told of one."""
        events = "text/event-stream" in self.headers.get("content-type", "")
        return self.direct or (self.status == 200 and events and not self.encoding)

    @property
    def encoding(self) -> str:
        """Return how its body is compressed, which was not asked for; '' if it is not."""
        found = self.headers.get("content-encoding", "").strip().lower()
        return "" if found == "identity" else one_line(found)[:40]

    @property
    def unfinished(self) -> bool:
        """Return whether it stops within an event."""
        return self._parser.unfinished

    def begins(self, status: int, headers: dict[str, str]) -> None:
        """Take the head of the reply."""
        self.status, self.headers = status, headers

    def receives(self, at_ns: int, data: bytes) -> None:
        """Take bytes of the body."""
        if not self.streamed:
            left = self._most_body - len(self._body)
            self.too_long = self.too_long or len(data) > left
            self._body += data[:left]
            return
        for text in self._parser.feed(data):
            if text.strip() == DONE:
                self.done = True
            elif not self.done:
                self._take(at_ns, text)

    def ends(self, at_ns: int) -> None:
        """Take the time at which the last bytes came."""
        self.ended_ns = at_ns

    def _take(self, at_ns: int, text: str) -> None:
        self._events_left -= 1
        if self._events_left < 0:
            raise BadStream("more events than a reply of so many tokens can have")
        event = event_of(text)
        self.usage, self.finish = event.usage or self.usage, event.finish or self.finish
        self.cached = self.cached if event.cached is None else event.cached
        self.reasoned = self.reasoned if event.reasoned is None else event.reasoned
        if event.text or event.thoughts or event.ids:
            self.arrivals.append(Arrival(at_ns, event))
        elif event.finish:
            self.last = Arrival(at_ns, event)

    def refusal(self) -> str:
        """Say why this reply is no stream."""
        if self.status is not None and 300 <= self.status < 400 and self.status != NOT_MODIFIED:
            to = _host_of(self.headers.get("location", "")) or "another path"
            return f"the server redirects to {one_line(to)[:100]}, which is not followed: give that address"
        if self.encoding:
            return f"HTTP {self.status}: the reply is compressed ({self.encoding}), which was not asked for"
        if self.status == 200:
            return (
                f"the reply is {one_line(self.headers.get('content-type', 'of no type'))[:80]}, not a stream"
            )
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            found = None
        told = message_of(found) if isinstance(found, dict) else one_line(self.body.decode(errors="replace"))
        return f"HTTP {self.status}: {told}" if told.strip() else f"HTTP {self.status}"


def _host_of(url: str) -> str | None:
    """Return the host of a URL that a server sent; None without one."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


class Trip:
    """One request with all its attempts."""

    def __init__(self, number: int, asked: Asked, scheduled_ns: int | None, sent_ns: int) -> None:
        self.number, self.asked, self._scheduled_ns, self.sent_ns = number, asked, scheduled_ns, sent_ns
        self._begun = False
        self.attempts = self.reconnects = self.connect_ns = 0
        self.connected = False  # there was a connection, so the request may have been read
        self.status: Status = "failed"
        self.reason = ""
        self.reply = Reply()
        self.end_ns = sent_ns

    def begins(self) -> None:
        """Note that the first attempt begins: with connecting, or with writing if there is a connection. It
        does so at the scheduled moment, if that is just to come."""
        if not self._begun:
            self._begun, self.sent_ns = True, waited_until(self._scheduled_ns or 0)

    def finish(self) -> None:
        """Note whether the reply, which is complete as HTTP, is a whole answer."""
        reply = self.reply
        if not reply.streamed:
            self.fail(reply.refusal(), cut=False)
        elif not reply.done and reply.finish is None:
            self.fail("the stream ended without [DONE] and without a finish_reason", cut=True)
        elif reply.unfinished and not reply.done:
            self.fail("the stream ended within an event", cut=True)
        elif not reply.arrivals:
            self.fail("the reply held no text, so there is nothing to time", cut=False)
        else:
            self.end_ns = time.monotonic_ns() if reply.ended_ns is None else reply.ended_ns
            self.status, self.reason = "ok", ""

    def fail(self, reason: str, *, cut: bool) -> None:
        """Note why it failed; a reply that ``cut`` off after its first token is cut short."""
        self.end_ns = time.monotonic_ns()
        self.status = "cut short" if cut and self.reply.arrivals else "failed"
        self.reason = reason

    def sample(self, key: Secret | None) -> Sample:
        """Return what is kept."""
        reply = self.reply
        n_in, said = reply.usage or (None, None)
        arrivals = with_the_end(reply.arrivals, reply.last, said, reply.reasoned)
        tokens = counted(arrivals, said, self.asked.output_tokens, reply.reasoned)
        thoughts = first_answer(arrivals)
        reason = without(key, self.reason)
        scheduled_ns = self.sent_ns if self._scheduled_ns is None else self._scheduled_ns
        return Sample(
            self.number, scheduled_ns, self.sent_ns, self.end_ns, self.status, reason, reply.status,
            self.attempts, self.reconnects, self.connect_ns, tuple(one.at_ns for one in arrivals),
            tokens.per_event, thoughts, n_in or None, reply.cached, self.asked.input_tokens,
            self.asked.output_tokens, tokens.how, tokens.verified, tokens.doubt, reply.finish,
        )  # fmt: skip


def without(key: Secret | None, text: str) -> str:
    """Return ``text`` without the key, in a length for people. It is hidden first: half a key is one too."""
    return (key.hidden_in(text) if key else text)[:MOST_LETTERS]
