"""The commands that read a result, and how the readers of a load end, for tests and the fuzzing script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bench.cli.load_pages import page
from bench.errors import BenchError, ExitCode
from bench.report.formats import ascii_json, harmless
from bench.serving import record
from bench.serving.load_verification import verify_load
from bench.store.files import write_atomic

FORMATS = "html,markdown,csv,jsonl,junit,pytest-benchmark,latex,pr-comment,github-action-benchmark"
READERS: tuple[tuple[str, ...], ...] = (
    ("compare", "RUN"), ("compare", "RUN", "--drift"), ("compare", "RUN", "--examples", "3"),
    ("compare", "RUN", "RUN"), ("report", "RUN", "--format", FORMATS, "-o", "OUT"),
    ("explain", "RUN", "ROW"), ("verify", "RUN"), ("price", "RUN", "--against", "api"),
    ("price", "RUN", "--split"), ("plan", "RUN", "--requests-per-day", "1000"), ("list", "runs", "ABOVE"),
    ("compare", "--history", "ABOVE"), ("price", "ABOVE", "--usd-per-hour", "2"),
)  # fmt: skip
ROWS = {"mixed": "cascade", "served": "fast", "commits": "candidate"}  # a row of each kind of run


def command(reader: Sequence[str], run: Path, kind: str, out: Path) -> list[str]:
    """The arguments of a reader that is given this run."""
    words = {"RUN": str(run), "OUT": str(out), "ROW": ROWS[kind], "ABOVE": str(run.parent)}
    return [words.get(word, word) for word in reader]


def load_outcome(load: Path) -> ExitCode:
    """How every reader of a load ends, with a summary that fits its journal, so that no difference between
    the two hides a fault; anything but a BenchError is one."""
    try:
        done = record.again(load, {})
        write_atomic(load / record.SUMMARY, json.dumps(done.to_json(), allow_nan=False))
        for one in (done, record.again(load, {"ttft": 5.0, "tpot": 1.0})):
            assert "\x1b" not in page(harmless(one), load) + ascii_json(one.to_json())
        verify_load(load)
    except BenchError as refused:
        return ExitCode(refused.exit_code) if str(refused).strip() else ExitCode.FAILED
    return ExitCode.OK
