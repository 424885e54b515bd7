"""Small runs with every kind of row, as they are on the disk: of workers, of servers, a gate, a load.

What was measured is data. Each is sound: `bench verify` says so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml
from fakes import arm_record, unit
from journals import HEAD, SPEC, clock
from rich_rows import MS, STAYED, WENT, rows

from bench.metrics.requests import Limits
from bench.records import ArmRecord, ColdStart, Counted, LoadBlock, SaidTexts, Sides
from bench.records.loads import ClientOverhead
from bench.records.samples import Sample
from bench.results.summarise import summarise
from bench.results.summary import RUN_JSON, summary_bytes
from bench.serving import record
from bench.serving.load import Load
from bench.serving.text_drift import TextDrift
from bench.store.files import digest
from bench.store.journal import Journal
from bench.store.replay import JOURNAL, load_record

QUIET = ClientOverhead(0.1, 0.2, 0.3, 0.1, 0.2, 0.1, "asyncio")
LIMITS = {"cost_per_1k_tokens_usd": {"max_increase": "3%"}, "kld_mean": {"max": 0.05}}
Records = list[tuple[str, dict[str, Any]]]


def pairs(variant: str, count: int, factor: float = 0.5, **fields: Any) -> Records:
    """Fresh pairs of processes of one row."""
    units = [
        unit([[5 * MS, 2 * MS, 2 * MS]] * 2, [[5 * MS, int(2 * factor * MS) + n, 2 * MS]] * 2, number=n + 1,
             variant=variant, counters=Sides(Counted(1, 4, 3, 3, 1000, 2000), Counted(1, 4, 3, 3, 900, 2000)),
             cold=Sides(ColdStart(1.0, 9.0), ColdStart(1.1, 8.0 + n)), took_s=1.0,
             noise={"stage": "unit", "steal_share": 0.0}, **fields)
        for n in range(count)
    ]  # fmt: skip
    return [("unit", asdict(one)) for one in units]


def sample(number: int, first_ms: float) -> Sample:
    """A request to a server that was sent every 50 ms, and got four tokens."""
    sent = 50 * number * MS
    events = tuple(sent + int(first_ms * MS) + 20 * MS * step for step in range(4))
    return Sample(
        number, sent, sent, events[-1], "ok", "", 200, 1, 0, 0, events, (1, 1, 1, 1), 0, 10, 2, 10, 4,
        "usage", True, "", "length",
    )  # fmt: skip


def block(first_ms: float) -> LoadBlock:
    samples = tuple(sample(number, first_ms) for number in range(6))
    return LoadBlock("6 requests, 20 a second", samples, QUIET)


def head(**more: Any) -> tuple[str, dict[str, Any]]:
    spec = {
        **SPEC,
        "drift": {**SPEC["drift"], "suites": ["generation", "factuality"]},
        **more.pop("spec", {}),
    }
    return "run_started", {**HEAD, "spec": spec, "spec_digest": digest(spec), **more}


def of_rows(found: Sequence[ArmRecord]) -> Records:
    return [("arm", asdict(one)) for one in found]


def mixed() -> Records:
    """A run of all kinds of rows of workers."""
    units = [one for name in ("plain", "drafts", "split") for one in pairs(name, 3)]
    units += pairs("cascade", 3, cascaded=(STAYED, WENT))
    return [head(), *of_rows(rows()), *units, ("run_finished", {})]


def served() -> Records:
    """Two servers, under load in blocks that alternate, and their replies as text."""
    server = {"target": "vllm", "ready_s": 3.0, "pinned": {"server": [0], "client": [1]},
              "settings": {}, "url": "http://127.0.0.1:1"}  # fmt: skip
    said = tuple(SaidTexts("one two", "one two", f"one {n}", 0) for n in range(6))
    common: dict[str, Any] = {"server": server, "loaded": None, "solo": (), "warm_up": None,
                              "workload": {"name": "closed-loop", "users": 1, "requests": 6}}  # fmt: skip
    base = arm_record(loads=(block(100),), **common)
    fast = arm_record("fast", loads=(block(60),), said=said, drift_reason="drift by text only", **common)
    units = [
        unit([], [], number=n + 1, variant="fast", took_s=1.0, design="requests",
             loads=Sides((block(100 + n),) * 2, (block(60),) * 2))
        for n in range(3)
    ]  # fmt: skip
    spec = {"slo": {"ttft_ms": 90.0}}
    return [head(spec=spec), *of_rows((base, fast)), *(("unit", asdict(one)) for one in units),
            ("run_finished", {})]  # fmt: skip


def gate(mode: str = "commits") -> Records:
    """A gate of two commits, or a calibration."""
    arms = [replace(one, name=name) for one, name in zip(rows()[:2], ("base", "candidate"), strict=True)]
    sides = {name: {"label": name, "commit": "0" * 40, "environment": "e", "packages": {}}
             for name in ("base", "candidate")}  # fmt: skip
    differ = {"config": [{"what": "price.id", "base": 1, "candidate": 2}], "packages": [], "files": ["a.py"],
              "inputs": [{"row": "", "what": "workload.file"}], "unpinned": ["torch"], "anew": False,
              "pointers": []}  # fmt: skip
    about = {"mode": mode, "test": {"cap": 40, "prior_sd": 0.02}, "limits": LIMITS, "batches_per_unit": 2}
    if mode == "commits":
        about |= {"sides": sides, "differences": differ, "not_compared": ["x"]}
    arms[1] = replace(arms[1], reached={"a.py": "ab" * 32})
    return [head(gate=about), *of_rows(arms), *pairs("candidate", 10, 1.1), ("run_finished", {})]


KINDS = {
    "mixed": mixed, "served": served, "commits": gate, "calibration": lambda: gate("calibration"),
}  # fmt: skip


def write(directory: Path, records: Records) -> Path:
    """Write a run with these records: journal, config and summary."""
    directory.mkdir(parents=True)
    with Journal.create(directory / JOURNAL, clock) as journal:
        for kind, payload in records:
            journal.append(kind, payload)
    (directory / "spec.yaml").write_text(yaml.safe_dump(records[0][1]["spec"], sort_keys=False))
    content = json.loads(json.dumps(summarise(load_record(directory)).to_json()))
    (directory / RUN_JSON).write_bytes(summary_bytes(content, directory / JOURNAL))
    return directory


def write_load(directory: Path) -> Path:
    """Write a load of one server, with its drift by text."""
    directory.mkdir(parents=True)
    said = tuple(SaidTexts("one two", "one two", f"one {n}") for n in range(6))
    price = {**HEAD["price"]}
    step = {"rate": 1.0, "requests": 6, "bad": 0, "found": "holds", "reasons": []}
    about = {
        "target": "vllm", "model": "m", "schedule": "s", "seed": 1, "workload": {"name": "multi-turn"},
        "prefix_cache": {"hits": 1.0, "queries": 9.0}, "pinned": {"server": [0], "client": [1]},
        "search": {"holds": 1.0, "fails": 2.0, "share": 0.9, "steps": [step], "why": "w"},
        "left_behind": "a process", "settings": {},
    }  # fmt: skip
    done = record.result(about, Load(block(100).samples, QUIET), Limits({"ttft": 500}), price,
                         TextDrift("tiny", "english", 32, "no probabilities", said))  # fmt: skip
    record.write(directory, done, clock, None)
    return directory
