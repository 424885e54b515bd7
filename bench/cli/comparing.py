"""What `bench compare` is asked: one question of several, and no option that has to do with another one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.cli import commands
from bench.cli.idle_options import refuse_idle
from bench.errors import UsageError


@dataclass(frozen=True)
class Asked:
    """The options of ``bench compare``."""

    run: Path | None
    other: Path | None
    history: bool
    metrics: tuple[str, ...]
    examples: int
    drift: bool
    columns: str
    as_json: bool


def answer(asked: Asked) -> None:
    """Print what is asked for. Raises UsageError if it is nothing, or more than one thing."""
    _must_be_one_question(asked)
    if asked.history:
        commands.history(asked.run or Path("results"), asked.metrics, as_json=asked.as_json)
    elif asked.run is None:
        raise UsageError("compare what? give a run, two runs, or --history")
    elif asked.examples:
        commands.show_examples(asked.run, asked.examples, as_json=asked.as_json)
    elif asked.drift:
        commands.show_drift(asked.run)
    else:
        commands.compare(asked.run, asked.other, as_json=asked.as_json, columns=asked.columns)


def _must_be_one_question(asked: Asked) -> None:
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
