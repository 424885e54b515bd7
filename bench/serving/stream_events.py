"""Read one event of a streamed reply: text, thoughts, token ids, usage, the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from bench.formatting import one_line
from bench.serving.sse import BadStream

DONE = "[DONE]"
_THOUGHTS = ("reasoning_content", "reasoning")
Usage = tuple[int | None, int | None]
MOST_FINISH = 60  # letters of why a reply ended, such as "length"


class ServerSaid(BadStream):
    """The server reported an error within a stream."""


@dataclass(frozen=True)
class Event:
    """``text`` and ``thoughts`` are what came; ``ids`` counts the token ids, if the server sends them.

    ``usage`` is the (input, output) tokens up to here: of the whole request in the last event, and in every
    event of a server that keeps a running count. ``cached`` is how many input tokens a prefix cache answered,
    and ``reasoned`` how many of the output tokens were reasoning.
    """

    text: str = ""
    thoughts: str = ""
    ids: int | None = None
    finish: str | None = None
    usage: Usage | None = None
    cached: int | None = None
    reasoned: int | None = None


def event_of(data: str) -> Event:
    """Read the data of one event. Raises BadStream if it is not what a server of the OpenAI kind sends."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise BadStream("an event is not JSON") from None
    if not isinstance(found, dict):
        raise BadStream("an event is not an object of JSON")
    if found.get("error"):
        raise ServerSaid(f"the server reported an error: {message_of(found)}")
    choices = found.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(one, dict) for one in choices):
        raise BadStream("an event's choices are not a list of objects")
    return _choice(choices[0] if choices else {}, found.get("usage"))


def message_of(found: Mapping[str, object]) -> str:
    """Return a server's error message on one line. A key may be in it: hide that first, and cut it then."""
    error = found.get("error", found)
    text = error.get("message", error) if isinstance(error, Mapping) else error
    return one_line(str(text))


def _choice(choice: Mapping[str, object], used: object) -> Event:
    delta = choice.get("delta")
    given = delta if isinstance(delta, Mapping) else {}
    thoughts = next((given[key] for key in _THOUGHTS if isinstance(given.get(key), str)), "")
    text = given.get("content") if isinstance(delta, Mapping) else choice.get("text")
    finish = one_line(str(choice.get("finish_reason") or ""))[:MOST_FINISH]
    ids = choice.get("token_ids", given.get("token_ids"))
    return Event(
        text if isinstance(text, str) else "",
        str(thoughts),
        len(ids) if isinstance(ids, list) else None,
        finish or None,
        *_usage(used),
    )


def _usage(found: object) -> tuple[Usage | None, int | None, int | None]:
    """Return the tokens (in, out), and how many of them a cache answered and were reasoning."""
    if not isinstance(found, Mapping):
        return None, None, None
    cached = _detail(found, "prompt_tokens_details", "cached_tokens")
    reasoned = _detail(found, "completion_tokens_details", "reasoning_tokens")
    return (_count(found.get("prompt_tokens")), _count(found.get("completion_tokens"))), cached, reasoned


def _detail(found: Mapping[str, object], block: str, key: str) -> int | None:
    details = found.get(block)
    return _count(details.get(key)) if isinstance(details, Mapping) else None


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 10**9 else None
