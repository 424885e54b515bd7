"""Seal and load ``run.json``, which has everything that is needed to judge a run without measuring again.

The file gets a seal when it is written, and the seal is checked when it is read. If there is no such file, or
if the run was continued after it was written, the summary is made from the journal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.bounded import Contents, contents_of, is_file, read_bounded, why
from bench.errors import BenchError, IntegrityError
from bench.formatting import MIB
from bench.pricing.hardware import recorded_price
from bench.records import RunRecord
from bench.results.run_summary import Json, RunSummary
from bench.results.schema import Summary
from bench.results.summarise import summarise
from bench.results.text_digest import with_digest
from bench.store.files import digest, strict_json
from bench.store.journal_end import last_digest, records_up_to
from bench.store.replay import journal_of, judging, load_record
from bench.store.run_files import JOURNALS
from bench.store.run_files import RUN_JSON as RUN_JSON
from bench.store.values import check_block

SEAL = "seal"
# The largest file under results/reference has 0.8 MiB, 27,646 values, 4,230 lists and objects and 27,994
# keys, and a row has up to 1,000 keys.
MAX_BYTES = 32 * MIB
MOST = Contents(containers=160_000, values=1_100_000, keys=1_100_000)
MADE_AGAIN = "without this file it is made again from the journal"
UNSEALED = "its run.json has no seal and there is no journal beside it, so its figures cannot be checked"

# Parts of a row that take long to validate and that no list shows.
_HEAVY: Mapping[str, Any] = {
    "evidence": None, "warm_up": None, "noise": [], "examples": [], "drift": {},
}  # fmt: skip


def from_journal(directory: Path) -> RunSummary:
    """Verify the chain of a run's journal and summarise it. ``run.json`` is not read."""
    return recorded(directory)[1]


def recorded(directory: Path) -> tuple[RunRecord, RunSummary]:
    """Return a run as its journal has it, and its summary, as `from_journal` does."""
    record = load_record(directory)
    with judging(journal_of(directory)):
        return record, summarise(record)


def is_run(directory: Path) -> bool:
    """Return whether a directory has a run: a summary, or a journal, which may be packed or compacted."""
    return any(is_file(directory / name) for name in (RUN_JSON, *JOURNALS))


def sealed(content: Json, journal: Path) -> Json:
    """Return the content of ``run.json`` with its seal: the digests of the content and of the journal's end.

    Like the journal's chain, the seal protects against accidents, not against the owner of the files.
    """
    return {**content, SEAL: {"content_sha256": digest(content), "journal_sha256": last_digest(journal)}}


def summary_bytes(content: Json, journal: Path) -> bytes:
    """Return the bytes of ``run.json``: the content with its seal."""
    text = json.dumps(sealed(content, journal), indent=1, ensure_ascii=False, allow_nan=False)
    return with_digest(f"{text}\n".encode(errors="backslashreplace"))


def load_run(directory: Path, figures: Container[str] | None = None) -> RunSummary:
    """Load a run's summary from ``run.json``, or make it from the journal if there is no such file.

    The seal is checked, so a file is refused if it was edited or belongs to another journal. If the run was
    continued after the file was written, the summary is made again. Earlier versions wrote no seal. Their
    file is ignored if there is a journal; without a journal, the ``reasons`` of the run say that it cannot be
    checked. Raises UsageError if there is no run, and IntegrityError if the file is damaged.

    With ``figures``, only these figures of each row are read, without evidence and drift.
    """
    path = directory / RUN_JSON
    if not os.path.lexists(path):
        return from_journal(directory)
    content = read_summary(path)
    seal = content.pop(SEAL, None)
    has_journal = any(os.path.lexists(directory / name) for name in JOURNALS)
    if seal is None and has_journal:
        return from_journal(directory)
    journal = journal_of(directory) if has_journal else None
    if seal is not None and not check_seal(path, digest(content), seal, journal):
        return from_journal(directory)
    if figures is not None:
        content = without_evidence(content, figures)
    try:
        check_block(Summary, content, "the run")
        run = RunSummary.from_json(content)
        recorded_price(run.price, run.run_id)
    except IntegrityError as bad:
        raise IntegrityError(f"{path}: {bad}") from None
    return run if seal is not None else replace(run, reasons=(*run.reasons, UNSEALED))


