"""Foreign logic within bounds: a chat template is a program, and it comes with the model."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bench.engine import Options, template_limits
from bench.engine.answers import AnsweringEngine
from bench.engine.template_limits import bounded
from bench.errors import Outcome, VariantFailed
from bench.runtimes import _text
from bench.runtimes._text import TextModel
from bench.runtimes.numpy import NumpyEngine

MIB = 1 << 20


def test_what_stays_within_its_bounds() -> None:
    before = (resource.getrlimit(resource.RLIMIT_DATA), signal.getsignal(signal.SIGALRM))
    with bounded("it", 5, 100 * MIB):
        assert len(bytearray(10 * MIB)) == 10 * MIB
    assert (resource.getrlimit(resource.RLIMIT_DATA), signal.getsignal(signal.SIGALRM)) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_too_long() -> None:
    began = time.monotonic()
    with (
        pytest.raises(VariantFailed, match=r"the loop took more than 0\.1 s") as caught,
        bounded("the loop", 0.1, 100 * MIB),
    ):
        all(iter(lambda: True, False))
    assert caught.value.outcome == Outcome.LOAD_ERROR
    assert time.monotonic() - began < 2


def test_too_much() -> None:
    with pytest.raises(VariantFailed, match="needs more than 100 MiB"), bounded("the text", 5, 100 * MIB):
        bytearray(3000 * MIB)
    assert len(bytearray(300 * MIB)) == 300 * MIB, "the bound has ended"


def test_what_does_not_listen_ends_its_process() -> None:
    """Python hears a signal between two of its own steps, and this is one step that takes minutes."""
    body = (
        "from bench.engine.template_limits import bounded\n"
        "with bounded('the sum', 0.3, 1 << 30):\n    sum(range(10**12))\n"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", body], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert time.monotonic() - began < 20


def test_another_thread_is_left_alone() -> None:
    found = []

    def work() -> None:
        with bounded("it", 0.01, 1 * MIB):
            time.sleep(0.05)
            found.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["done"]


class Reader(TextModel):
    """A model that reads text and does nothing else."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self.tokenizer, self.vocabulary, self._bytes_will_do = tokenizer, vocabulary, True

    facts = prefill = step = tokens = logits = synchronise = None  # type: ignore[assignment]


def model(template: str) -> TextModel:
    """A model that has only a tokenizer, with a chat template in transformers' own sandbox."""
    transformers: Any = pytest.importorskip("transformers")
    tokenizers: Any = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
    tokenizer.chat_template = template
    return Reader(tokenizer, 2)


def test_an_ordinary_template() -> None:
    assert model("{{ messages[0]['content'] }}").encode_chat("a") == [0]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ 'x' * 3000000000 }}", "chat template needs more than 512 MiB"),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "took more than 0.5 s",
        ),
        ("{{ 'x ' * 900000 }}", "makes 1800000 characters of a message of 1"),
        (
            "{{ 'x' * 20009 }}",
            "makes 20009 characters of a message of 1; the most is 8 times that, and 20000 more",
        ),
    ],
    ids=["memory", "time", "length", "a letter more"],
)
@pytest.mark.bad_input(38)
def test_a_template_that_means_harm(monkeypatch: pytest.MonkeyPatch, template: str, said: str) -> None:
    monkeypatch.setattr(_text, "TEMPLATE_S", 0.5)
    with pytest.raises(VariantFailed, match=said):
        model(template).encode_chat("a")


@pytest.mark.parametrize("message", ["a", "a " * 30_000])
def test_a_template_may_be_longer_than_its_message(message: str) -> None:
    """It may have a system prompt, and repeat what it was given."""
    assert model("{{ (messages[0].content + ' ') * 3 + 'x' * 19000 }}").encode_chat(message)


def test_a_model_without_a_template_needs_no_bound() -> None:
    assert Reader(None, 300).encode_chat("ab") == [97, 98]


class Decoder:
    """A tokenizer of which the decoder makes so many letters of any tokens."""

    def __init__(self, letters: int) -> None:
        self.letters = letters

    def decode(self, ids: list[int], **_more: object) -> str:
        return "x" * self.letters


@pytest.mark.parametrize("letters", [20_000, 400_000_000])
def test_a_decoder_that_makes_very_much_of_a_token(letters: int) -> None:
    """Eight replacements, each of one letter by eight, made 130 million letters of one token."""
    with pytest.raises(VariantFailed, match=r"the tokenizer's decoder (makes 20000 letters of 2|needs more)"):
        Reader(Decoder(letters), 10).text([1, 2])


def test_an_ordinary_decoder() -> None:
    assert Reader(Decoder(5), 10).text([1]) == "xxxxx"


def test_a_decoder_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_limits, "DECODING_S", 0.1)
    with pytest.raises(VariantFailed, match="the tokenizer's decoder took more than"):
        template_limits.decoded(lambda: all(iter(lambda: True, False)), 1)


