"""Evaluation texts: by their name, by a path, and what a result keeps of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import texts
from bench.errors import UsageError
from bench.texts import EvaluationText, check_text, read_text, share_text

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, its first example


def test_a_result_keeps_name_digest_and_length() -> None:
    assert EvaluationText("mine.txt", "abc").about() == {"name": "mine.txt", "sha256": ABC, "characters": 3}
    assert EvaluationText("x", "é\n").about()["characters"] == 2
    assert EvaluationText("x", "é").sha256 != EvaluationText("x", "e").sha256


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_bytes("é\r\nb".encode())
    assert read_text(str(file)) == "é\r\nb"
    check_text(str(file))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff", "is not UTF-8 text"),
        (b"", "holds no text"),
        (b" \n", "holds no text"),
        (None, "no text .*did you mean 'english'"),
    ],
)
def test_what_is_no_text_is_said(content: bytes | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt" if content is not None else Path("englisch")
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        check_text(str(file))


def test_two_names_of_one_text(tmp_path: Path) -> None:
    for name, content in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "w x\n"), ("e", "\nx\n")):
        (tmp_path / name).write_text(content)
    one, same, other, longer, spaced = (str(tmp_path / name) for name in "abcde")
    assert share_text(one, same)
    assert not share_text(one, other)
    assert share_text(one, longer)
    assert share_text(longer, spaced)
    assert not share_text(other, longer)
    assert share_text("english", "english")
    assert share_text("english", "mixed")
    assert share_text("mixed", "chinese")
    assert not share_text("english", "chinese")
    assert not share_text("docstrings", "mixed")
    assert not share_text("english", one)


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand rows may be calibrated on one text of 64 MiB, and each is checked against the drift's."""
    file, other = tmp_path / "mine.txt", tmp_path / "other.txt"
    file.write_text("x")
    other.write_text("zy")
    read: list[str] = []
    reads = texts.read_text
    monkeypatch.setattr(texts, "read_text", lambda name: [read.append(name), reads(name)][1])
    for _ in range(5):
        check_text(str(file))
        assert not share_text(str(file), str(other))
    assert read == [str(file), str(file), str(other)]  # for its digest, and beside the other
    file.write_text("zy")
    assert share_text(str(file), str(other))
    assert read[3:] == [str(file), str(other)]
