"""A stub server in a process of its own for all tests of this directory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.serving.address import Address

STUB = Path(__file__).with_name("stub.py")


@contextmanager
def running(*arguments: str, program: Path = STUB) -> Iterator[Address]:
    """A stub server that runs until the end of the block; its first line is its port."""
    process = subprocess.Popen([sys.executable, str(program), *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Address("http", "127.0.0.1", int(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def stub() -> Iterator[Address]:
    with running() as address:
        yield address
