"""``bench verify``: make a run again from its raw journal, and compare the files beside it with that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from bench.errors import IntegrityError
from bench.records import RunRecord
from bench.results.summary import RUN_JSON, summarise
from bench.store.files import digest, strict_json
from bench.store.journal import read_journal
from bench.store.replay import JOURNAL, journal_of, replay
from bench.store.source import source_digest

SPEC_YAML = "spec.yaml"
SHOWN = 80
ABSENT = "absent"
# The parts of run.json that are judged from the samples: the code of today may make more keys there than the
# code that made the run. Everything else is in the journal word for word.
JUDGED = ("variants[", "comparisons[")


def verify_run(directory: Path) -> str:
    """Recompute the journal's chain, ``run.json`` and the digest of ``spec.yaml``; return what was checked.

    Raises UsageError if there is no run, IntegrityError (exit 6) with the first thing that differs.
    """
    path = journal_of(directory)
    journal = read_journal(path)
    record = replay(journal.records, journal.notices, str(path))
    count = len(journal.records)
    lines = [
        f"{path}: {count} records, each bound to the one before it; ends with {journal.digest}",
        _same_spec(directory / SPEC_YAML, record),
        _same_summary(directory / RUN_JSON, record),
        *journal.notices,
    ]
    if record.finished_utc is None:
        lines.append("the run was not finished; continue it with --resume")
    return "\n".join(lines)


def _same_spec(path: Path, record: RunRecord) -> str:
    """Compare the config beside the journal, and the digest in the journal, with the journal's config."""
    if digest(record.spec) != record.spec_digest:
        raise IntegrityError(f"{path.parent / JOURNAL}: spec_digest is not the digest of its spec")
    try:
        found = yaml.safe_load(_content(path))
    except (yaml.YAMLError, ValueError, RecursionError) as bad:
        raise IntegrityError(f"{path}: not YAML ({str(bad)[:SHOWN]})") from None
    _must_agree(path, found, record.spec, None)
    return f"{path}: as in the journal, digest {record.spec_digest}"


def _same_summary(path: Path, record: RunRecord) -> str:
    """Compare ``run.json`` with the summary made now; numbers must be exactly equal."""
    if record.finished_utc is None and not path.exists():
        return f"{path}: not written, the run was cut short before that"
    try:
        found = strict_json(_content(path))
    except ValueError as bad:
        raise IntegrityError(f"{path}: {bad}") from None
    made = json.loads(json.dumps(summarise(record).to_json(), allow_nan=False))
    added = _must_agree(path, found, made, record)
    new = f"; without {added} keys that the code of its time did not make" if added else ""
    return f"{path}: the summary of the journal, figure by figure{new}"


def _other_code(record: RunRecord) -> str:
    """Return a hint about a difference that may come from formulas that have changed since the run."""
    if record.harness.get("source_sha256") == source_digest():
        return ""
    return f"; the run was made by other code than this (version {record.harness.get('version')})"


def _must_agree(path: Path, found: object, made: object, record: RunRecord | None) -> int:
    """Return how many keys ``found`` lacks because other code wrote it; any other difference is an error.

    Raises IntegrityError.
    """
    hint = _other_code(record) if record else ""
    added = 0
    for where, there, here in _differences(found, made):
        if not (hint and there == ABSENT and where.startswith(JUDGED)):
            raise IntegrityError(
                f"{path}: {where or 'the whole file'}: {there}, the journal gives {here}{hint}"
            )
        added += 1
    return added


def _content(path: Path) -> bytes:
    if path.is_symlink():  # a foreign run must not make us print another file
        raise IntegrityError(f"{path}: is a link, and links are not followed")
    try:
        return path.read_bytes()
    except OSError as bad:
        raise IntegrityError(f"{path}: cannot be read ({bad.strerror}), so it cannot be checked") from None


def _differences(found: object, made: object, where: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (place, what is found there, what is made) of every difference; 1, 1.0 and true all differ."""
    if isinstance(found, dict) and isinstance(made, dict):
        for key in [*made, *(key for key in found if key not in made)]:
            place = f"{where}.{key}".lstrip(".")
            if key not in found or key not in made:
                there, here = (_shown(side[key]) if key in side else ABSENT for side in (found, made))
                yield place, there, here
            else:
                yield from _differences(found[key], made[key], place)
    elif isinstance(found, list) and isinstance(made, list):
        for index, (one, other) in enumerate(zip(found, made, strict=False)):
            yield from _differences(one, other, f"{where}[{index}]")
        if len(found) != len(made):
            yield where, f"{len(found)} entries", f"{len(made)}"
    elif type(found) is not type(made) or found != made:
        yield where, _shown(found), _shown(made)


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
