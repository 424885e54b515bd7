"""Ask a server for greedy replies to pieces of a text or to the items of a suite.

The requests come one at a time, so that no batch changes a reply. What a reasoning model thinks is part of
what it writes. Spaces at both ends of a reply are left out, because some servers cut them off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.drift.kl_and_perplexity import window_starts
from bench.errors import BenchError
from bench.records import SaidTexts
from bench.serving.client import Client, Settings
from bench.serving.reply import Asked, Trip
from bench.store.values import MOST_REPLY

PIECE_LETTERS = 400
MOST_REPLIES = 200
MOST_LETTERS = 400_000  # of all replies together: a journal's line has room for three times as many
LETTERS_A_TOKEN = 8  # no text has more on average
LEAST_SPACES = 8  # of a piece that is cut between words; Chinese has none
REFUSED = (400, 413, 422)  # what servers answer to a prompt that is too long for them


@dataclass(frozen=True)
class Said:
    """A reply as text, and whether it ended only because it reached the output limit; ``refused`` says why
    the server refused the prompt ('' if it did not)."""

    text: str
    cut: bool
    refused: str = ""


def paired(baseline: Sequence[Said], again: Sequence[Said], variant: Sequence[Said]) -> tuple[SaidTexts, ...]:
    """Return the replies of both sides, prompt by prompt; ``again`` are the second replies of the side that
    was asked twice."""
    return tuple(
        SaidTexts(of_base.text, second.text, of_variant.text, of_base.cut + of_variant.cut)
        for of_base, second, of_variant in zip(baseline, again, variant, strict=True)
    )


def pieces(text: str, count: int, output_tokens: int) -> tuple[str, ...]:
    """Return at most ``count`` pieces of a text as prompts, evenly spread, of up to 400 characters. There are
    fewer if replies of so many ``output_tokens`` could be too much for a journal.

    Raises BenchError if the text has fewer than 400 characters.
    """
    most = min(count, MOST_REPLIES, max(MOST_LETTERS // (LETTERS_A_TOKEN * output_tokens), 1))
    starts = window_starts(len(text), PIECE_LETTERS, PIECE_LETTERS * most)
    if not starts:
        raise BenchError(f"the evaluation text has {len(text)} characters, a prompt {PIECE_LETTERS}")
    return tuple(_between_words(text[start : start + PIECE_LETTERS]) for start in starts)


def _between_words(piece: str) -> str:
    """Leave out the words at both ends, of which a part may be missing."""
    words = piece.split(" ")
    return " ".join(words[1:-1]) if len(words) > LEAST_SPACES else piece


async def replies(settings: Settings, prompts: Sequence[str], output_tokens: int) -> list[Said]:
    """Return a server's greedy replies of at most ``output_tokens`` tokens, up to their own end.

    Raises BenchError if a request gets no whole reply, or if the server refuses a prompt.
    """
    found = await answers(settings, prompts, output_tokens)
    for one in found:
        if one.refused:
            raise BenchError(f"{settings.server.url}: no whole reply: {one.refused}")
    return found


async def answers(settings: Settings, prompts: Sequence[str], output_tokens: int) -> list[Said]:
    """Return the replies as ``replies`` does; one of them may say that the server refused its prompt.

    Raises BenchError if a request fails in another way, or if the replies are too long together.
    """
    # A load wants replies of equal length; here a reply ends where the model ends it.
    extra = {key: value for key, value in settings.extra.items() if key != "ignore_eos"}
    client = Client(replace(settings, extra=extra))
    found: list[Said] = []
    try:
        for number, prompt in enumerate(prompts):
            found.append(_said(client, await client.trip(number, Asked(prompt, 0, output_tokens))))
            must_be_modest(found)
    finally:
        client.close()
    return found


def must_be_modest(found: Sequence[Said]) -> None:
    """Raise BenchError for replies that are too long together."""
    letters = sum(len(one.text) for one in found)
    if letters > MOST_LETTERS:
        raise BenchError(
            f"{len(found)} replies have {letters} characters, and at most {MOST_LETTERS} are kept"
        )
    longest = max((len(one.text) for one in found), default=0)
    if longest > MOST_REPLY:
        raise BenchError(f"a reply has {longest} characters, and at most {MOST_REPLY} are compared")


def _said(client: Client, trip: Trip) -> Said:
    """Return what a reply says. Raises BenchError if it is not whole."""
    reply, url, key = trip.reply, client.settings.server.url, client.settings.key
    empty = reply.streamed and reply.finish is not None and not reply.arrivals
    if trip.status != "ok" and not empty:
        reason = trip.sample(key).reason
        if reply.status in REFUSED:
            return Said("", cut=False, refused=reason)
        raise BenchError(f"{url}: no whole reply: {reason}")
    text = "".join(one.event.thoughts + one.event.text for one in reply.arrivals)
    shown = key.hidden_in(text, whole=True) if key else text  # a server may send the key back
    # Half of a pair of surrogates, which JSON can hold, cannot be written into a file.
    return Said(shown.encode("utf-8", "replace").decode().strip(), reply.finish == "length")
