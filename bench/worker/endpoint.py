"""Ask a server of the OpenAI kind in the place of a cascade's large model, one request after the other.

A request that the server refuses (429, 5xx, no such model) is not computed and costs nothing but the wait.
One that it began to answer is paid, whole or not: for the tokens that came, or for more if its usage says
so, as tokens of thinking may stay hidden. Where the connection broke or the time was over before the first
token, or what came back is no stream, nobody knows. Then the request is counted as if all of its answer had
been computed. A request that may have reached the server is never sent again.
"""

from __future__ import annotations

import asyncio
from typing import Any

from bench.engine.api_cascade import ApiAnswer
from bench.records import Json

NANOSECONDS = 1e9
HTTP_OK = 200
MOST_LETTERS = 120  # of a reason
MOST_TEXT = 20_000  # letters of an answer


class Endpoint:
    """A server, by the block ``cloud`` of a cascade. Connections are kept for the life of the worker. The
    ``key`` has a name and a value, and is in nothing that comes back."""

    def __init__(self, told: Json, key: Json | None = None) -> None:
        from bench.serving.address import Secret, address
        from bench.serving.client import Client, Settings
        from bench.serving.connection import must_be_installed

        must_be_installed()
        server = address(told["url"])
        self._key = None if key is None else Secret(key["name"], key["value"])
        seconds = float(told["timeout_s"])
        how = Settings(server, told["model"], told["api"], self._key, seconds, resend=False)
        self._client, self._loop = Client(how), asyncio.new_event_loop()

    def ask(self, text: str, input_tokens: int, output_tokens: int) -> ApiAnswer:
        """Send one request, and wait for its end."""
        from bench.serving.reply import Asked

        asked = Asked(text, input_tokens, output_tokens)
        trip = self._loop.run_until_complete(self._client.trip(0, asked))
        return _answer(trip, self._key, input_tokens, output_tokens)


def _answer(trip: Any, key: Any, input_tokens: int, output_tokens: int) -> ApiAnswer:
    """Return what a trip brought back, without the key."""
    sample, reply = trip.sample(key), trip.reply
    seconds = max(sample.end_ns - sample.sent_ns, 1) / NANOSECONDS
    n_in = sample.n_in or max(input_tokens, 1)
    empty = reply.finish is not None and not reply.arrivals  # the model had nothing to say
    if reply.streamed and (reply.arrivals or empty or reply.usage):
        whole = sample.ok or empty
        said = "".join(one.event.text for one in reply.arrivals)
        text = _plain(key.hidden_in(said, whole=True) if key else said) if whole else None
        reason = "" if whole else f"the answer broke off: {sample.reason}"
        n_out = max(sample.n_out, (reply.usage or (None, None))[1] or 0)
        return ApiAnswer(text, seconds, n_in, n_out, reason[:MOST_LETTERS])
    if reply.status == HTTP_OK or (reply.status is None and trip.connected):
        return ApiAnswer(None, seconds, n_in, output_tokens, f"no answer: {sample.reason}"[:MOST_LETTERS])
    return ApiAnswer(None, seconds, reason=sample.reason[:MOST_LETTERS])


def _plain(text: str) -> str:
    """Return a text that can be written into a file: JSON can hold half of a pair of surrogates."""
    return text[:MOST_TEXT].encode("utf-8", "replace").decode()
