"""Verify a run: compute its summary again from the raw journal, and compare the stored files with it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from bench.errors import BenchError, ConfigError, IntegrityError
from bench.formatting import one_line
from bench.records import RunRecord
from bench.results.summarise import NOT_FINISHED, summarise
from bench.results.summary import RUN_JSON, SEAL, check_seal, earlier_state, read_summary
from bench.store.files import digest
from bench.store.journal import read_journal
from bench.store.packages import added_since, other_plugins
from bench.store.replay import JOURNAL, journal_of, judging, replay
from bench.store.run_lock import holder_of
from bench.store.schema import KINDS
from bench.store.source import source_digest
from bench.yaml_source import read_yaml

SPEC_YAML = "spec.yaml"
SHOWN = 80
CLOCK_SLACK_S = 2.0  # a smaller correction of the clock is not mentioned
LONG_PAUSE_S = 12 * 3600.0
ABSENT = "absent"
MADE_ANYWAY = "every command makes it from the journal, and --resume writes it"
CUT_SHORT = f"not written, the run was cut short before that; {MADE_ANYWAY}"
NOT_YET = "not written yet; every command makes it from the journal"
NOT_THERE = (
    "not there: the harness was ended after its last record and before it wrote this file, or the file was "
    f"deleted; {MADE_ANYWAY}"
)
CONTINUED = f"the run was continued and cut short before it wrote a new one; {MADE_ANYWAY}"
# The parts of run.json that are computed from the samples. Newer code may write more keys here than the code
# that made the run. Everything else in run.json is copied from the journal.
JUDGED = ("variants[", "comparisons[")


def verify_run(directory: Path) -> str:
    """Check the journal's chain, ``run.json`` and ``spec.yaml`` of a run. Return what was checked, as text.

    Raises UsageError if there is no run, and IntegrityError (exit code 6) with the first difference.
    """
    path = journal_of(directory)
    journal = read_journal(path, KINDS)
    record = replay(journal.records, journal.notices, str(path))
    count = len(journal.records)
    lines = [
        f"{path}: {count} records, each bound to the one before it; ends with {journal.digest}",
        same_spec(directory / SPEC_YAML, record),
        _same_summary(directory / RUN_JSON, record, journal.records, path),
        *journal.notices,
        *_clock_changes(journal.records),
    ]
    if record.finished_utc is None:
        holder = holder_of(directory)
        lines.append(f"the run is not finished: {holder} is at it" if holder else NOT_FINISHED)
    return "\n".join(map(one_line, lines))  # a directory may be called anything


def verify_summary(directory: Path) -> None:
    """Raise IntegrityError unless the journal of a run is intact and ``run.json`` is its summary."""
    path = journal_of(directory)
    journal = read_journal(path, KINDS)
    _same_summary(directory / RUN_JSON, replay(journal.records, (), str(path)), journal.records, path)


def _clock_changes(records: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Yield a note for each place where the wall clock was set back, or jumped by more than 12 hours.

    No figure depends on it: durations are measured with monotonic clocks.
    """
    known = [record for record in records if record["kind"] in KINDS]  # the schema has checked their times
    times = [(record["seq"], datetime.fromisoformat(str(record["at_utc"]))) for record in known]
    for (earlier, before), (later, after) in pairwise(times):
        passed = (after - before).total_seconds()
        if passed < -CLOCK_SLACK_S:
            yield f"the wall clock was set back by {-passed:.0f} s between records {earlier} and {later}"
        elif passed > LONG_PAUSE_S:
            yield (
                f"{passed / 3600:.1f} h lie between records {earlier} and {later}: the run was continued "
                "later, or the wall clock was set"
            )


def same_spec(path: Path, record: RunRecord) -> str:
    """Compare ``spec.yaml``, and the digest in the journal, with the config in the journal.

    Raises IntegrityError if they differ.
    """
    if digest(record.spec) != record.spec_digest:
        raise IntegrityError(f"{path.parent / JOURNAL}: spec_digest is not the digest of its spec")
    try:
        written = read_yaml(path, follow=False).data
    except ConfigError as bad:
        raise IntegrityError(f"{bad}") from None
    must_agree(path, written, record.spec, None)
    return f"{path}: as in the journal, digest {record.spec_digest}"


