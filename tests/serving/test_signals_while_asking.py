"""A signal that comes while a server is asked something is no answer of the server.

Where a server may lack a page, its refusal is caught, and the load goes on without the page. A SIGTERM that
came there was taken for such a refusal, and the run ended three seconds later.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable

import pytest

from bench.errors import BenchError, TerminatedRun
from bench.serving import cache_hits, distributions, prompts
from bench.serving.address import Address
from bench.serving.cache_hits import hits_of
from bench.serving.distributions import Asker, whole_route
from bench.serving.drift import _same_tokens
from bench.serving.load import _no_collection
from bench.serving.prompts import tokenizer_of
from bench.serving.server_drift import Scoring, must_have_same_tokens

AT = Address("http", "127.0.0.1", 1)
ASKER = Asker(AT, "m", None)
QUESTIONS: dict[str, Callable[[], Awaitable[object]]] = {
    "tokenizer": lambda: tokenizer_of(AT, "m", None),
    "counters": lambda: hits_of(AT, None),
    "same tokens as the baseline": lambda: _same_tokens(ASKER, "a", [1]),
    "same tokens as the other server": lambda: must_have_same_tokens(ASKER, Scoring((), "a", (1,))),
    "distributions": lambda: whole_route(ASKER, [1]),
}


def asked(question: str, ends: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fetched(*_given: object, **_named: object) -> object:
        raise ends

    for module, name in ((prompts, "fetch"), (distributions, "fetch"), (cache_hits, "fetch_text")):
        monkeypatch.setattr(module, name, fetched)

    async def ask() -> None:
        await QUESTIONS[question]()

    asyncio.run(ask())


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_signal_is_no_refusal(question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TerminatedRun):
        asked(question, TerminatedRun("terminated"), monkeypatch)


@pytest.mark.parametrize("question", [name for name in QUESTIONS if name != "distributions"])
def test_a_refusal_is_one(question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked(question, BenchError("HTTP 404"), monkeypatch)


class Round:
    """Garbage that only a collection finds. A signal comes while it is collected."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGTERM)


def test_a_signal_while_garbage_is_collected_is_not_dropped() -> None:
    """Before each block of a row is a collection. The run went on, and ended when the signal was raised again
    three seconds later."""

    def ends(_number: int, _frame: object) -> None:
        raise TerminatedRun("terminated")

    before = signal.signal(signal.SIGTERM, ends)
    try:
        Round()
        with pytest.raises(TerminatedRun), _no_collection():
            pass
    finally:
        signal.signal(signal.SIGTERM, before)
