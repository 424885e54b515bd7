"""Stand-ins whose durations are data, so that scheduling, stopping and statistics are tested to the digit.

* ``DataClock`` and ``FakeEngine`` (``fake_engine.py``): an engine that advances a clock and takes no time.
* ``ScriptedWorker``: a worker process whose answers are data, for the harness's side.
* ``interpreter`` and ``fake_model``: a real worker process that runs ``fake_runtimes/fake.py``, by way of the
  spec's own ``runtime: {python: ...}``. No hook in the harness: any interpreter can be a worker (D2).
* ``timed_batch``, ``arm_record``, ``run_record``: hand-made records.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_engine import DataClock as DataClock
from fake_engine import FakeEngine as FakeEngine
from warm import Warm, forking

from bench.errors import Outcome
from bench.measure import worker_process
from bench.measure.events import Began, Event, Noted
from bench.records import ArmRecord, DriftWindow, Facts, Loaded, RunRecord, TimedBatch, UnitRecord, WarmUp

HERE = Path(__file__).resolve().parent
RUNTIMES = HERE / "fake_runtimes"
INTERPRETER = "python-with-fake-runtime"
SCRIPT = (
    f'#!/bin/sh\n[ "$1" != -c ] || exec "{sys.executable}" "$@"\n'
    f'exec "{sys.executable}" -S "{HERE / "fake_worker.py"}" "$@"\n'
)


class ScriptedWorker:
    """In the place of a WorkerProcess: ``answer(do, arguments)`` is its reply, an exception its failure."""

    pid = 2**22 + 1  # nobody's: the kernel's highest is below it

    def __init__(self, answer: Callable[[str, Mapping[str, Any]], dict[str, Any] | Exception]) -> None:
        self._answer = answer
        self._pending: tuple[str, Mapping[str, Any]] | None = None
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.pinned: list[list[int]] = []
        self.closed = False

    def start(self, do: str, descriptors: Sequence[int], **arguments: object) -> None:
        assert self._pending is None, f"{do} asked while {self._pending} has no answer yet"
        self._pending = do, arguments
        self.asked.append(self._pending)

    def finish(self, timeout_s: float) -> dict[str, Any]:
        assert self._pending is not None
        (do, arguments), self._pending = self._pending, None
        reply = self._answer(do, arguments)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def ask(self, do: str, timeout_s: float, **arguments: object) -> dict[str, Any]:
        self.start(do, (), **arguments)
        return self.finish(timeout_s)

    def pin(self, cpus: Sequence[int]) -> None:
        self.pinned.append(list(cpus))

    def close(self) -> None:
        self.closed = True


class NoGarbage:
    """A full collection takes a fifth of a second once torch is loaded; most tests of turns do without."""

    collect = staticmethod(lambda: 0)
    disable = enable = staticmethod(lambda: None)


# ---- what a run tells ----------------------------------------------------------------------------------


def said(event: Event) -> tuple[str, str]:
    """(which row, what of it): its stage, ``done``, or how it failed; notes are about no row."""
    if isinstance(event, Noted):
        return "", event.text
    if isinstance(event, Began):
        return event.who, event.stage
    return event.who, "done" if event.outcome == Outcome.OK else f"{event.outcome}: {event.reason}"


# ---- a real process with a fake engine in it -----------------------------------------------------------


def interpreter(directory: Path) -> Path:
    """An executable for ``runtime: {python: ...}`` whose workers know the runtime ``fake``; no torch.

    A worker finds the standard library and this tree, and no package (``-S``), as a worker must (D2): to look
    at what is installed would take longer than all that it does.
    """
    script = directory / INTERPRETER
    script.write_text(SCRIPT)
    script.chmod(0o755)
    return script


@pytest.fixture
def fake_runtime(monkeypatch: pytest.MonkeyPatch, warm_fake: Warm) -> None:
    """The harness finds the runtime ``fake`` by its file name, as it finds its own, and the workers of
    ``interpreter`` are forked."""
    import bench.runtimes

    monkeypatch.setattr(bench.runtimes, "__path__", [*bench.runtimes.__path__, str(RUNTIMES)])
    monkeypatch.setattr(worker_process, "subprocess", forking(warm_fake, is_ours))


def is_ours(python: str) -> bool:
    """Whether ``interpreter`` has made it."""
    return Path(python).name == INTERPRETER and Path(python).read_text() == SCRIPT


def fake_model(directory: Path, *faults: Mapping[str, object], **settings: object) -> Path:
    """A model directory that passes for a real one and tells the fake runtime how long things take, and how
    to break (see ``fake_runtimes/fake.py``)."""
    directory.mkdir(parents=True, exist_ok=True)
    config = {"model_type": "fake", "hidden_size": 1, "num_hidden_layers": 1}
    (directory / "config.json").write_text(json.dumps(config))
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (directory / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    (directory / "fake.plan").write_text(json.dumps({"faults": list(faults), **settings}))
    return directory


# ---- hand-made records ---------------------------------------------------------------------------------


def timed_batch(
    sent_ms: float,
    stamps_ms: Sequence[float],
    end_ms: float,
    n_in: Sequence[int],
    tokens: Sequence[Sequence[int]],
) -> TimedBatch:
    """A batch with its times in milliseconds."""
    stamps = tuple(round(stamp * 1e6) for stamp in stamps_ms)
    rows = tuple(tuple(row) for row in tokens)
    return TimedBatch(round(sent_ms * 1e6), stamps, round(end_ms * 1e6), tuple(n_in), rows)


def facts_record(**facts: Any) -> Facts:
    """What an engine says of a small model on two processors."""
    known: dict[str, Any] = {
        "device": "cpu",
        "dtype": "float32",
        "vocabulary": 1000,
        "random_weights": False,
        "threads": 2,
        "kv_bytes_per_token": 100,
    }
    return Facts(**{**known, **facts})


def loaded(**facts: Any) -> Loaded:
    """What a small model looks like once it is loaded."""
    memory = {"peak_rss_bytes": 5000}
    return Loaded(facts_record(**facts), 1.5, 0.0, memory, 4000, {"float32": 4000}, 1000, ())


def arm_record(name: str = "baseline", **fields: Any) -> ArmRecord:
    """A measured row, the baseline unless it has another name."""
    known: dict[str, Any] = {
        "group": "",
        "is_baseline": name == "baseline",
        "status": "ok",
        "loaded": loaded(),
        "warm_up": WarmUp((5.0, 4.0), True, 5.0),
        "prompts_digest": "p",
        "end_ids": (2,),
    }
    return ArmRecord(name, **{**known, **fields})


def unit(
    baseline_ns: Sequence[Sequence[int]],
    variant_ns: Sequence[Sequence[int]],
    *,
    number: int = 1,
    variant: str = "v",
    **fields: Any,
) -> UnitRecord:
    """One fresh pair of processes: for each batch the nanoseconds of every turn."""
    known = {"group": "", "batches": tuple(range(len(baseline_ns))), "spawned_first": 0, **fields}
    return UnitRecord(
        number,
        variant=variant,
        baseline_ns=tuple(map(tuple, baseline_ns)),
        variant_ns=tuple(map(tuple, variant_ns)),
        **known,
    )


def pairs(
    *pair: tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]], **fields: Any
) -> tuple[UnitRecord, ...]:
    """The fresh pairs of one row, numbered from 1: what the baseline took, and what the variant did."""
    return tuple(unit(ours, theirs, number=i, **fields) for i, (ours, theirs) in enumerate(pair, 1))


def drift_window(
    kld: Sequence[float], same: Sequence[int], ln_p: Sequence[float], ln_q: Sequence[float]
) -> DriftWindow:
    """One window's statistics."""
    return DriftWindow(tuple(kld), tuple(same), tuple(ln_p), tuple(ln_q))


def run_record(*arms: ArmRecord, utilisation: float = 1.0, units: Sequence[UnitRecord] = ()) -> RunRecord:
    """A run at 0.36 USD an hour for 4 processors: 0.1 USD per 1000 s."""
    price = {
        "id": "test", "name": "test", "kind": "cpu", "vcpus": 4, "ownership": "rented", "date": "2026-01-31",
        "source": "made up", "currency": "USD", "includes_power": True, "usd_per_hour": 0.36,
        "utilisation": utilisation,
    }  # fmt: skip
    return RunRecord(
        run_id="r", name="test", schema_version=1, started_utc="2026-01-31T12:00:00Z",
        finished_utc="2026-01-31T12:01:00Z", harness={}, spec={}, spec_digest="d", machine={}, price=price,
        text={}, arms=arms, units=tuple(units),
    )  # fmt: skip