def _same_summary(
    path: Path, record: RunRecord, records: Sequence[Mapping[str, object]], journal: Path
) -> str:
    """Compare ``run.json`` with a summary that is made now; numbers must be exactly equal.

    A missing file is not an error. If the run was continued after the file was written, the file is compared
    with the records that the journal had at that time.
    """
    there = os.path.lexists(path)
    written = read_summary(path) if there else {}
    seal = written.pop(SEAL, None)
    of_file = digest(written)
    older = earlier_state(seal, journal) if there else None
    if older is not None:
        record = replay(records[:older], (), str(journal))
    with judging(journal):
        made = summarise(record).to_json()
        same = _digest(made) == of_file
        again = None if same else json.loads(json.dumps(made, allow_nan=False))
    if not there:
        return f"{path}: {_why_absent(path.parent, record)}"
    added = 0 if same else must_agree(path, written, again, record)
    if seal is not None:
        check_seal(path, of_file, seal, journal)
    new = f"; without {added} keys that the code of its time did not make" if added else ""
    if older is not None:
        return f"{path}: the summary of the first {older} of {len(records)} records{new}; {CONTINUED}"
    return f"{path}: the summary of the journal, figure by figure{new}"


def _why_absent(directory: Path, record: RunRecord) -> str:
    if record.finished_utc is not None:
        return NOT_THERE
    return NOT_YET if holder_of(directory) else CUT_SHORT


def _digest(made: object) -> str:
    """Return the digest of a summary; 1, 1.0 and true have different digests.

    Comparing digests first saves two thirds of the time of a search for differences. Raises ValueError for
    values that JSON does not have, such as NaN.
    """
    try:
        return digest(made)
    except BenchError as bad:
        raise ValueError(str(bad)) from None


def _other_code(record: RunRecord) -> str:
    """Return a hint if other code made the run, because a formula may have changed since; else ''."""
    if record.harness.get("source_sha256") == source_digest():
        return ""
    return f"; the run was made by other code than this (version {record.harness.get('version')})"


def must_agree(path: Path, written: object, made: object, record: RunRecord | None) -> int:
    """Compare the content of a file with what the journal gives.

    Return how many keys and intervals the file lacks because older code wrote it, or code
    without a package that adds metrics here. Raises IntegrityError for
    any other difference.
    """
    other = _other_code(record) if record else ""
    newer = other or (record and added_since(record.machine))
    clause = other_plugins(record.machine) if record else ""
    added = 0
    for where, there, here in _differences(written, made):
        if not (newer and _is_newer_output(where, there)):
            hint = other + (clause if where.startswith(JUDGED) else "")  # nothing else is a figure
            raise IntegrityError(
                f"{path}: {one_line(where) or 'the whole file'}: {there}, the journal gives {here}{hint}"
            )
        added += 1
    return added


def _is_newer_output(where: str, there: str) -> bool:
    """Return whether a difference is only that newer code writes more: another key, or an interval."""
    bound = there == "null" and where.endswith((".ci_low", ".ci_high"))
    return where.startswith(JUDGED) and (there == ABSENT or bound)


def _differences(written: object, made: object, where: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (place, value in the file, value from the journal) of each difference; 1 and 1.0 differ."""
    if isinstance(written, dict) and isinstance(made, dict):
        for key in [*made, *(key for key in written if key not in made)]:
            place = f"{where}.{key}".lstrip(".")
            if key not in written or key not in made:
                there, here = (_shown(side[key]) if key in side else ABSENT for side in (written, made))
                yield place, there, here
            else:
                yield from _differences(written[key], made[key], place)
    elif isinstance(written, list) and isinstance(made, list):
        for index, (entry, other) in enumerate(zip(written, made, strict=False)):
            yield from _differences(entry, other, f"{where}[{index}]")
        if len(written) != len(made):
            yield where, f"{len(written)} entries", f"{len(made)}"
    elif type(written) is not type(made) or written != made:
        yield where, _shown(written), _shown(made)


def _shown(value: object) -> str:
    """Return a value as JSON, shortened to ``SHOWN`` characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