def without_evidence(content: Json, figures: Container[str]) -> dict[str, Any]:
    """Return the content of ``run.json`` with only these figures of each row, and without its evidence.

    Malformed parts are kept, so that the validation can report them.
    """
    rows, ratios = content.get("variants"), content.get("comparisons")
    light = dict(content)
    if isinstance(rows, list):
        light["variants"] = [_row(row, figures) if isinstance(row, dict) else row for row in rows]
    if isinstance(ratios, list):
        light["comparisons"] = [ratio for ratio in ratios if not _is_left_out(ratio, figures)]
    return light


def _row(row: Json, figures: Container[str]) -> Json:
    metrics = row.get("metrics")
    if not isinstance(metrics, dict):
        return row
    return {**row, **_HEAVY, "metrics": {key: metrics[key] for key in metrics if key in figures}}


def _is_left_out(ratio: object, figures: Container[str]) -> bool:
    return isinstance(ratio, dict) and isinstance(ratio.get("metric"), str) and ratio["metric"] not in figures


def must_be_readable(path: Path, content: bytes) -> None:
    """Raise BenchError if ``run.json`` would be too large to be read back.

    Nothing that was measured is lost without it, because every command can make it from the journal.
    """
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"{len(content) // MIB} MiB, and the most is {MAX_BYTES // MIB}")
        contents_of(content).must_fit(MOST)
    except ValueError as bad:
        raise BenchError(
            f"{path} would be too large to be read back ({bad}), so it is not written; the journal beside it "
            "has everything that was measured"
        ) from None


def read_summary(path: Path) -> dict[str, Any]:
    """Read ``run.json`` without checks. Raises IntegrityError unless it is a regular file with an object."""
    return _parsed(path, _read(path))


def _read(path: Path) -> bytes:
    try:
        return read_bounded(path, MAX_BYTES, follow=False)
    except OSError as bad:
        raise IntegrityError(f"{path}: {why(bad)}") from None


def _parsed(path: Path, data: bytes) -> dict[str, Any]:
    try:
        content = strict_json(data, MOST)
    except ValueError as bad:
        raise IntegrityError(f"{path}: not JSON ({bad}); {MADE_AGAIN}") from None
    if not isinstance(content, dict):
        raise IntegrityError(f"{path}: the whole file is not an object; {MADE_AGAIN}")
    return content


def check_seal(path: Path, content_sha256: str, seal: object, journal: Path | None) -> bool:
    """Check the seal of ``run.json``, and return whether the file summarises all records of the journal.

    ``content_sha256`` is the digest of the content without the seal. Returns False if the run was continued
    after the file was written, and True without a journal. Raises IntegrityError if the file was changed, or
    belongs to another journal.
    """
    if not isinstance(seal, dict) or seal.get("content_sha256") != content_sha256:
        raise IntegrityError(f"{path}: was changed after it was written; {MADE_AGAIN}")
    if journal is None or seal.get("journal_sha256") == last_digest(journal):
        return True
    if earlier_state(seal, journal) is None:
        raise IntegrityError(f"{path}: is not the summary of {journal}; {MADE_AGAIN}")
    return False


def earlier_state(seal: object, journal: Path) -> int | None:
    """Return how many records a sealed summary was made from if the journal has more of them now.

    That happens if a run was continued and interrupted before it wrote a new summary. Returns None if the
    summary has all records, or if it belongs to another journal.
    """
    known = seal.get("journal_sha256") if isinstance(seal, dict) else None
    return None if known == last_digest(journal) else records_up_to(journal, known)
