"""Files of others: regular ones are read up to a bound, and nothing else is waited for."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import bounded
from bench.bounded import keep_short, must_be_modest, open_regular, open_to_append, read_bounded, tail


def refused(path: Path, *, follow: bool = True) -> str:
    with pytest.raises(OSError, match=r".") as caught:
        read_bounded(path, 100, follow=follow)
    return str(caught.value.strerror)


def test_up_to_the_bound(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100)
    assert read_bounded(file, 100) == b"x" * 100
    file.write_bytes(b"x" * 101)
    assert refused(file) == "is larger than 100 bytes"


def test_a_file_whose_size_is_not_known(tmp_path: Path) -> None:
    """The kernel says that its own files have no bytes, and a file can grow after it was opened."""
    assert b"\nPid:\t" in read_bounded(Path("/proc/self/status"), 100_000)
    assert refused(Path("/proc/self/status")) == "is larger than 100 bytes"


def test_a_bound_in_mib(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(3 << 20)
    with pytest.raises(OSError, match="is larger than 2 MiB"):
        read_bounded(tmp_path / "file", 2 << 20)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as here:
        here.bind(str(tmp_path / "socket"))
    (tmp_path / "directory").mkdir()
    assert refused(tmp_path / "fifo") == "is a FIFO, not a regular file"
    assert refused(tmp_path / "socket") == "is a socket or a FIFO, not a regular file"
    assert refused(tmp_path / "directory") == "is a directory, not a regular file"
    assert refused(Path("/dev/zero")) == "is a device, not a regular file"
    assert refused(tmp_path / "nothing") == "No such file or directory"
    assert refused(tmp_path / "a\0b") == "embedded null byte"


def test_a_link_is_followed_only_if_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_bounded(tmp_path / "link", 100) == b"content"
    assert refused(tmp_path / "link", follow=False) == "is a link, and links are not followed"


def test_opening_says_where(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="is a directory") as caught, open_regular(tmp_path):
        pass
    assert caught.value.filename == str(tmp_path)


def test_a_log_is_our_own_and_private(tmp_path: Path) -> None:
    with open_to_append(tmp_path / "log") as log:
        log.write(b"one ")
    with open_to_append(tmp_path / "log") as log:
        log.write(b"two")
    assert (tmp_path / "log").read_bytes() == b"one two"
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_a_log_is_written_nowhere_else(tmp_path: Path, kind: str) -> None:
    (tmp_path / "precious").write_text("mine")
    log = tmp_path / "log"
    {
        "link": lambda: log.symlink_to("precious"),
        "fifo": lambda: os.mkfifo(log),
        "directory": log.mkdir,
    }[kind]()
    said = {"link": "Too many levels of symbolic links", "fifo": "No such device", "directory": "directory"}
    with pytest.raises(OSError, match=said[kind]):
        open_to_append(log)
    assert (tmp_path / "precious").read_text() == "mine"


def test_the_end_of_a_large_file(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 1000 + b"the end")
    assert tail(tmp_path / "log", 7) == b"the end"
    assert tail(tmp_path / "log", 5000) == b"x" * 1000 + b"the end"


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        (b"[" * 100 + b"]" * 100, True),
        (b"[" * 101 + b"]" * 101, False),
        (b'{"a":' * 101 + b"1" + b"}" * 101, False),
        (b'[{"a":' * 51 + b"1" + b"}]" * 51, False),
        (b"[" + b"[]," * 5000 + b"1]", True),
        (b'["' + b"[" * 5000 + b'"]', True),  # brackets within text
        (b'["' + b"]" * 5000 + b'",' + b"[" * 101, False),
        (b'["\\"]]]]]]\\\\",' + b"[" * 100, False),
        (b'["a\nb' + b"[" * 200 + b'"]', True),
    ],
)
def test_how_deep_json_may_be(text: bytes, fine: bool) -> None:
    if fine:
        must_be_modest(text)
    else:
        with pytest.raises(ValueError, match="nested too deeply"):
            must_be_modest(text)


@pytest.mark.parametrize("text", [b'"', b'\\"', b'"\\', b'\\\\"', b'"a'])
def test_text_without_an_end_takes_no_time(text: bytes) -> None:
    began = time.process_time()
    must_be_modest(b"[]," * 101 + b'"' + text * 1_000_000)
    assert time.process_time() - began < 2


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


def test_a_pointer_of_git_lfs_is_not_the_file(tmp_path: Path) -> None:
    """Whoever reads it would say that the weights, the prompts or the text are damaged."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(LFS)
    with pytest.raises(OSError, match=r"is a pointer of Git LFS.*`git lfs pull`") as caught:
        read_bounded(file, 10_000)
    assert caught.value.filename == str(file)
    file.write_bytes(LFS + b" " * 2000)
    assert read_bounded(file, 10_000).startswith(b"version"), "a pointer is short: this is somebody's text"


