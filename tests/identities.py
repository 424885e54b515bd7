"""What is installed in an interpreter, looked at once by all tests of a process: a look takes a second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import environments
from bench.environments import Identity
from bench.runs import gate, sides

KNOWN: dict[bytes, Identity] = {}


def looked_at_once(python: Path | None, label: str = "") -> Identity:
    """The identity of an interpreter: None for this one, else a script, known by its content."""
    program = python.read_bytes() if python else b""
    if program not in KNOWN:
        KNOWN[program] = environments.identity(python)
    return replace(KNOWN[program], label=label) if label else KNOWN[program]


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gates look once. Who edits the installed tree between two of a test does not make them two comparisons,
    and ``test_environments.py`` tests what is seen."""
    for module in (gate, sides):
        monkeypatch.setattr(module, "identity", looked_at_once)
