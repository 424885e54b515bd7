"""GGUF files that readers would understand in two ways, or that would take more than the file has."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest
from ggufs import LLAMA, entry, gguf, text

from bench.errors import UsageError
from bench.models import gguf_format as fmt
from bench.models.convert import conversion_limits
from bench.models.fetch import ensure
from bench.models.gguf_header import check_gguf
from bench.models.reference import LocalPath


def number(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


def numbers(key: str, *values: int) -> bytes:
    return text(key) + struct.pack("<IIQ", 9, 4, len(values)) + struct.pack(f"<{len(values)}I", *values)


def said_of(place: Path, content: bytes) -> str:
    (place / "x.gguf").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        check_gguf(place / "x.gguf")
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{place / 'x.gguf'}: ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gguf(number("a.b", 1) + number("a.b", 2), 2), "the key 'a.b' occurs twice in the header"),
        (gguf(entries=(entry("w"), entry("w", begin=32))), "the tensor 'w' occurs twice in the header"),
        (gguf(LLAMA, 1), "the key 'general.architecture' occurs twice in the header"),
        (gguf(about=b""), "has no general.architecture, so nobody can know what model it is"),
        (gguf(number("general.architecture", 5), 1, about=b""), "is of type 4, not a text"),
        (gguf(number(fmt.TEMPLATE, 5), 1), "the value of 'tokenizer.chat_template' is of type 4, not a text"),
        (gguf(number(fmt.ALIGNMENT, 33), 1), "general.alignment is 33, not a power of 2"),
        (gguf(size=0), "tensor 'w' has sizes that cannot be"),
        (gguf(number("llama.block_count\0x", 1), 1), "the key 'llama.block_count\\x00x' cannot be printed"),
        (gguf(entries=(entry("w\0x"),)), "the tensor 'w\\x00x' cannot be printed"),
        (gguf(text("a") + struct.pack("<IIQIQ", 9, 9, 1, 4, 0), 1), "the array 'a' holds arrays"),
    ],
)
def test_what_readers_take_in_two_ways(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in said_of(tmp_path, content)


@pytest.mark.parametrize("begin", [0, 16, 31])
def test_two_tensors_in_one_place(tmp_path: Path, begin: int) -> None:
    """A file of 2 MB said that it had 65,536 tensors of 2 MB each, and its conversion got memory for all."""
    said = said_of(tmp_path, gguf(entries=(entry("a"), entry("b", begin=begin))))
    assert said == "tensor 'b' lies where another one does"
    (tmp_path / "x.gguf").write_bytes(gguf(entries=(entry("b", begin=32), entry("a"))))
    assert check_gguf(tmp_path / "x.gguf") == 16


def test_a_type_that_nobody_knows_takes_room_too(tmp_path: Path) -> None:
    """A tensor of 2**62 weights took no byte, so its conversion was allowed a hundred thousand years."""
    assert "is cut short: its tensors need" in said_of(tmp_path, gguf(size=2**62, kind=99))
    (tmp_path / "x.gguf").write_bytes(gguf(size=512, kind=99))
    weights = check_gguf(tmp_path / "x.gguf")
    assert weights == 512
    assert conversion_limits(weights).seconds < 301


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (numbers("llama.block_count", 2_000_000), "block_count is 2000000, and the weights are of 0 layers"),
        (number("llama.block_count", 2_000_000) + number("x.block_count", 1), "block_count is 2000000"),
        (numbers("llama.embedding_length", 0), "'llama.embedding_length' is 0, which no model has"),
        (numbers("llama.attention.head_count", 2**31), "is 2147483648, which no model has"),
    ],
)
def test_a_size_in_another_shape(tmp_path: Path, pairs: bytes, said: str) -> None:
    """Readers take an array of one number for the number, and of two architectures the last."""
    assert said in said_of(tmp_path, gguf(pairs, pairs.count(b"llama.") + pairs.count(b"x.")))


def test_a_size_for_each_layer(tmp_path: Path) -> None:
    pairs = numbers("llama.attention.head_count", 8, 0) + numbers("llama.feed_forward_length", 10**6, 0)
    (tmp_path / "x.gguf").write_bytes(gguf(pairs, 2))
    assert check_gguf(tmp_path / "x.gguf") == 8


def sparse(place: Path, pairs: bytes, count: int) -> str:
    """A file of a terabyte that takes no room on the disk: all of it is zeros."""
    (place / "x.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, count) + pairs)
    with (place / "x.gguf").open("r+b") as file:
        file.truncate(2**40)
    began = time.monotonic()
    with pytest.raises(UsageError) as caught:
        check_gguf(place / "x.gguf")
    assert time.monotonic() - began < 2
    return str(caught.value)


def test_headers_without_end(tmp_path: Path) -> None:
    many = text("a") + struct.pack("<IIQ", 9, 0, 2**30)
    assert "arrays of 1073741824 numbers in the header" in sparse(tmp_path, many, 1)
    long = text("a") + struct.pack("<IQ", 8, 2**30)
    assert "the texts in the header are longer than any model's" in sparse(tmp_path, long, 1)


def test_many_long_texts_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are kept to find those that occur twice, and readers make a list of the letters of a text."""
    texts = b"".join(text(f"key {n}") + struct.pack("<I", 8) + text("x" * 40) for n in range(4))
    (tmp_path / "x.gguf").write_bytes(gguf(texts, 4))
    check_gguf(tmp_path / "x.gguf")
    monkeypatch.setattr(fmt, "MAX_TEXTS_BYTES", 150)
    assert "longer than any model's, up to 'key 3'" in said_of(tmp_path, gguf(texts, 4))
    names = b"".join(number(f"{n}" * 400, 1) for n in range(3))
    monkeypatch.setattr(fmt, "MAX_NAMES_BYTES", 1000)
    assert "a name of 400 bytes in the header, or too many long ones" in said_of(tmp_path, gguf(names, 3))


