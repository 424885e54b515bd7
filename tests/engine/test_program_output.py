"""A program's output through a real pipe: lines, a closed end, too much, and nothing within the time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO

import pytest

from bench.engine.program_output import has_more, next_line, read_part


@pytest.fixture
def pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", buffering=0) as writer:
        yield reader, writer


Pipe = tuple[IO[bytes], IO[bytes]]


def test_a_line_and_what_came_with_it(pipe: Pipe) -> None:
    reader, writer = pipe
    writer.write(b"one\ntw")
    assert next_line(reader, 1.0, 100) == b"one\ntw"
    assert not has_more(reader)
    writer.write(b"o\n")
    assert has_more(reader)
    assert next_line(reader, 1.0, 100) == b"o\n"


def test_a_closed_output_ends_a_line(pipe: Pipe) -> None:
    reader, writer = pipe
    writer.write(b"half")
    writer.close()
    assert next_line(reader, 1.0, 100) == b"half"
    assert has_more(reader)  # that it is closed
    assert read_part(reader) == b""
    assert next_line(reader, 1.0, 100) == b""


@pytest.mark.parametrize(("written", "enough"), [(4, False), (5, True), (9, True)])
def test_more_than_the_most_is_not_waited_for(pipe: Pipe, written: int, enough: bool) -> None:
    reader, writer = pipe
    writer.write(b"x" * written)
    if enough:
        assert next_line(reader, 1.0, 4) == b"x" * written
    else:
        with pytest.raises(TimeoutError):
            next_line(reader, 0.01, 4)


def test_nothing_within_the_time(pipe: Pipe) -> None:
    with pytest.raises(TimeoutError):
        next_line(pipe[0], 0.0, 100)
    assert not has_more(pipe[0], -1.0)