@pytest.mark.parametrize("engine", ["numpy", "answers"])
def test_every_engine_bounds_its_tokenizer(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    class Answering(AnsweringEngine):
        def __init__(self) -> None:
            self._tokenizer: Any = Decoder(20_000)

        answer = None  # type: ignore[assignment]

    class Plain(NumpyEngine):
        def __init__(self) -> None:
            self._directory, self._tokenizer = Path("/"), Decoder(20_000)

    with pytest.raises(VariantFailed, match="makes 20000 letters of 1 tokens"):
        (Plain() if engine == "numpy" else Answering()).text([1])


def words(**more: Any) -> Any:
    """A tokenizer of two tokens, as the library of Hugging Face reads it from its file."""
    tokenizers: Any = pytest.importorskip("tokenizers")
    return tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")], **more))


@pytest.mark.parametrize("engine", ["transformers", "numpy", "answers"])
def test_every_engine_reads_a_text_whole_and_alike(tmp_path: Path, engine: str) -> None:
    """Files of encoders say how texts are cut and filled up; dropout is for training."""

    class Answering(AnsweringEngine):
        answer = None  # type: ignore[assignment]

    def encoded(tokenizer: Any) -> list[int]:
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        if engine == "transformers":
            return Reader(_text.tokenizer_of(tmp_path), 3).encode("abab")
        if engine == "numpy":
            plain = NumpyEngine.__new__(NumpyEngine)
            plain._directory, plain._vocabulary = tmp_path, 3
            return plain.encode("abab")
        return Answering(tmp_path, Options(), "x").encode("abab")

    cut = words()
    cut.enable_truncation(1)
    cut.enable_padding(length=100)
    assert encoded(cut) == [2, 2]
    with pytest.raises(VariantFailed, match=r"cuts words at random .*dropout 0.5"):
        encoded(words(dropout=0.5))


@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_a_unigram_that_samples_is_refused(alpha: float) -> None:
    unigram = pytest.importorskip("tokenizers").models.Unigram
    template_limits.must_not_draw(unigram([("a", 0.0)], 0))
    with pytest.raises(VariantFailed, match=f"its model has alpha {alpha:g}.*set model.alpha to null"):
        template_limits.must_not_draw(unigram([("a", 0.0)], 0, alpha=alpha))


def test_a_template_that_draws_numbers_draws_the_same_in_every_row() -> None:
    drawing = model("{{ range(100000)|random }}{{ lipsum() }}")
    turns = [{"role": "user", "content": "a"}]
    assert drawing._in_template(turns) == drawing._in_template(turns)


def test_a_template_that_reads_the_clock_reads_the_same_in_every_run() -> None:
    """Those of Llama 3 write the date, so prompts of yesterday would not be those of today."""
    dated = model("{{ strftime_now('%d %b %Y %H:%M:%S') }}")
    assert dated._in_template([{"role": "user", "content": "a"}]) == "26 Jul 2024 00:00:00"


class PanicException(BaseException):
    """As the binding of Rust names what Rust ends with."""


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (PanicException("no entry\nfound"), "x cannot be used (no entry found)"),
        (Exception("Missing [UNK] token"), "x cannot be used (Missing [UNK] token)"),
        (RecursionError("too deep"), "x calls itself endlessly"),
    ],
)
def test_how_libraries_of_rust_end(bad: BaseException, said: str) -> None:
    with pytest.raises(VariantFailed) as caught, bounded("x", 5, 1 << 30):
        raise bad
    assert caught.value.reason == said


def test_our_own_errors_stay_as_they_are() -> None:
    with pytest.raises(KeyError), bounded("x", 5, 1 << 30):
        raise KeyError("x")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (
            ValueError("no\nsense"),
            "the tokenizer files in /m cannot be read (ValueError: no); save them again",
        ),
        (PanicException("no entry"), "the tokenizer files in /m cannot be read (PanicException: no entry)"),
        (RecursionError("too deep"), "the model's tokenizer calls itself endlessly"),
        (MemoryError(), "the model's tokenizer needs more than 4096 MiB"),
    ],
)
def test_tokenizers_that_cannot_be_read(bad: BaseException, said: str) -> None:
    with pytest.raises(VariantFailed) as caught, template_limits.loading(Path("/m")):
        raise bad
    assert caught.value.reason.startswith(said)


def test_a_tokenizer_that_takes_for_ever_to_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_limits, "LOADING_S", 0.1)
    with (
        pytest.raises(VariantFailed, match=r"the model's tokenizer took more than 0\.1 s"),
        template_limits.loading(Path("/m")),
    ):
        all(iter(lambda: True, False))


def test_tokens_within_the_vocabulary() -> None:
    assert template_limits.within(3, [0, 2], str, 2) == [0, 2]
    assert template_limits.within(3, [], str, 0) == []
    with pytest.raises(VariantFailed, match=r"its token 3 \('3'\) is beyond the model's vocabulary of 3"):
        template_limits.within(3, [0, 3, 1], str, 3)
    with pytest.raises(VariantFailed, match="the tokenizer makes 129 tokens of a text of 1 letters"):
        template_limits.within(3, [0] * 129, str, 1)
    assert len(template_limits.within(3, [0] * 128, str, 1)) == 128
