"""Make prompts that no server has seen before, so that no prefix cache answers them; or, if asked for,
prompts that begin alike, as those of an application with a system prompt and of a conversation do.

They are made of common English words, most of which are one token. How many tokens a word is on a server is
measured with its own tokenizer where it lends it (``/tokenize``), else a word counts as a token and the
server's usage says what it was.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence

from bench.errors import BenchError
from bench.serving.address import Address, Secret
from bench.serving.arrivals import NOTHING_SHARED, Sharing, Spoken
from bench.serving.client import fetch, within
from bench.serving.reply import MOST_BODY, Asked
from bench.serving.traces import MOST_TOKENS

_TEXT = """
time year people way day man thing woman life child world school state family student group country
problem hand part place case week company system program question work government number night point home
water room mother area money story fact month lot right study book eye job word business issue side kind
head house service friend father power hour game line end member law car city community name president
team minute idea body information back parent face others level office door health person art war history
party result change morning reason research girl guy moment air teacher force education foot boy age
policy process music market sense nation plan college interest death experience effect use class control
field development role effort rate heart drug show leader light voice wife police mind price report
decision son view relationship town road arm difference value building action season society tax director
position player record paper space ground form event official matter center couple site project activity
star table need court oil situation cost industry figure street image phone data picture practice piece
land product doctor wall patient worker news test movie north love support technology step baby computer
type attention film tree source organization hair look window culture chance brother energy period course
summer hundred plant opportunity term letter condition choice rule daughter south husband floor campaign
material population call economy hospital church risk fire future bank success
"""
WORDS = tuple(_TEXT.split())
ROUNDS = 6
MOST_WORDS = 8  # of a token, on average: a server that counts fewer tokens does not count these words
LEAST_OUTPUT = 2  # of one token there is no time per further token
TOKEN_BYTES = 24  # of a token in a reply of /tokenize, for each byte of the text: no text has more tokens
# How long a server may count the tokens of one load's prompts: it may answer each question just in time.
COUNT_S, COUNT_EACH_S, COUNT_MOST_S = 60.0, 1.0, 600.0
Count = Callable[[str], Awaitable[int]]


def words(count: int, draw: random.Random) -> str:
    """Return ``count`` words. Eight of them are one of 10**19 beginnings, so no two prompts share a block."""
    return " ".join(draw.choice(WORDS) for _ in range(count))


def by_words(lengths: Sequence[tuple[int, int]], seed: int) -> list[Asked]:
    """Return a prompt for each (input, output) length; a word is taken for a token."""
    draw = random.Random(seed)
    return [Asked(words(n_in, draw), n_in, n_out) for n_in, n_out in lengths]


async def by_tokens(lengths: Sequence[tuple[int, int]], seed: int, count: Count) -> list[Asked]:
    """Return a prompt for each length, in tokens of the server: words are added and cut until it fits.

    A length that cannot be hit exactly (the next word is two tokens) is missed by as little as was found.
    """
    draw = random.Random(seed)
    return [await _fitted(n_in, n_out, draw, count) for n_in, n_out in lengths]


async def _fitted(n_in: int, n_out: int, draw: random.Random, count: Count) -> Asked:
    if n_in == 0:
        return Asked("", 0, n_out)
    chosen = words(n_in, draw).split()
    best, found = chosen, 10 * MOST_TOKENS
    for _ in range(ROUNDS):
        now = await count(" ".join(chosen))
        if abs(now - n_in) <= abs(found - n_in):
            best, found = chosen, now
        if now == n_in:
            break
        wanted = min(max(round(len(chosen) * n_in / max(now, 1)), 1), MOST_WORDS * n_in)
        if wanted == len(chosen):
            wanted = max(wanted + (1 if now < n_in else -1), 1)
        more = words(max(wanted - len(chosen), 0), draw).split()
        chosen = chosen[:wanted] + more
    return Asked(" ".join(best), found, n_out)


async def in_conversations(
    lengths: Sequence[tuple[int, int]], sharing: Sharing, seed: int, counted: Count | None
) -> list[Asked]:
    """Return prompts that share what ``sharing`` says. ``lengths`` count the whole prompt of each request.

    The beginning is the same in every load of every run, as a system prompt is. The answers inside a
    conversation are words of the planned length, and not what the server said: both sides of a comparison
    read the same prompts, and a run can be repeated.
    """
    count = counted or _by_words
    draw = random.Random(seed)
    beginning = await _fitted(sharing.prefix_tokens, 0, random.Random(0), count)
    asked: list[Asked] = []
    for number, (n_in, n_out) in enumerate(lengths):
        said, known = beginning.prompt, beginning.input_tokens
        if number % sharing.turns:
            last = asked[-1]
            answer = await _fitted(last.output_tokens, 0, draw, count)
            said, known = f"{last.prompt} {answer.prompt}", last.input_tokens + answer.input_tokens
        new = await _fitted(max(n_in - known, 1), 0, draw, count)
        prompt = f"{said} {new.prompt}".strip()
        asked.append(Asked(prompt, await count(prompt), n_out))
    return asked


async def of_people(
    number: int, spoken: Spoken, begin: int, counted: Count | None
) -> tuple[list[Asked], int]:
    """Return the next ``number`` prompts from the place ``begin`` on, and the place behind them.

    Behind the last prompt comes the first again. Raises BenchError if all of them are too long.
    """
    count, place = counted or _by_words, begin
    asked: list[Asked] = []
    too_long = 0
    while len(asked) < number:
        prompt, answer = spoken.said[place % len(spoken.said)]
        place += 1
        n_in = await count(prompt)
        if n_in > spoken.most_input:
            too_long += 1  # in a row
            if too_long == len(spoken.said):
                raise BenchError(f"every prompt of the data set has more than {spoken.most_input} tokens")
            continue
        too_long = 0
        n_out = spoken.most_output if answer is None else await count(answer)
        asked.append(Asked(prompt, n_in, min(max(n_out, LEAST_OUTPUT), spoken.most_output)))
    return asked, place


async def _by_words(text: str) -> int:
    """Count as servers that lend no tokenizer are counted: a word is a token."""
    return len(text.split())


class Prompts:
    """The prompts of all loads of a run: new ones for each load, none of them twice (of a data set: not
    before its end).

    ``count`` counts tokens as the server does; without it a word is taken for a token. ``place`` is that of
    the next prompt of a data set.
    """

    def __init__(self, seed: int, count: Count | None, place: int = 0) -> None:
        self._seed, self._count, self._loads, self.place = seed, count, 0, place

    async def of(
        self,
        lengths: Sequence[tuple[int, int]],
        sharing: Sharing = NOTHING_SHARED,
        spoken: Spoken | None = None,
    ) -> list[Asked]:
        """Return the prompts of the next load; those of ``spoken`` go on behind the last ones.

        Raises BenchError if the server takes too long to count their tokens.
        """
        self._loads += 1
        most_s = min(COUNT_S + COUNT_EACH_S * len(lengths), COUNT_MOST_S)
        async with within(most_s, f"counting the tokens of {len(lengths)} prompts (/tokenize)"):
            return await self._made(lengths, sharing, spoken)

    async def _made(
        self, lengths: Sequence[tuple[int, int]], sharing: Sharing, spoken: Spoken | None
    ) -> list[Asked]:
        if spoken is not None:
            asked, self.place = await of_people(len(lengths), spoken, self.place, self._count)
            return asked
        mixed = (self._seed << 16) + self._loads
        if sharing != NOTHING_SHARED:
            return await in_conversations(lengths, sharing, mixed, self._count)
        if self._count is None:
            return by_words(lengths, mixed)
        return await by_tokens(lengths, mixed, self._count)


async def tokenizer_of(server: Address, model: str, key: Secret | None) -> Count | None:
    """Return a function that counts tokens by the server's ``/tokenize``; None if it has none."""

    async def count(text: str) -> int:
        body = {"model": model, "prompt": text, "content": text}  # vLLM reads prompt, llama.cpp content
        most = MOST_BODY + TOKEN_BYTES * len(text.encode())
        found = await fetch(server, "/tokenize", key, body, most_bytes=most)
        if isinstance(found, dict):
            if type(counted := found.get("count")) is int and 0 <= counted <= 10 * MOST_TOKENS:
                return counted
            if isinstance(found.get("tokens"), list):
                return len(found["tokens"])
        raise BenchError(f"{server.url}: /tokenize returned no tokens")

    try:
        await count("one two three")
    except BenchError:
        return None
    return count
