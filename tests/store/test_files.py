"""Names that stay inside their directory, JSON with one spelling, files that are whole or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError, UsageError
from bench.store import files
from bench.store.files import canonical_json, contained, digest, file_sha256, slug, strict_json, write_atomic
from bench.store.json_lines import json_lines

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates and control characters too
near_slugs = st.text(alphabet="abA1-. _", max_size=12)
hashed = st.builds(lambda name: slug(name + "!"), near_slugs)
names = any_text | near_slugs | hashed | st.text(alphabet="aB-", min_size=45, max_size=60)


@pytest.mark.parametrize(
    "name", ["quickstart", "int8-dynamic", "2025-01-01t120000", "a" * 48, "com", "lpt10"]
)
def test_a_plain_name_is_its_own_slug(name: str) -> None:
    assert slug(name) == name


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("Qwen/Qwen3-0.6B", "qwen-qwen3-0-6b"),
        ("a" * 300, "a" * 48),
        ("../../etc/passwd", "etc-passwd"),
        ("", "unnamed"),
        (".", "unnamed"),
        ("..", "unnamed"),
        ("con", "con"),
        ("lpt1", "lpt1"),
        ("CON", "con"),
        ("-rf", "rf"),
        ("a--b", "a-b"),
        ("x-0123abcd", "x-0123abcd"),
        ("\udc80", "unnamed"),
        ("naïve\x1b[31m\n", "na-ve-31m"),
    ],
)
def test_any_other_name_is_simplified_and_marked(name: str, start: str) -> None:
    expected = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    assert slug(name) == f"{start}-{expected}"


@given(names)
@pytest.mark.bad_input(40)
def test_a_slug_is_one_safe_path_component(name: str) -> None:
    made = slug(name)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", made)
    assert len(made) <= 57
    assert made not in {"con", "prn", "aux", "nul"}
    assert contained(Path("/results"), made) == Path("/results", made)


@given(names, names)
def test_distinct_names_have_distinct_slugs(one: str, other: str) -> None:
    assert (slug(one) == slug(other)) == (one == other)


@given(names)
def test_the_slug_of_a_slug_is_another_name(name: str) -> None:
    assert slug(slug(name)) != slug(name) or slug(name) == name


@pytest.mark.parametrize("parts", [("..",), ("a", "../../b"), ("/etc/passwd",), ("link", "x"), ("",), (".",)])
@pytest.mark.bad_input(40)
def test_a_path_outside_is_refused(tmp_path: Path, parts: tuple[str, ...]) -> None:
    root = tmp_path / "results"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="path outside"):
        contained(root, *parts)


@pytest.mark.parametrize("part", ["a\0b", "ring"])
def test_an_unusable_path_is_refused(tmp_path: Path, part: str) -> None:
    (tmp_path / "ring").symlink_to("ring")
    with pytest.raises(UsageError, match="not a usable path"):
        contained(tmp_path, part)


def test_a_path_inside_is_resolved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert contained(tmp_path, "link", "../link/run.json") == tmp_path.resolve() / "real" / "run.json"


@given(st.text(alphabet="./ab\\", max_size=12))
def test_what_is_contained_lies_below_the_root(part: str) -> None:
    try:
        found = contained(Path("/results/run"), part)
    except UsageError:
        return
    assert os.path.commonpath([found, "/results/run"]) == "/results/run"
    assert ".." not in found.parts


def test_canonical_json_has_one_spelling() -> None:
    assert canonical_json({"b": [1.0, None], "a": "é"}) == '{"a":"é","b":[1.0,null]}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    assert digest({}) == hashlib.sha256(b"{}").hexdigest()


def test_canonical_json_carries_halves_of_surrogate_pairs() -> None:
    assert canonical_json("\ud83d") == '"\\ud83d"'
    assert canonical_json("\ud83d\ude00 \udc80") == '"😀 \\udc80"'
    assert json.loads(canonical_json(["\ud83d"])) == ["\ud83d"]


@pytest.mark.parametrize("value", [math.nan, {"a": [math.inf]}])
def test_canonical_json_refuses_what_is_not_finite(value: object) -> None:
    with pytest.raises(BenchError, match="not finite"):
        canonical_json(value)


def test_canonical_json_refuses_a_ring() -> None:
    ring: list[object] = []
    ring.append(ring)
    with pytest.raises(BenchError):
        canonical_json(ring)
    with pytest.raises(TypeError):
        canonical_json(Path())


@given(st.recursive(st.none() | st.floats(allow_nan=False, allow_infinity=False) | any_text, st.lists))
def test_canonical_json_reads_back_to_the_same_spelling(value: object) -> None:
    text = canonical_json(value)
    assert canonical_json(strict_json(text.encode())) == text


def test_write_atomic_replaces(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    for text in ("old", "new é \udc80"):
        write_atomic(path, text)
    assert path.read_text(encoding="utf-8") == "new é \\udc80"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic_replaces_a_link_not_what_it_points_at(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("mine")
    (tmp_path / "run.json").symlink_to("target")
    write_atomic(tmp_path / "run.json", "new")
    assert (tmp_path / "target").read_text() == "mine"
    assert not (tmp_path / "run.json").is_symlink()


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_the_old_file_stays_when_the_write_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    def failing(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    path = tmp_path / "run.json"
    path.write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(BenchError, match=f"cannot write {path}: {os.strerror(error)}"):
            write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_ctrl_c_within_a_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "write_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "run.json", "new")
    assert list(tmp_path.iterdir()) == []


def test_write_atomic_into_no_directory(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="No such file"):
        write_atomic(tmp_path / "missing" / "run.json", "new")


def test_file_sha256(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"abc" * 100_000)
    assert file_sha256(tmp_path / "weights") == hashlib.sha256(b"abc" * 100_000).hexdigest()
    for name, said in (("missing", "No such file"), (".", "is a directory, not a regular file")):
        with pytest.raises(BenchError, match=said):
            file_sha256(tmp_path / name)


@pytest.mark.parametrize("most", [None, 100])
def test_a_file_of_lines_has_a_bound_as_a_whole(tmp_path: Path, most: int | None) -> None:
    """Behind a few lines there may be a hole of a terabyte, which nobody reads and everybody hashes."""
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "one"}\n')
    bounds = {} if most is None else {"most_bytes": most}
    assert len(list(json_lines(file, 9, "lines", 1000, **bounds))) == 1
    with file.open("r+b") as content:
        content.truncate(101 if most else (1 << 30) + 1)
    with pytest.raises(ValueError, match=r"mine\.jsonl: is larger than (0|1024) MiB"):
        next(json_lines(file, 9, "lines", 1000, **bounds))


def test_a_file_may_begin_with_the_mark_that_editors_write(tmp_path: Path) -> None:
    """The message was "decode using utf-8-sig", although a config with the same mark was read."""
    file = tmp_path / "mine.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"prompt": "one"}\r\n{"prompt": "two"}\r\n')
    found = [value for _, value in json_lines(file, 9, "lines", 1000)]
    assert found == [{"prompt": "one"}, {"prompt": "two"}]


def test_a_long_line_and_too_many_lines_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "one"}\n{"prompt": "two"}\n')
    with pytest.raises(ValueError, match=r"mine\.jsonl:2: more than 1 lines$"):
        list(json_lines(file, 1, "lines", 1000))
    with pytest.raises(ValueError, match=r"mine\.jsonl:1: a line of 0 MiB or more$"):
        list(json_lines(file, 9, "lines", 10))


@pytest.mark.parametrize("between", ["\n", "  \n"])
def test_an_empty_line_of_a_file_is_named(tmp_path: Path, between: str) -> None:
    """The message was "not JSON (Expecting value: line 2 column 1)", about a line that nobody sees."""
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "one"}\n' + between + '{"prompt": "two"}\n')
    with pytest.raises(ValueError, match=r"mine\.jsonl:2: an empty line$"):
        list(json_lines(file, 9, "lines", 1000))
