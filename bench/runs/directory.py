"""Make the directory of a run before anything is measured, and write its summary at the end."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from bench.errors import UsageError
from bench.measure.clock import utc_now
from bench.results.run_summary import RunSummary
from bench.results.summarise import summarise
from bench.results.summary import RUN_JSON, must_be_readable, summary_bytes
from bench.store.files import slug, write_atomic_bytes
from bench.store.replay import journal_of, load_record

LOGS = "logs"


def new_directory(out: Path, name: str) -> Path:
    """Make the directory of a new run in ``out`` and return it. Raises UsageError if it cannot be written."""
    stamp = utc_now().replace("-", "").replace(":", "").removesuffix("Z").replace("T", "-")
    directory = out / f"{stamp}-{slug(name)}-{secrets.token_hex(2)}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700)  # prompts and answers are in it
        (directory / LOGS).mkdir()
    except OSError as bad:
        raise UsageError(f"cannot write results to {out}: {bad.strerror}") from None
    return directory


def write_summary(directory: Path) -> RunSummary:
    """Make ``run.json`` from the journal; the file is written completely or not at all.

    Whatever goes wrong is a bug of ours, because the run was measured here; the summary of a journal from
    elsewhere is made within ``judging``.
    """
    summary = summarise(load_record(directory))
    content = summary_bytes(json.loads(json.dumps(summary.to_json())), journal_of(directory))
    must_be_readable(directory / RUN_JSON, content)
    write_atomic_bytes(directory / RUN_JSON, content)
    return summary
