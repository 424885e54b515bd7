"""Define the options of `bench compare`, and check which of them can be combined."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.cli.idle_options import refuse_idle
from bench.errors import UsageError


@dataclass(frozen=True)
class CompareOptions:
    """The options of ``bench compare``."""

    run: Path | None
    other: Path | None
    history: bool
    metrics: tuple[str, ...]
    examples: int
    drift: bool
    columns: str
    as_json: bool


def must_be_one_question(asked: CompareOptions) -> None:
    """Raise UsageError for options that ask different questions, and for options that would do nothing."""
    two = asked.other is not None
    columns, drift, examples = bool(asked.columns), asked.drift, bool(asked.examples)
    if asked.history:
        given = {"a second run": two, "--examples": examples, "--drift": drift, "--columns": columns}
        refuse_idle(given, "--history shows some figures of all runs in a directory")
        return
    refuse_idle({"--metric": bool(asked.metrics)}, "it chooses what --history shows")
    if examples:
        if two:
            raise UsageError("--examples is for one run")
        refuse_idle({"--drift": drift, "--columns": columns}, "--examples shows replies")
    if drift:
        if two or asked.as_json:
            raise UsageError("--drift is the text for one run; --json alone has every figure")
        refuse_idle({"--columns": columns}, "--drift shows all drift figures")
    if asked.as_json and not two:
        refuse_idle({"--columns": columns}, "--json has every figure")
