"""Bound what foreign logic may take: a chat template is a program, and it comes with the model."""

from __future__ import annotations

import faulthandler
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType

from bench.errors import Outcome, VariantFailed
from bench.formatting import one_line
from bench.machine.proc import numbers_in

LATEST = 3
PANIC, MOST_SAID = "PanicException", 200  # how Rust's libraries end, if not in a bare Exception
# What a tokenizer may take: it is a program too, and so is its decoder. Real ones make a million letters a
# second, of at most some hundred letters a token.
TOKENS_S, TOKENS_A_S = 60.0, 10_000
TOKENS_BYTES, BYTES_A_LETTER = 1 << 30, 500
DECODING_S, DECODING_BYTES, BYTES_A_TOKEN = 10.0, 256 << 20, 10_000
LOADING_S, LOADING_BYTES = 300.0, 4 << 30  # some are converted in Python first, a piece at a time
MOST_LETTERS, LETTERS_A_TOKEN = 10_000, 1000
TOKENS_A_LETTER = 64  # a letter of Arabic stands for eighteen, each of up to three bytes
_STATM = Path("/proc/self/statm")
_DATA = 5  # the field of statm with the pages of data and stack (proc(5))


class Explained:
    """A context manager that raises another error in the place of one for which ``explain`` returns it."""

    def __init__(self, explain: Callable[[BaseException], Exception | None]) -> None:
        self._explain = explain

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, bad: BaseException | None, _trace: object) -> None:
        if bad is not None and (said := self._explain(bad)) is not None:
            raise said from bad


def _of_rust(what: str, bad: BaseException) -> VariantFailed | None:
    if type(bad) is not Exception and type(bad).__name__ != PANIC:
        return None
    said = one_line(str(bad))[:MOST_SAID]
    return VariantFailed(Outcome.LOAD_ERROR, f"{what} cannot be used ({said})")


@contextmanager
def bounded(what: str, seconds: float, more_bytes: int) -> Iterator[None]:
    """Run the block in this time and with at most so much further memory.

    Raises VariantFailed, which calls the block ``what``, if it needs more of either. What does not listen (a
    single operation of a library) ends the process after three times as long. Only the main thread can
    be interrupted; elsewhere, and where the kernel does not say how much memory is in use, there is no bound.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def too_late(_signal: int, _frame: FrameType | None) -> None:
        raise VariantFailed(Outcome.LOAD_ERROR, f"{what} took more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, too_late)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    pages = numbers_in(_STATM)
    if len(pages) > _DATA:
        most = pages[_DATA] * resource.getpagesize() + more_bytes
        wanted = most if soft == resource.RLIM_INFINITY else min(most, soft)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    # Python sees a signal between two of its own steps. What never returns from one ends the process.
    faulthandler.dump_traceback_later(LATEST * seconds, exit=True)
    try:
        with Explained(lambda bad: _of_rust(what, bad)):
            yield
    except MemoryError:
        reason = f"{what} needs more than {more_bytes >> 20} MiB"
        raise VariantFailed(Outcome.LOAD_ERROR, reason) from None
    except RecursionError:
        raise VariantFailed(Outcome.LOAD_ERROR, f"{what} calls itself without an end") from None
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@contextmanager
def loading(directory: Path) -> Iterator[None]:
    """Bound the block in which the files of a tokenizer are read. Raises VariantFailed if they cannot be."""

    def unreadable(bad: BaseException) -> VariantFailed | None:
        known = isinstance(bad, Exception) or type(bad).__name__ == PANIC  # else somebody ends the process
        if isinstance(bad, VariantFailed | MemoryError | RecursionError) or not known:
            return None
        first = (str(bad).strip().splitlines() or [""])[0]
        return VariantFailed(
            Outcome.LOAD_ERROR,
            f"the tokenizer files in {directory} cannot be read ({type(bad).__name__}: "
            f"{one_line(first)[:MOST_SAID]}); save them again with save_pretrained",
        )

    with bounded("the model's tokenizer", LOADING_S, LOADING_BYTES), Explained(unreadable):
        yield


def within(vocabulary: int, ids: list[int], word: Callable[[int], object], letters: int) -> list[int]:
    """Return the ids that a tokenizer made of so many ``letters``. Raises VariantFailed for one that the
    model has no row for, and for more than any tokenizer makes; ``word`` returns the token of an id."""
    if len(ids) > TOKENS_A_LETTER * (letters + 1):
        raise VariantFailed(
            Outcome.LOAD_ERROR, f"the tokenizer makes {len(ids)} tokens of a text of {letters} letters"
        )
    if ids and max(ids) >= vocabulary:
        raise VariantFailed(
            Outcome.LOAD_ERROR,
            f"the tokenizer is not the model's: its token {max(ids)} ({str(word(max(ids)))[:40]!r}) is "
            f"beyond the model's vocabulary of {vocabulary}",
        )
    return ids


def encoding(letters: int) -> AbstractContextManager[None]:
    """Bound the block in which a tokenizer makes tokens of a text of so many letters."""
    return bounded("the tokenizer", TOKENS_S + letters / TOKENS_A_S, TOKENS_BYTES + BYTES_A_LETTER * letters)


def decoded(decode: Callable[[], object], tokens: int) -> str:
    """Return the text that a tokenizer makes of so many tokens. Raises VariantFailed for more than any makes.

    A decoder is a list of replacements, and eight of them can make a hundred million letters of one token.
    """
    with bounded(
        "the tokenizer's decoder", DECODING_S + tokens / TOKENS_A_S, DECODING_BYTES + BYTES_A_TOKEN * tokens
    ):
        text = str(decode())
    if len(text) > MOST_LETTERS + LETTERS_A_TOKEN * tokens:
        raise VariantFailed(
            Outcome.LOAD_ERROR, f"the tokenizer's decoder makes {len(text)} letters of {tokens} tokens"
        )
    return text