# ---- vocabularies ----

TOKENS, SCORES, TYPES = (f"tokenizer.ggml.{name}" for name in ("tokens", "scores", "token_type"))
THREE = struct.pack("<IIQ", 9, 8, 3) + b"".join(map(text, "abc"))
ROWS = text("token_embd.weight") + struct.pack("<IQQIQ", 2, 4, 3, 0, 0)  # three rows of four numbers


def array(kind: int, form: str, *values: float) -> bytes:
    return struct.pack("<IIQ", 9, kind, len(values)) + struct.pack(f"<{len(values)}{form}", *values)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ({TOKENS: array(4, "I", 1, 2)}, f"the array '{TOKENS}' holds values of type 4, not texts"),
        ({TOKENS: struct.pack("<II", 4, 1)}, f"the value of '{TOKENS}' is of type 4, not an array of texts"),
        ({"tokenizer.ggml.merges": array(6, "f", 1)}, "merges' holds values of type 6, not texts"),
        ({SCORES: THREE}, f"the array '{SCORES}' holds values of type 8, not float32"),
        ({SCORES: array(12, "d", 1, 1, 1)}, "holds values of type 12, not float32"),
        ({TYPES: array(6, "f", 1, 1, 1)}, "holds values of type 6, not 32-bit whole numbers"),
        ({TYPES: array(0, "B", 1, 1, 1)}, "holds values of type 0, not 32-bit whole numbers"),
        ({TOKENS: THREE, SCORES: array(6, "f", 1, 1)}, f"'{SCORES}' has 2 values, and there are 3 tokens"),
        ({TOKENS: THREE, TYPES: array(5, "i", *[1] * 4)}, f"'{TYPES}' has 4 values, and there are 3 tokens"),
        ({SCORES: array(6, "f", 1)}, f"'{SCORES}' has 1 values, and there are 0 tokens"),
        ({TOKENS: struct.pack("<IIQ", 9, 8, 4) + b"".join(map(text, "abcd"))}, "its tokenizer has 4 tokens"),
        (
            {"llama.vocab_size": struct.pack("<II", 4, 4)},
            "its vocab_size has 4 tokens, and token_embd.weight",
        ),
        (
            {"tokenizer.ggml.eos_token_id": struct.pack("<I", 8) + text("2")},
            "is of type 8, not a whole number",
        ),
    ],
)
def test_a_vocabulary_that_does_not_fit(tmp_path: Path, pairs: dict[str, bytes], said: str) -> None:
    """transformers converted scores that were texts, and said of others that a float is not subscriptable."""
    held = b"".join(text(key) + value for key, value in pairs.items())
    assert said in said_of(tmp_path, gguf(held, len(pairs), entries=(ROWS,)))


def test_a_vocabulary_that_fits(tmp_path: Path) -> None:
    """The embeddings may have more rows than there are tokens."""
    scores, types = array(6, "f", 1, 2, 3), array(5, "i", 1, 1, 1)
    pairs = {TOKENS: THREE, SCORES: scores, TYPES: types, "llama.vocab_size": struct.pack("<II", 4, 2)}
    held = b"".join(text(key) + value for key, value in pairs.items())
    (tmp_path / "x.gguf").write_bytes(gguf(held, len(pairs), entries=(ROWS,)))
    assert check_gguf(tmp_path / "x.gguf", to_convert=True) == 12


def test_a_row_that_is_no_whole_number_of_blocks(tmp_path: Path) -> None:
    """Two rows of 16 are 32 weights, and no row of them is a block of Q8_0."""
    rows = text("w") + struct.pack("<IQQIQ", 2, 16, 2, 8, 0)
    assert said_of(tmp_path, gguf(entries=(rows,))) == "tensor 'w' has sizes that cannot be"


def test_a_type_that_the_conversion_does_not_know_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp may know it, if it is newer than we are."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "x.gguf").write_bytes(gguf(kind=99, size=512))
    assert check_gguf(tmp_path / "x.gguf") == 512
    began = time.monotonic()
    with pytest.raises(UsageError, match="tensor 'w' is of type 99, which is unknown here"):
        ensure(LocalPath(tmp_path / "x.gguf"))
    assert time.monotonic() - began < 1
