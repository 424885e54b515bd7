"""Parse server-sent events from chunks of bytes as they come off a socket.

The format is that of the HTML standard (https://html.spec.whatwg.org/multipage/server-sent-events.html). How
the bytes were cut into chunks changes nothing but the moment at which an event is complete.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.formatting import MIB

MOST_BYTES = MIB
_LINE = re.compile(rb"\r\n|\r|\n")
_MARK = b"\xef\xbb\xbf"


class BadStream(ValueError):
    """What a server sent is no stream of events; the text says why, for people."""


class EventParser:
    """Give ``feed`` the chunks of one reply; it yields the ``data`` of each event that is complete.

    Comments and the fields ``event``, ``id`` and ``retry`` are dropped, because servers of the OpenAI kind do
    not use them. An event without data is none. Time and memory are bounded: more than ``most_bytes`` until
    the end of an event, comments and empty lines included, raise BadStream, as bytes that are not UTF-8 do.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._started = False

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yield the data of each event that ``chunk`` completes."""
        seen = max(len(self._rest) - 1, 0)  # no line ends before that; at it there may be a \r
        self._rest += chunk
        if not self._started:
            if _MARK.startswith(self._rest[:3]) and len(self._rest) < 3:
                return
            self._started, seen = True, 0
            self._rest = self._rest.removeprefix(_MARK)
        begin = 0
        for end in _LINE.finditer(self._rest, seen):
            if end.group() == b"\r" and end.end() == len(self._rest):
                break  # a \n may follow in the next chunk
            line, size, begin = self._rest[begin : end.start()], end.end() - begin, end.end()
            self._must_fit(size)
            self._size += size
            if (event := self._line(line)) is not None:
                self._size = 0
                yield event
        self._rest = self._rest[begin:]
        self._must_fit(len(self._rest))

    @property
    def unfinished(self) -> bool:
        """Return whether the stream ends within an event."""
        return bool(self._data) or bool(self._rest.strip())

    def _line(self, line: bytes) -> str | None:
        """Take one line; return the data of the event that it ends, if it ends one."""
        if not line:
            data, self._data = self._data, []
            return _text(b"\n".join(data)) if data else None
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        return None

    def _must_fit(self, more: int) -> None:
        if self._size + more > self.most_bytes:
            raise BadStream(f"an event of more than {self.most_bytes} bytes")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as bad:
        raise BadStream(f"an event is not UTF-8 (byte {bad.start})") from None
