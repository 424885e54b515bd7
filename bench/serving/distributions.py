"""Ask a server for its distribution over the next token, over as much of the vocabulary as it gives.

A route is one way of asking. All of them send token ids, so that both sides read the same tokens, and ask for
one token. Servers that name tokens by their text alone have no route, because a text can be several tokens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.errors import BenchError
from bench.formatting import MIB
from bench.serving.address import Address, Secret
from bench.serving.client import fetch

MOST_BYTES = 64 * MIB  # of one position: 262,144 tokens of 200 bytes are 50 MiB
WAIT_S, TOKENIZE_S = 300.0, 60.0
LEAST_S, POSITION_S = 600.0, 20.0  # for all positions together: one may take WAIT_S, and not every one
FULL = "logprobs of /completions"  # where -1 means the whole vocabulary
USUAL_TOP = 20  # vLLM's --max-logprobs, and the most of OpenAI
MOST_VOCABULARY = 1_000_000
LEAST_LN = -9999.0  # what servers send for a probability of 0
MOST_LN = 0.01  # of a probability of 1, as servers round it
Distribution = Mapping[int, float]
Ask = Callable[[Sequence[int]], Awaitable[Distribution]]


def most_s(positions: int) -> float:
    """Return how long a server may take to show its distribution at so many positions."""
    return LEAST_S + POSITION_S * positions


class NoDistributions(BenchError):
    """The server gives no distributions that could be compared with the baseline's."""


@dataclass(frozen=True)
class Route:
    """A way that works. ``top`` tokens of each position are known; None means all of them. ``ask`` returns
    the natural logarithm of the probability by token id."""

    name: str
    top: int | None
    ask: Ask


@dataclass(frozen=True)
class Asker:
    """A server, and how it is called."""

    server: Address
    model: str
    key: Secret | None = None

    async def completion(self, ids: Sequence[int], top: int) -> Distribution:
        """Ask as vLLM wants it; ``top`` of −1 is all tokens, if it was started with --max-logprobs -1."""
        body = {
            "model": self.model, "prompt": list(ids), "max_tokens": 1, "temperature": 0, "logprobs": top,
            "return_tokens_as_token_ids": True,
        }  # fmt: skip
        found = await self._fetch(f"{self.server.prefix}/completions", body)
        try:
            row = found["choices"][0]["logprobs"]["top_logprobs"][0]  # type: ignore[index]
            return _sound({int(name.removeprefix("token_id:")): float(value) for name, value in row.items()})
        except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError):
            raise BenchError("the reply has no log-probabilities by token id") from None

    async def llama(self, ids: Sequence[int], top: int) -> Distribution:
        """Ask as llama.cpp's server wants it; its log-probabilities are those before sampling.

        It gives none with a token that is part of a letter only, as in Chinese, or that ends the text. So it
        is made to sample a whole letter, which changes nothing of what is known before sampling.
        """
        body = {
            "prompt": list(ids), "n_predict": 1, "n_probs": top, "temperature": 0, "cache_prompt": True,
            "post_sampling_probs": False, "stream": False, "logit_bias": [["a", 1000]],
        }  # fmt: skip
        found = await self._fetch("/completion", body)
        try:
            rows = found["completion_probabilities"][0]["top_logprobs"]  # type: ignore[index]
            return _sound({int(one["id"]): float(one["logprob"]) for one in rows})
        except (KeyError, IndexError, TypeError, ValueError, OverflowError):
            raise BenchError("the reply has no completion_probabilities") from None

    async def tokens(self, text: str, *, special: bool = False) -> list[object] | None:
        """Return the token ids of a text by ``/tokenize``, as vLLM and llama.cpp have it; None if its reply
        has no list of them. Raises BenchError if the server has no such page."""
        body = {
            "model": self.model, "prompt": text, "content": text,
            "add_special_tokens": special, "add_special": special,
        }  # fmt: skip
        found = await fetch(self.server, "/tokenize", self.key, body, TOKENIZE_S, most_bytes=MOST_BYTES)
        ids = found.get("tokens") if isinstance(found, Mapping) else None
        return ids if isinstance(ids, list) else None

    async def _fetch(self, path: str, body: object) -> object:
        return await fetch(self.server, path, self.key, body, WAIT_S, most_bytes=MOST_BYTES)


def _sound(found: dict[int, float]) -> Distribution:
    """Return log-probabilities by token id, those of a probability of 0 as servers usually send it.

    Raises ValueError for what is no token or no logarithm: a server may send anything.
    """
    if found and not 0 <= min(found) <= max(found) < MOST_VOCABULARY:
        raise ValueError("a token id that no vocabulary has")
    if not all(ln_p <= MOST_LN for ln_p in found.values()):
        raise ValueError("a log-probability that is no number, or that of no probability")
    return {token: max(ln_p, LEAST_LN) for token, ln_p in found.items()}


async def route_of(asker: Asker, vocabulary: int, ids: Sequence[int]) -> Route:
    """Return the way that shows most of the vocabulary, tried with the prompt ``ids``.

    Raises BenchError with what each way answered if none works.
    """
    refused = []
    for name, top, ask in _ways(asker, vocabulary):
        try:
            found = await ask(ids)
        except BenchError as bad:
            refused.append(f"{name}: {bad}")
            continue
        if not found:
            refused.append(f"{name}: no token")
            continue
        too_few = top is None and len(found) < vocabulary
        if max(len(found) - 1, *found) >= vocabulary or (too_few and name == FULL):
            raise NoDistributions(
                f"the server has another vocabulary than the baseline: {name} gave {len(found)} tokens up to "
                f"{max(found)}, and the baseline has {vocabulary}"
            )
        if too_few:
            refused.append(f"{name}: only {len(found)} of {vocabulary} tokens")
            continue
        return Route(name, top, ask)
    raise NoDistributions("the server gives no log-probabilities by token id\n  " + "\n  ".join(refused))


async def whole_route(asker: Asker, ids: Sequence[int]) -> Route:
    """Return the way that shows the whole vocabulary, whatever its size, tried with the prompt ``ids``.

    Raises BenchError with what each way answered if none works.
    """
    refused = []
    for name, top, ask in _ways(asker, MOST_VOCABULARY):
        if top is not None:
            continue
        try:
            found = await ask(ids)
        except BenchError as bad:
            refused.append(f"{name}: {bad}")
            continue
        if found and max(found) + 1 == len(found):
            return Route(name, None, ask)
        refused.append(f"{name}: only {len(found)} tokens")
    raise BenchError(
        f"the server does not give its distribution over the whole vocabulary ({'; '.join(refused)})"
    )


def _ways(asker: Asker, vocabulary: int) -> tuple[tuple[str, int | None, Ask], ...]:
    """Return the ways to ask, the one that shows most first: (name, tokens that it shows, how)."""
    return (
        (FULL, None, lambda one: asker.completion(one, -1)),
        ("n_probs of /completion", None, lambda one: asker.llama(one, vocabulary + 1)),
        (FULL, USUAL_TOP, lambda one: asker.completion(one, USUAL_TOP)),
    )
