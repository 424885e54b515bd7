"""Limit the time and memory of code that comes with a model, such as a chat template or a tokenizer."""

from __future__ import annotations

import faulthandler
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from bench.errors import Explained, Outcome, VariantFailed
from bench.formatting import one_line
from bench.machine.proc import numbers_in

LATEST = 3  # the process is ended after this many times the time limit
PANIC = "PanicException"  # libraries in Rust raise this or a bare Exception
MOST_SAID = 200  # characters of an error that are shown
# The limits of a tokenizer and of its decoder, which are programs too. Real ones handle a million characters
# per second, and a token has at most some hundred characters.
TOKENS_S, TOKENS_A_S = 60.0, 10_000
TOKENS_BYTES, BYTES_A_LETTER = 1 << 30, 500
DECODING_S, DECODING_BYTES, BYTES_A_TOKEN = 10.0, 256 << 20, 10_000
LOADING_S, LOADING_BYTES = 300.0, 4 << 30  # large, because some are first converted in Python, which is slow
MOST_LETTERS, LETTERS_A_TOKEN = 10_000, 1000
TOKENS_A_LETTER = 64  # one Arabic ligature is normalised to eighteen characters of up to three bytes each
_STATM = Path("/proc/self/statm")
_DATA = 5  # the field of statm with the pages of data and stack (proc(5))


def _of_rust(what: str, bad: BaseException) -> VariantFailed | None:
    """Return a VariantFailed for an error of a library in Rust; None for any other error."""
    if type(bad) is not Exception and type(bad).__name__ != PANIC:
        return None
    message = one_line(str(bad))[:MOST_SAID]
    return VariantFailed(Outcome.LOAD_ERROR, f"{what} cannot be used ({message})")


@contextmanager
def bounded(what: str, seconds: float, more_bytes: int) -> Iterator[None]:
    """Limit the block to ``seconds`` and to ``more_bytes`` of additional memory.

    Raises VariantFailed, which names the block ``what``, if it needs more of either. A single call into a
    library cannot be interrupted: after three times the limit it ends the process. Signals reach only the
    main thread, so the block has no limit in any other thread. It has no memory limit if the kernel does not
    say how much memory is in use.
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
    # Python handles a signal only between two bytecodes, so a C call that never returns must end the process.
    faulthandler.dump_traceback_later(LATEST * seconds, exit=True)
    try:
        with Explained(lambda bad: _of_rust(what, bad)):
            yield
    except MemoryError:
        reason = f"{what} needs more than {more_bytes >> 20} MiB"
        raise VariantFailed(Outcome.LOAD_ERROR, reason) from None
    except RecursionError:
        raise VariantFailed(Outcome.LOAD_ERROR, f"{what} calls itself endlessly") from None
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@contextmanager
def loading(directory: Path) -> Iterator[None]:
    """Limit the block that reads the files of a tokenizer. Raises VariantFailed if they cannot be read."""

    def unreadable(bad: BaseException) -> VariantFailed | None:
        ordinary = isinstance(bad, Exception) or type(bad).__name__ == PANIC  # not Ctrl-C or SystemExit
        if isinstance(bad, VariantFailed | MemoryError | RecursionError) or not ordinary:
            return None
        first = (str(bad).strip().splitlines() or [""])[0]
        return VariantFailed(
            Outcome.LOAD_ERROR,
            f"the tokenizer files in {directory} cannot be read ({type(bad).__name__}: "
            f"{one_line(first)[:MOST_SAID]}); save them again with save_pretrained",
        )

    with bounded("the model's tokenizer", LOADING_S, LOADING_BYTES), Explained(unreadable):
        yield


def must_not_draw(model: object) -> None:
    """Raise VariantFailed if the model of a tokenizer (a ``tokenizers.models.Model``) cuts words at random.

    BPE dropout (Provilkov et al. 2020, arXiv 1910.13267) and the sampling of Unigram (Kudo 2018, arXiv
    1804.10959), which an ``alpha`` of 0 makes uniform, are for training: no two rows would read the same.
    """
    dropout, alpha = (getattr(model, key, None) for key in ("dropout", "alpha"))
    if dropout or alpha is not None:
        key, value = ("dropout", dropout) if dropout else ("alpha", alpha)
        raise VariantFailed(
            Outcome.LOAD_ERROR,
            f"the tokenizer cuts words at random (its model has {key} {value:g}), so no two rows would read "
            f"the same tokens: set model.{key} to null in tokenizer.json",
        )


def whole_texts(tokenizer: Any) -> Any:
    """Return a ``tokenizers.Tokenizer`` that reads every text whole and alike.

    Its file may say how texts are cut and filled up for a batch: many encoders' files do. Raises
    VariantFailed as ``must_not_draw`` does.
    """
    must_not_draw(tokenizer.model)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def within(vocabulary: int, ids: list[int], word: Callable[[int], object], letters: int) -> list[int]:
    """Check and return the ids that a tokenizer made from a text of ``letters`` characters.

    ``word`` returns the token of an id, for the message. Raises VariantFailed for an id outside the model's
    vocabulary, and for more ids than any tokenizer makes from such a text.
    """
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


def as_bytes(vocabulary: int, text: str, *, random: bool) -> list[int]:
    """Return the bytes of a text modulo the vocabulary, for a model without a tokenizer.

    With ``random`` weights it does not matter what the model reads. Raises VariantFailed for any others.
    """
    if random:
        return [byte % vocabulary for byte in text.encode()]
    raise VariantFailed(
        Outcome.LOAD_ERROR,
        "there is no tokenizer beside the weights, so what the model reads would not be its text; "
        "add its tokenizer files, or measure speed alone with {random: NAME}",
    )


def encoding(letters: int) -> AbstractContextManager[None]:
    """Limit the block in which a tokenizer encodes a text of ``letters`` characters."""
    return bounded("the tokenizer", TOKENS_S + letters / TOKENS_A_S, TOKENS_BYTES + BYTES_A_LETTER * letters)


def decoded(decode: Callable[[], object], tokens: int) -> str:
    """Return the text of ``tokens`` tokens, from ``decode``. Raises VariantFailed if it is improbably long.

    A decoder is a list of replacements, and eight of them can turn one token into a hundred million
    characters.
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