TEXTS = st.text(alphabet='"\\[]{}:,a\né', max_size=8)
TREES = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@settings(max_examples=300, deadline=None)
@given(TREES, st.booleans())
def test_the_depth_of_json_is_that_of_its_tree(tree: object, escaped: bool) -> None:
    """Brackets in texts do not count, whatever quotes and backslashes stand beside them."""
    assert bounded._depth(json.dumps(tree, ensure_ascii=escaped).encode()) == depth(tree)


@pytest.mark.parametrize("text", ['"[[', r'"\"[[', '"', r'"\\', '["[[[[', '["]]"'])
def test_a_text_without_an_end_hides_what_is_in_it(text: str) -> None:
    assert bounded._depth(text.encode()) == text.startswith("[")


@pytest.mark.parametrize(("on_the_disk", "fine"), [(0, True), (1, False), (7 << 20, False), (40 << 20, True)])
def test_a_file_of_holes(tmp_path: Path, on_the_disk: int, fine: bool) -> None:
    """A terabyte of nothing takes no room, and hours to read. Where nothing is counted, nothing is known."""
    file = tmp_path / "weights"
    with file.open("wb") as out:
        out.write(b"x" * on_the_disk)
        out.truncate(200 << 20)
    if fine:
        bounded.must_be_on_the_disk(file)
    else:
        with pytest.raises(OSError, match=r"is 200 MiB long, and [07] of them are on the disk"):
            bounded.must_be_on_the_disk(file)


def test_a_short_file_may_have_holes(tmp_path: Path) -> None:
    with (tmp_path / "weights").open("wb") as out:
        out.write(b"x")
        out.truncate(64 << 20)
    bounded.must_be_on_the_disk(tmp_path / "weights")


@pytest.mark.parametrize(("size", "cut"), [(16 << 20, False), ((16 << 20) + 1, True), (40 << 20, True)])
def test_a_long_log_keeps_its_beginning_and_its_end(tmp_path: Path, size: int, cut: bool) -> None:
    """Whoever writes it has it open all the time."""
    log = tmp_path / "log"
    with open_to_append(log) as writer:
        writer.write(b"begin" + b"x" * (size - 8) + b"end")
        writer.flush()
        keep_short(log)
        writer.write(b" and more")
    found = log.read_bytes()
    assert (found[:5], found[-12:]) == (b"begin", b"end and more")
    assert (b"the middle of this log was left out" in found) == cut
    assert len(found) < (9 << 20) if cut else len(found) == size + len(b" and more")


def test_what_is_no_log_of_ours_is_not_shortened(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    with precious.open("wb") as out:
        out.truncate(17 << 20)
    (tmp_path / "log").symlink_to(precious)
    os.mkfifo(tmp_path / "fifo")
    for name in ("log", "fifo", "nothing", "."):
        keep_short(tmp_path / name)
    assert precious.stat().st_size == 17 << 20
