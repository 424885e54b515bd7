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

from bench.results import summary
from bench.results.index_entry import read_run
from bench.results.index_records import UNREADABLE, IndexedRun
from bench.results.summary import MOST, RUN_JSON, SEAL, read_summary, summary_bytes
from bench.results.text_digest import quickly_parsed, with_digest
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
    monkeypatch.setattr(summary, "quickly_parsed", lambda *_: None)
    for data, quick in found:
        (run / RUN_JSON).write_bytes(data)
        assert entry(run) == quick


@pytest.mark.parametrize(
    "text",
    [
        '{"a": NaN}', '{"a": "\\ud800"}', '{"a": ', '["seal"]', f'{{"a": [{"[]," * 160_001}1]}}',
        f'{{"a": {"[" * 300}{"]" * 300}}}',
    ],
)  # fmt: skip
def test_what_a_strict_parser_must_judge(text: str) -> None:
    assert quickly_parsed(with_digest(text.encode()), MOST) is None
