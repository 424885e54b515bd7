"""The digest of the text of ``run.json``: it saves an index time, and changes nothing that the index says."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace
from pathlib import Path

import many_runs
import pytest
import rich_runs

from bench.results import listed, summary
from bench.results.index_entry import read_run
from bench.results.index_records import UNREADABLE, IndexedRun
from bench.results.summary import RUN_JSON, SEAL, read_summary, summary_bytes
from bench.results.text_digest import with_digest
from bench.store.files import digest
from bench.store.replay import journal_of

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def write(kind: str, directory: Path) -> Path:
    if kind in rich_runs.KINDS:
        return rich_runs.write(directory, rich_runs.KINDS[kind]())
    if kind.isdigit():  # the last kind is a run that was cut short
        return many_runs.write_one(directory, 1, many_runs.kinds(2)[int(kind)])
    directory.mkdir()
    for file in (REFERENCE / kind).glob("*.json*"):
        (directory / file.name).write_bytes(file.read_bytes())
    return directory


def entry(run: Path) -> IndexedRun:
    return replace(read_run(os.fsencode(run)), changed_ns=0, files="")


@pytest.mark.parametrize("kind", [*rich_runs.KINDS, "0", "1", "quickstart", "pruning-distillation"])
def test_an_entry_read_quickly_is_the_one_read_strictly(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write(kind, tmp_path / "run")
    content = read_summary(run / RUN_JSON)
    content.pop(SEAL)
    data = summary_bytes(content, journal_of(run))
    (run / RUN_JSON).write_text(json.dumps(json.loads(data)))
    strict = entry(run)
    assert strict.status != UNREADABLE
    (run / RUN_JSON).write_bytes(data)
    digests = []
    monkeypatch.setattr(summary, "digest", lambda value: digests.append(value) or digest(value))
    assert entry(run) == strict
    assert not digests, "the content was parsed once, and not written again"


def test_every_accident_is_seen_as_without_the_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write("0", tmp_path / "runs")
    sound, draw, found = (run / RUN_JSON).read_bytes(), random.Random(7), []
    for place in [*range(1, 260, 6), *(draw.randrange(len(sound)) for _ in range(40))]:
        damaged = bytearray(sound)
        damaged[-place] ^= 1 << draw.randrange(7)
        (run / RUN_JSON).write_bytes(damaged)
        found.append((bytes(damaged), entry(run)))
    monkeypatch.setattr(listed, "has_its_digest", lambda _data: False)
    for data, quick in found:
        (run / RUN_JSON).write_bytes(data)
        assert entry(run) == quick


CHANGES = {
    "no number": ('"ratio": ', '"ratio": NaN, "x": '),
    "a number beyond all others": ('"ratio": ', '"ratio": 1e999, "x": '),
    "a text in the place of a number": ('"ci_low": ', '"ci_low": "1", "x": '),
    "a list in the place of a text": ('"run_id": ', '"run_id": [], "x": '),
    "half of a letter": ('"schema_version": ', '"x": "\\ud800", "schema_version": '),
    "no end": ('"gate": null,', '"gate": null'),
    "no row": ('"variants": ', '"variant": '),
    "two rows of one name": ('"name": "pruned"', '"name": "baseline"'),
    "another version": ('"schema_version": 1', '"schema_version": 2'),
    "a gate without rules": ('"gate": null', '"gate": {"verdict": "PASS"}'),
    "a machine of another kind": ('"cpu_model": ', '"cpu_model": 7, "x": '),
    "no price": ('"usd_per_hour": ', '"usd_per_hour": "x", "x": '),
    "very many lists": ('"schema_version": ', f'"x": [{"[]," * 160_001}1], "schema_version": '),
    "a deep one": ('"schema_version": ', f'"x": {"[" * 300}{"]" * 300}, "schema_version": '),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_load_run_must_judge(change: str, tmp_path: Path) -> None:
    """Also a text that somebody gave its digest, so that it looks like one that was written."""
    path = write("0", tmp_path / "runs") / RUN_JSON
    assert listed.listed_run(path.parent) is not None
    text, (old, new) = path.read_text(), CHANGES[change]
    assert old in text
    head = text.replace(old, new).partition(',\n  "text_sha256"')[0]
    path.write_bytes(with_digest(f"{head}\n }}\n}}\n".encode()))
    assert listed.has_its_digest(path.read_bytes())
    assert listed.listed_run(path.parent) is None


def test_a_run_that_goes_on_and_one_without_a_journal_are_for_load_run(tmp_path: Path) -> None:
    run = write("0", tmp_path / "runs")
    journal = journal_of(run)
    journal.write_bytes(journal.read_bytes() + b"{}\n")
    assert listed.listed_run(run) is None
    journal.unlink()
    assert listed.listed_run(run) is None
