"""Many small honest runs, made quickly: for tests and figures of commands that read a whole directory.

A few kinds of runs are measured and judged for real, as ``journals.write_run`` does it. Every run is one of
them with a name, a time and an identity of its own: its journal is sealed anew, and its summary is the one
that ``summarise`` makes of it (``bench verify`` says so; a test asks it).

``python tests/many_runs.py DIR COUNT`` writes them to a directory.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from journals import HEAD, MACHINE, MODEL, SPEC, arm

from bench.bounded import contents_of
from bench.pricing.reprice import price_block
from bench.results.summary import RUN_JSON, from_journal, summary_bytes
from bench.store.chain import MOST_IN_ALL, Chain, seal
from bench.store.files import digest
from bench.store.replay import JOURNAL

FIRST = datetime(2026, 1, 31, 12, tzinfo=UTC)
PRICES = ("cloud-2vcpu-8gb", "own-2core-desktop", "h100-80gb")
Append = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Kind:
    """One kind of run: its records without a chain, and what ``run.json`` holds for it."""

    records: tuple[tuple[str, Mapping[str, Any]], ...]
    content: Mapping[str, Any]


class _Kept:
    """Stands for a journal, and keeps what is appended."""

    def __init__(self) -> None:
        self.records: list[tuple[str, Mapping[str, Any]]] = []

    def append(self, kind: str, payload: Mapping[str, Any]) -> None:
        self.records.append((kind, payload))


def kinds(count: int = 12, rows: int = 1) -> list[Kind]:
    """The kinds of runs: models, machines, prices and speeds in turn, the last one cut short."""
    found = []
    for index in range(count):
        kept: Any = _Kept()
        head = {
            **HEAD,
            "machine": {**MACHINE, "cpu_model": f"fake {index % 2}"},
            "text": {**HEAD["text"], "sha256": digest("text")},  # has letters, as every real one
            "price": price_block(PRICES[index % len(PRICES)], None, 1.0 - index / 100, "2026-01-31"),
        }
        kept.append("run_started", head)
        arm(kept, "baseline", 2.0 + index / 10)
        for row in range(rows):
            arm(kept, "pruned" if not row else f"pruned-{row}", 1.0 + index / 20 + row / 1000)
        kept.records = [_of_model(one, f"model-{index % 3}") for one in kept.records]
        if index < count - 1:
            kept.append("run_finished", {})
        found.append(_judged(kept.records))
    return found


def _of_model(record: tuple[str, Mapping[str, Any]], name: str) -> tuple[str, Mapping[str, Any]]:
    kind, payload = record
    return kind, {**payload, "model": {**MODEL, "name": name}} if "model" in payload else payload


def _judged(records: list[tuple[str, Mapping[str, Any]]]) -> Kind:
    """Judge one run of a kind, by the code that judges every run."""
    with TemporaryDirectory() as place:
        directory = Path(place)
        (directory / JOURNAL).write_bytes(b"".join(_lines(records, "run", FIRST)))
        content = json.loads(json.dumps(from_journal(directory).to_json()))
    return Kind(tuple(records), content)


def _lines(records: Any, run_id: str, at: datetime) -> Iterator[bytes]:
    """The lines of a journal of one run."""
    chain = Chain()
    for kind, payload in records:
        own = {"run_id": run_id} if kind == "run_started" else {}
        link = {"seq": chain.count + 1, "prev": chain.digest, "kind": kind, "at_utc": _stamp(at)}
        line = seal({**payload, **own, **link})
        contents_of(line).must_fit(MOST_IN_ALL)
        chain = chain.then(line)
        yield line


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def write_one(out: Path, number: int, kind: Kind) -> Path:
    """Write the run of one number: journal, config and summary."""
    at = FIRST + timedelta(minutes=number)
    directory = out / f"{at:%Y%m%d-%H%M%S}-demo-{number % 65536:04x}"
    directory.mkdir(parents=True)
    lines = list(_lines(kind.records, directory.name, at))
    (directory / JOURNAL).write_bytes(b"".join(lines))
    (directory / "spec.yaml").write_text(_SPEC)
    ended = _stamp(at) if kind.content["finished_utc"] else None
    content = {
        **kind.content, "run_id": directory.name, "started_utc": _stamp(at), "finished_utc": ended,
    }  # fmt: skip
    (directory / RUN_JSON).write_bytes(summary_bytes(content, directory / JOURNAL))
    return directory


_SPEC = yaml.safe_dump(SPEC, sort_keys=False)


def write_runs(out: Path, count: int, rows: int = 1) -> list[Path]:
    """Write ``count`` runs of a baseline and ``rows`` variants; return their directories, oldest first."""
    made = kinds(rows=rows)
    return [write_one(out, number, made[number % len(made)]) for number in range(count)]


def link_runs(out: Path, written: Sequence[Path], count: int) -> None:
    """Make directories until there are ``count``: each has hard links to the files of one of ``written``. A
    list reads each of them as a run of its own, and 100,000 take no 5 GB."""
    for number in range(len(written), count):
        source = written[number % len(written)]
        directory = out / f"{source.name[:-4]}copy-{number:06}"
        directory.mkdir()
        for file in source.iterdir():
            os.link(file, directory / file.name)


if __name__ == "__main__":
    write_runs(Path(sys.argv[1]), int(sys.argv[2]))
