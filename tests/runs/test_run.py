"""A whole run, from a config to ``run.json``: what works, what breaks, what is resumed.

Most runs here use the fake runtime in real worker processes: every step of the harness is the real one, only
the engine's durations are data. One run uses torch, transformers and a model on the disk.
"""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from byte_tokenizer import write_tokenizer
from fakes import RUNTIMES, fake_model, fake_runtime, interpreter, said
from ggufs import gguf
from warm import Warm, forking

from bench.cli.main_actions import EXIT_OF_STATUS
from bench.config.reader import read_config
from bench.config.spec import Spec
from bench.drift import behaviour
from bench.drift.behaviour import shipped
from bench.errors import (
    BenchError,
    ExitCode,
    IncomparableError,
    IntegrityError,
    InterruptedRun,
    TerminatedRun,
)
from bench.machine import noise
from bench.measure import interrupt, worker_process
from bench.measure.events import Event, Noted, Tell
from bench.models.convert import CANNOT_READ
from bench.models.fetch import ensure
from bench.models.reference import Random
from bench.results.summary import load_run, summarise
from bench.runs import fetching
from bench.runs import run as harness
from bench.runs.run import run_spec
from bench.store import files, journal
from bench.store.journal import read_journal
from bench.store.replay import load_record
from bench.texts import english

__all__ = ["fake_runtime"]  # a fixture
MS = 1_000_000
REQUESTS, TOKENS = 6, 8
HANG_S = 2.0  # what a hang costs a test; a sound answer beside load must not take as long
# Prefills of a process before its turns: two to warm up. The kernels of a step come after all that is timed.
BEFORE_TURNS = 2
EACH = 2  # batches that a pair decodes: six over four pairs, rounded up
ONE = {"timeout_s": 20.0, "processes": 1, "max_rounds": 1}  # pair of processes for each row
TWO = {"timeout_s": 20.0, "processes": 2}
FOUR = {"timeout_s": 20.0}  # as many as where nobody says how many


@pytest.fixture(autouse=True)
def _quick_and_unedited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers get some seconds to leave, which only those take who never would; who edits the harness
    meanwhile does not make it another one."""
    monkeypatch.setattr(worker_process, "GRACE_S", 5.0)
    monkeypatch.setattr(harness, "source_digest", lambda: "0" * 64)
    # A neighbour during a test would repeat passes, and faults are planted by how many came before.
    monkeypatch.setattr(noise, "disturbed", lambda before, after, accepted: False)


def config(tmp_path: Path, variants: Sequence[Mapping[str, Any]], **more: Any) -> Spec:
    """A config of fake models: 10 ms a prompt and 2 ms a token for the baseline, unless it says otherwise."""
    base = more.pop("base", None) or fake_model(tmp_path / "base", prefill_ns=[10 * MS], step_ns=[2 * MS])
    content = {
        "name": "test",
        "model": {"path": str(base)},
        "runtime": {"name": "fake", "threads": 2, "python": str(interpreter(tmp_path))},
        "workload": {"name": "chat", "requests": REQUESTS, "output_tokens": TOKENS},
        "variants": list(variants),
        "price": {"hardware": "cloud-2vcpu-8gb"},
        "measure": ONE,
        **more,
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(content))
    return read_config(file)


def variant(tmp_path: Path, name: str, *faults: Mapping[str, object], **settings: Any) -> dict[str, Any]:
    """A variant with a model, and durations, of its own."""
    settings = {"prefill_ns": [10 * MS], "step_ns": [2 * MS], **settings}
    return {"name": name, "model": {"path": str(fake_model(tmp_path / name, *faults, **settings))}}


def run(spec: Spec, tmp_path: Path, **settings: Any) -> tuple[Path, dict[str, Any]]:
    """The directory and ``run.json``, which must be what the journal says."""
    directory = run_spec(spec, tmp_path / "results", **settings)
    return directory, summary(directory)


def summary(directory: Path) -> dict[str, Any]:
    found = json.loads((directory / "run.json").read_text())
    assert found.pop("seal")["journal_sha256"] == read_journal(directory / "journal.jsonl").digest
    assert found == json.loads(json.dumps(summarise(load_record(directory)).to_json()))
    assert found == json.loads(json.dumps(load_run(directory).to_json())), "read back, nothing is lost"
    assert read_journal(directory / "journal.jsonl").notices == ()
    assert children() == []
    return found  # type: ignore[no-any-return]


EARLIER: set[int] = set()  # the children that were there before a test, see conftest.py


def children() -> list[int]:
    found = (process.pid for process in psutil.Process().children(recursive=True))
    return [pid for pid in found if pid not in EARLIER]


def rows(data: Mapping[str, Any]) -> dict[str, Any]:
    return {row["name"]: row for row in data["variants"]}


def ratios(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {one["metric"]: one for one in data["comparisons"] if one["variant"] == name}


def units_of(directory: Path) -> dict[str, list[tuple[int, ...]]]:
    """The batches of every pair that counts, row by row."""
    run = load_record(directory)
    return {
        arm.name: [unit.batches for unit in run.valid_units_of(arm)]
        for arm in run.arms
        if not arm.is_baseline
    }


def stages(log: list[tuple[str, str]]) -> Tell:
    return lambda event: log.append(said(event))


def hears(act: Callable[[str, str], object]) -> Tell:
    """Whoever acts on (which row, what of it), as one who is told events."""

    def tell(event: Event) -> None:
        act(*said(event))

    return tell


# ---- to the digit ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("fake_runtime")
def test_a_run_to_the_digit(tmp_path: Path) -> None:
    """A variant with half the baseline's steps, and one that is the same: all figures follow from data."""
    variants = [variant(tmp_path, "fast", step_ns=[1 * MS], diverge_at=5), variant(tmp_path, "same")]
    spec = config(tmp_path, variants, measure=FOUR)
    log: list[tuple[str, str]] = []
    directory, found = run(spec, tmp_path, tell=stages(log))
    assert (found["status"], found["reasons"]) == ("ok", [])
    assert found["run_id"] == directory.name
    assert [(row["name"], row["status"]) for row in found["variants"]] == [
        ("baseline", "ok"), ("fast", "ok"), ("same", "ok"),
    ]  # fmt: skip
    base, fast = (rows(found)[name]["metrics"] for name in ("baseline", "fast"))
    assert base["ttft_ms"]["mean"] == fast["ttft_ms"]["mean"] == 10
    assert (base["tpot_ms"]["mean"], fast["tpot_ms"]["mean"]) == (2, 1)
    assert (base["e2el_ms"]["mean"], fast["e2el_ms"]["mean"]) == (24, 17)
    assert base["request_throughput"]["value"] == pytest.approx(1 / 0.024)
    assert base["output_throughput"]["value"] == pytest.approx(8 / 0.024)
    # 2 threads of the 2-processor instance: R·W/3600
    hourly = found["price"]["usd_per_hour"]
    assert base["cost_per_request_usd"]["value"] == pytest.approx(hourly * 0.024 / 3600)

    duet = ratios(found, "fast")
    assert duet["e2el_ms"]["ratio"] == pytest.approx(17 / 24)
    assert duet["cost_per_request_usd"]["ratio"] == pytest.approx(17 / 24)
    assert duet["tpot_ms"]["ratio"] == pytest.approx(0.5)
    assert duet["ttft_ms"]["ratio"] == pytest.approx(1)
    # four pairs without spread: ±0.61 %, which is what the prior leaves
    assert duet["tpot_ms"]["ci_low"] == pytest.approx(0.5 * math.exp(-0.00609), rel=1e-4)
    assert (duet["tpot_ms"]["pairs"], duet["tpot_ms"]["pair_sd"]) == (4, 0)
    assert (duet["tpot_ms"]["verdict"], duet["ttft_ms"]["verdict"]) == ("better", "cannot tell")
    assert duet["output_throughput"]["ratio"] == pytest.approx(24 / 17)
    assert duet["output_throughput"]["verdict"] == "better"
    assert duet["output_throughput"]["value"] == pytest.approx(8 / 0.017)
    assert duet["tpot_ms"]["value"] == pytest.approx(1)
    same = ratios(found, "same")
    timed = ("cost_per_1k_tokens_usd", "cost_per_request_usd", "e2el_ms", "ttft_ms", "tpot_ms")
    for key in (*timed, "output_throughput"):
        assert (same[key]["ratio"], same[key]["verdict"], same[key]["design"]) == (1, "cannot tell", "duet")
    # two rows' dollars have the ratio of the table
    assert fast["cost_per_request_usd"]["value"] == pytest.approx(hourly * 0.017 / 3600)
    assert fast["cost_per_request_usd"]["alone"] == pytest.approx(hourly * 0.017 / 3600)

    # without spread the pairs asked for are enough, and the stages come in the order of the journal
    assert [what for who, what in log if who == "same"] == [
        "load", "warm up", "pair 1, beside baseline", "solo, 6 requests", "memory", "energy",
        "kernels of a step",
        "pair 2, load", "pair 2, beside baseline", "pair 3, load", "pair 3, beside baseline",
        "pair 4, load", "pair 4, beside baseline", "done",
    ]  # fmt: skip
    assert [what for who, what in log if who == "baseline"] == [
        "load", "tokenise", "warm up", "solo, 6 requests", "memory", "energy", "machine ceilings",
        "kernels of a step", "done",
    ]  # fmt: skip
    assert units_of(directory) == {name: [(0, 1), (2, 3), (4, 5), (0, 1)] for name in ("fast", "same")}
    for unit in load_record(directory).units:
        assert unit.baseline_ns == ((10 * MS, *(2 * MS,) * 7),) * EACH


@pytest.mark.usefixtures("fake_runtime")
@pytest.mark.parametrize(("design", "expected"), [("requests", "duet"), ("abba", "abba")])
def test_other_designs_to_the_digit(tmp_path: Path, design: str, expected: str) -> None:
    """Whole requests in turns, or processes one after the other: the same data, the same ratio."""
    spec = config(tmp_path, [variant(tmp_path, "fast", step_ns=[1 * MS])], measure={"design": design})
    directory, found = run(spec, tmp_path)
    assert found["status"] == "ok"
    ratio = ratios(found, "fast")["e2el_ms"]
    assert (ratio["ratio"], ratio["design"], ratio["pairs"]) == (pytest.approx(17 / 24), expected, 4)
    for unit in load_record(directory).units:
        assert (unit.design, unit.baseline_ns) == (design, ((10 * MS, *(2 * MS,) * 7),) * EACH)
    assert rows(found)["fast"]["metrics"]["peak_rss_bytes"]["value"] > 0


@pytest.mark.usefixtures("fake_runtime")
def test_no_drift_of_random_weights_and_the_reason(tmp_path: Path) -> None:
    _directory, found = run(config(tmp_path, [variant(tmp_path, "v")]), tmp_path)
    row = rows(found)["v"]
    assert row["drift_reason"] == "random weights have no quality to lose"
    assert set(row["drift"].values()) == {None}
    assert row["metrics"]["exact_match"] is None


@pytest.mark.usefixtures("fake_runtime")
@pytest.mark.fault(23)
def test_replies_are_compared_token_by_token(tmp_path: Path) -> None:
    real = {"facts": {"random_weights": False, "vocabulary": 1000}}
    base = fake_model(tmp_path / "base", **real)
    spec = config(
        tmp_path, [variant(tmp_path, "v", diverge_at=5, **real)], base=base, drift={"tokens": 0}
    )  # fmt: skip
    _directory, found = run(spec, tmp_path)
    metrics = rows(found)["v"]["metrics"]
    assert metrics["exact_match"]["value"] == 0
    assert metrics["first_divergence_token"]["value"] == 5
    assert metrics["length_ratio"]["value"] == 1
    assert rows(found)["v"]["drift_reason"] == "drift.tokens is 0"


@pytest.mark.usefixtures("fake_runtime")
def test_every_cell_of_a_sweep_has_its_own_baseline(tmp_path: Path) -> None:
    spec = config(tmp_path, [variant(tmp_path, "v", step_ns=[1 * MS])], sweep={"batch_size": [1, 3]})
    _directory, found = run(spec, tmp_path)
    assert [(row["group"], row["name"]) for row in found["variants"]] == [
        ("batch_size=1", "baseline"), ("batch_size=1", "v"),
        ("batch_size=3", "baseline"), ("batch_size=3", "v"),
    ]  # fmt: skip
    throughput = [row["metrics"]["output_throughput"]["value"] for row in found["variants"]]
    assert throughput == pytest.approx([8 / 0.024, 8 / 0.017, 24 / 0.024, 24 / 0.017])
    assert {one["group"] for one in found["comparisons"]} == {"batch_size=1", "batch_size=3"}


# ---- what breaks leaves a row with its reason --------------------------------------------------------


@pytest.mark.usefixtures("fake_runtime")
@pytest.mark.fault(1, 3, 5, 20)
def test_every_failure_is_a_row_and_the_others_finish(tmp_path: Path) -> None:
    late = {"at": "prefill", "call": BEFORE_TURNS + 2}
    later = {"at": "prefill", "call": BEFORE_TURNS + EACH + 2, "do": "kill"}
    spec = config(
        tmp_path,
        [
            variant(tmp_path, "segfault", {"at": "load", "do": "segfault"}),
            variant(tmp_path, "too-long", facts={"context": 5}),
            variant(tmp_path, "not-what-was-asked", facts={"dtype": "float16"}),
            variant(tmp_path, "not-finite", finite=False),
            variant(tmp_path, "import", {"at": "load", "do": "raise", "kind": "ImportError"}),
            variant(tmp_path, "dies-in-the-duet", {**late, "do": "kill"}),
            variant(tmp_path, "hangs-in-the-duet", {**late, "do": "hang"}),
            variant(tmp_path, "dies-after-the-duet", later),
            variant(tmp_path, "no-time-at-all", prefill_ns=[0], step_ns=[0]),
            {"name": "no-interpreter", "runtime": {"python": str(tmp_path / "absent")}},
            variant(tmp_path, "good", step_ns=[1 * MS]),
        ],
        measure={"timeout_s": HANG_S},
    )  # fmt: skip
    directory, found = run(spec, tmp_path)
    expected = {
        "segfault": ("segfault", "SIGSEGV"),
        "too-long": ("unsupported", "do not fit the model's context of 5"),
        "not-what-was-asked": ("not_applied", "dtype: expected float32, found float16"),
        "not-finite": ("nan_output", "not finite"),
        "import": ("import_error", "planted"),
        "dies-in-the-duet": ("oom_host", "killed by the system"),
        "hangs-in-the-duet": ("timeout", "no answer within"),
        "dies-after-the-duet": ("oom_host", "killed by the system"),
        "no-time-at-all": ("worker_protocol_error", "not above zero"),
        "no-interpreter": ("unsupported", "does not exist"),
    }
    for name, (status, reason) in expected.items():
        assert (rows(found)[name]["status"], reason in rows(found)[name]["reason"]) == (status, True), name
        assert not ratios(found, name).get("e2el_ms"), name
    assert rows(found)["good"]["status"] == rows(found)["baseline"]["status"] == "ok"
    assert ratios(found, "good")["tpot_ms"]["ratio"] == pytest.approx(0.5)
    assert found["status"] == "partial"
    assert EXIT_OF_STATUS[found["status"]] == ExitCode.FAILED
    # what was measured before it broke is kept
    (kept,) = [unit for unit in load_record(directory).units if unit.variant == "dies-after-the-duet"]
    assert kept.variant_ns == ((10 * MS, *(2 * MS,) * 7),) * EACH
    assert rows(found)["dies-in-the-duet"]["facts"]["engine"] == "fake"


@pytest.mark.usefixtures("fake_runtime")
def test_a_baseline_that_fails_is_tried_once(tmp_path: Path) -> None:
    base = fake_model(tmp_path / "base", {"at": "step", "call": 5, "do": "segfault"})
    log: list[tuple[str, str]] = []
    spec = config(tmp_path, [variant(tmp_path, "a"), variant(tmp_path, "b")], base=base)
    _directory, found = run(spec, tmp_path, tell=stages(log))
    assert found["status"] == "invalid"
    assert rows(found)["baseline"]["status"] == "segfault"
    for name in ("a", "b"):
        assert rows(found)[name]["status"] == "baseline_failed"
        assert "SIGSEGV" in rows(found)[name]["reason"]
    assert [what for _who, what in log if "load" in what] == ["load"]
    assert found["comparisons"] == []


@pytest.mark.usefixtures("fake_runtime")
def test_a_file_that_cannot_be_converted_is_a_failed_row_and_the_others_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sound for all that its header says, so it is refused by the conversion alone. What that says is
    written here: the real one is in tests/models, and takes seven seconds each of the four times."""
    monkeypatch.setattr("bench.models.fetch._offline", lambda *_of: (CANNOT_READ, "ValueError: no tokens"))
    file, told = tmp_path / "bad.gguf", list[Event]()
    file.write_bytes(gguf())
    bad = {"name": "bad", "model": {"path": str(file)}}
    spec = config(tmp_path, [bad, variant(tmp_path, "good")], sweep={"requests": [2, 3]})
    directory, data = run(spec, tmp_path, tell=told.append)
    assert [(row["name"], row["status"]) for row in data["variants"]] == [
        ("baseline", "ok"), ("bad", "load_error"), ("good", "ok"),
    ] * 2  # fmt: skip
    reasons = {row["reason"] for row in data["variants"] if row["name"] == "bad"}
    assert reasons == {"bad.gguf cannot be converted: ValueError: no tokens"}
    assert data["status"] == "partial"
    assert sum("bad.gguf" in one.text for one in told if isinstance(one, Noted)) == 2, "once a row, at once"
    resumed = list[Event]()
    run(spec, tmp_path, resume=directory, tell=resumed.append)
    assert not [who for who, stage in map(said, resumed) if stage == "load"], "sound rows are kept"


@pytest.mark.usefixtures("fake_runtime")
def test_a_model_that_cannot_be_fetched_is_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes minutes to find out that a large file is not converted."""
    asked = list[object]()

    def ensure_or_fail(reference: Any, tell: Any) -> Any:
        asked.append(reference)
        if reference.path.name == "a":
            raise BenchError("the conversion was killed")
        return ensure(reference, tell)

    spec = config(tmp_path, [variant(tmp_path, "a"), variant(tmp_path, "b")])
    monkeypatch.setattr(fetching, "ensure", ensure_or_fail)
    _directory, data = run(spec, tmp_path)
    assert rows(data)["a"]["reason"] == "the conversion was killed"
    assert rows(data)["b"]["status"] == "ok"
    assert len(asked) == len(set(asked)) == 3


@pytest.mark.usefixtures("fake_runtime")
def test_a_baseline_that_cannot_be_fetched_ends_the_run_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(reference: Any, tell: Any) -> Any:
        raise BenchError(f"no {reference.path.name}")

    spec = config(tmp_path, [variant(tmp_path, "a")])
    monkeypatch.setattr(fetching, "ensure", fail)
    with pytest.raises(BenchError, match="no base"):
        run_spec(spec, tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.usefixtures("fake_runtime")
def test_changed_files_of_one_model_end_the_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that does not match its digests is no failure of a row."""

    def ensure_or_fail(reference: Any, tell: Any) -> Any:
        if reference.path.name == "a":
            raise IntegrityError("a file of the cache changed")
        return ensure(reference, tell)

    spec = config(tmp_path, [variant(tmp_path, "a")])
    monkeypatch.setattr(fetching, "ensure", ensure_or_fail)
    with pytest.raises(IntegrityError, match="of the cache"):
        run_spec(spec, tmp_path / "results")


@pytest.mark.usefixtures("fake_runtime")
@pytest.mark.parametrize("how", ["kill", "segfault", "hang"])
def test_a_baseline_that_dies_in_its_turns_is_started_anew_for_the_next_row(tmp_path: Path, how: str) -> None:
    """The variant beside it has no ratio; the next one gets a fresh partner, and nothing waits for ever."""
    base = fake_model(tmp_path / "base", prefill_ns=[10 * MS], step_ns=[2 * MS])
    spec = config(
        tmp_path,
        [variant(tmp_path, "unlucky"), variant(tmp_path, "next", step_ns=[1 * MS])],
        base=base,
        measure={"timeout_s": HANG_S},
    )

    def break_the_partner(who: str, what: str) -> None:
        """From here on the baseline's model breaks a process in its turns, once."""
        if (who, what) == ("unlucky", "load"):
            fault = {"at": "prefill", "call": BEFORE_TURNS + 2, "do": how, "once": True}
            fake_model(base, fault, prefill_ns=[10 * MS], step_ns=[2 * MS])

    _directory, found = run(spec, tmp_path, tell=hears(break_the_partner))
    assert rows(found)["baseline"]["status"] == "ok"
    assert rows(found)["unlucky"]["status"] == "baseline_failed"
    assert not ratios(found, "unlucky")
    assert rows(found)["next"]["status"] == "ok"
    assert ratios(found, "next")["e2el_ms"]["ratio"] == pytest.approx(17 / 24)
    assert found["status"] == "partial"


@pytest.mark.usefixtures("fake_runtime")
def test_a_baseline_killed_while_it_waits_ends_one_row_at_most(tmp_path: Path) -> None:
    """From outside, between the turns and drift: the system does that when memory is short. The pair has been
    timed by then, and the next asks a partner of its own."""

    def say(who: str, what: str) -> None:
        if (who, what) == ("first", "memory"):
            (baseline,) = (p for p in psutil.Process().children() if "base" in open_directory(p.pid))
            baseline.kill()

    spec = config(tmp_path, [variant(tmp_path, "first"), variant(tmp_path, "second")], measure=TWO)
    _directory, found = run(spec, tmp_path, tell=hears(say))
    assert [row["status"] for row in found["variants"]] == ["ok", "ok", "ok"]
    for name in ("first", "second"):
        assert ratios(found, name)["e2el_ms"]["pairs"] == 2


@pytest.mark.usefixtures("fake_runtime")
def test_a_baseline_that_never_starts_again_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own row is measured; beside every variant it talks nonsense."""
    monkeypatch.setattr(worker_process, "GRACE_S", 0.5)  # it would never leave, three times
    base = fake_model(tmp_path / "base", prefill_ns=[10 * MS], step_ns=[2 * MS])
    log: list[tuple[str, str]] = []
    living: list[int] = []

    def say(who: str, what: str) -> None:
        log.append((who, what))
        living.append(len(children()))
        if (who, what) == ("a", "load"):
            fake_model(base, {"at": "step", "do": "say", "json": "[]"})

    spec = config(tmp_path, [variant(tmp_path, name) for name in "abc"], base=base)
    _directory, found = run(spec, tmp_path, tell=hears(say))
    assert [rows(found)[name]["status"] for name in ("baseline", *"abc")] == ["ok", *["baseline_failed"] * 3]
    assert "not an object" in rows(found)["b"]["reason"]
    assert max(living) <= 2


@pytest.mark.usefixtures("fake_runtime")
@pytest.mark.fault(26)
def test_a_machine_that_is_never_quiet_makes_the_row_unfit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row with its reason and without a figure; what its passes alone measured is in the journal."""
    monkeypatch.setattr(noise, "others", lambda before, after: 0.4)
    monkeypatch.setattr(noise, "disturbed", lambda before, after, accepted: accepted < 0.4)
    directory, found = run(config(tmp_path, [variant(tmp_path, "v")], measure=TWO), tmp_path)
    assert rows(found)["v"]["status"] == "unfit"
    assert "3 of 3 pairs are void (others had 40% of the processors)" in rows(found)["v"]["reason"]
    assert "measure.max_disturbance" in rows(found)["v"]["reason"]
    assert found["comparisons"] == []
    assert not any(rows(found)["v"]["metrics"].values())
    assert load_record(directory).arms[1].solo
    assert found["status"] == "partial"
    assert units_of(directory) == {"v": []}
    accepting = {**TWO, "max_disturbance": 1.0}
    _directory, found = run(config(tmp_path, [variant(tmp_path, "v")], measure=accepting), tmp_path)
    assert rows(found)["v"]["status"] == "ok"
    assert ratios(found, "v")["e2el_ms"]["pairs"] == 2


def open_directory(pid: int) -> str:
    """The log a worker writes to, which has its arm's name; nothing for a child that has just ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/fd/1").readlink().name
    return ""


# ---- interrupted and continued -----------------------------------------------------------------------


@pytest.mark.usefixtures("fake_runtime")
@pytest.mark.parametrize(
    "where",
    [("baseline", "memory"), ("b", "solo, 6 requests"), ("b", "load"), ("b", "pair 2, load")],
)
@pytest.mark.fault(10)
def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, where: tuple[str, str]) -> None:
    variants = [variant(tmp_path, name, step_ns=[ns * MS]) for name, ns in (("a", 1), ("b", 3), ("c", 4))]
    spec = config(tmp_path, variants, measure=TWO)

    def press_ctrl_c(who: str, what: str) -> None:
        if (who, what) == where:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InterruptedRun) as ended:
        run_spec(spec, tmp_path / "results", tell=hears(press_ctrl_c))
    (directory,) = (tmp_path / "results").iterdir()
    assert str(ended.value) == f"interrupted; what was measured is in {directory}"
    before = summary(directory)
    assert before["status"] in ("partial", "invalid")
    between_pairs = where[1].startswith("pair 2")
    cut_short = [name for name, row in rows(before).items() if row["status"] == "interrupted"]
    assert cut_short == ([] if between_pairs else [where[0]])
    assert "not finished" in " ".join(before["reasons"])
    assert ("c" in rows(before)) == between_pairs

    log: list[tuple[str, str]] = []
    again, found = run(spec, tmp_path, resume=directory, tell=stages(log))
    assert again == directory
    assert found["status"] == "ok"
    assert [row["status"] for row in found["variants"]] == ["ok"] * 4
    finished = [name for name in rows(before) if name not in cut_short]
    for name in finished:
        assert not [
            what for who, what in log if who == name and what.startswith(("solo", "pair 1", "memory"))
        ]
    if "baseline" in finished:
        now, then = rows(found)["baseline"], rows(before)["baseline"]
        of_all_processes = ("changed_between_runs", "load_s", "first_request_ms")
        later = {key: now["metrics"][key] for key in of_all_processes}
        assert now == {**then, "drift": now["drift"], "metrics": {**then["metrics"], **later}}
    for name, ratio in (("a", 0.5), ("b", 1.5), ("c", 2.0)):
        assert ratios(found, name)["tpot_ms"]["ratio"] == pytest.approx(ratio)
    # the pairs of the attempt that was cut short are in the journal and count no more
    assert units_of(directory) == {name: [(0, 1, 2), (3, 4, 5)] for name in "abc"}
    assert {one["pairs"] for one in found["comparisons"] if one["design"] == "duet"} == {2}


@pytest.mark.usefixtures("fake_runtime")
@pytest.mark.fault(10)
def test_the_second_ctrl_c_does_not_wait_for_the_stage(tmp_path: Path) -> None:
    """The worker would take an hour; the run is over at once, closed, and can be resumed."""

    def press_twice(who: str, what: str) -> None:
        if (who, what) == ("v", "load"):
            for after_s in (0.3, 0.5):
                threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGINT)).start()

    spec = config(tmp_path, [variant(tmp_path, "v", {"at": "load", "do": "hang", "once": True})])
    started = time.monotonic()
    with pytest.raises(InterruptedRun):
        run_spec(spec, tmp_path / "results", tell=hears(press_twice))
    assert time.monotonic() - started < 60
    (directory,) = (tmp_path / "results").iterdir()
    assert rows(summary(directory))["v"]["status"] == "interrupted"
    _again, found = run(spec, tmp_path, resume=directory)
    assert [row["status"] for row in found["variants"]] == ["ok", "ok"]


@pytest.mark.usefixtures("fake_runtime")
@pytest.mark.parametrize("where", [("b", "memory"), ("b", "load")])
def test_a_sigterm_ends_the_run_where_it_stands(
    tmp_path: Path, where: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its summary, and to be resumed; afterwards a SIGTERM does what it did before. It has an effect, so
    it is not raised again, although the run takes longer than that to stop its workers."""
    monkeypatch.setattr(interrupt, "AGAIN_S", 0.001)
    before = signal.getsignal(signal.SIGTERM)

    def terminate(who: str, what: str) -> None:
        if (who, what) == where:
            os.kill(os.getpid(), signal.SIGTERM)

    spec = config(tmp_path, [variant(tmp_path, name) for name in "abc"])
    with pytest.raises(TerminatedRun) as ended:
        run_spec(spec, tmp_path / "results", tell=hears(terminate))
    assert ended.value.exit_code == ExitCode.TERMINATED
    assert int(ended.value.exit_code) == 143
    assert signal.getsignal(signal.SIGTERM) == before
    (directory,) = (tmp_path / "results").iterdir()
    found = summary(directory)
    assert [(row["name"], row["status"]) for row in found["variants"]] == [
        ("baseline", "ok"), ("a", "ok"), ("b", "interrupted"),
    ]  # fmt: skip
    assert found["status"] == "partial"
    assert "not finished" in " ".join(found["reasons"])
    _again, found = run(spec, tmp_path, resume=directory)
    assert [row["status"] for row in found["variants"]] == ["ok"] * 4


@pytest.mark.usefixtures("fake_runtime")
def test_a_sigterm_waits_for_no_worker(tmp_path: Path) -> None:
    """Whoever sends it seldom waits longer than ten seconds: two workers that are busy are not each given
    time to leave by themselves, and the summary is written in time."""
    base = fake_model(tmp_path / "base", prefill_ns=[10 * MS], step_ns=[2 * MS])
    begun = [tmp_path / "base-hangs", tmp_path / "v-hangs"]
    base_hangs, v_hangs = ({"at": "load", "do": "hang", "file": str(file)} for file in begun)
    sent: list[float] = []

    def send() -> None:
        until = time.monotonic() + 60
        while not all(file.exists() for file in begun) and time.monotonic() < until:
            time.sleep(0.01)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)

    def terminate(who: str, what: str) -> None:
        if (who, what) == ("v", "load"):
            fake_model(base, base_hangs)
            threading.Thread(target=send, daemon=True).start()

    spec = config(tmp_path, [variant(tmp_path, "v", v_hangs)], base=base)
    with pytest.raises(TerminatedRun):
        run_spec(spec, tmp_path / "results", tell=hears(terminate))
    assert time.monotonic() - sent[0] < worker_process.GRACE_S
    (directory,) = (tmp_path / "results").iterdir()
    assert rows(summary(directory))["v"]["status"] == "interrupted"


@pytest.mark.usefixtures("fake_runtime")
def test_the_command_ends_with_143_while_a_worker_would_take_an_hour(tmp_path: Path) -> None:
    """Through the command line, as a job's time limit ends it: the workers are gone, the summary is there."""
    measure = {**ONE, "max_disturbance": 1.0}  # nothing is patched in that process
    variants = [variant(tmp_path, "v", {"at": "load", "do": "hang"}), variant(tmp_path, "w")]
    spec = config(tmp_path, variants, measure=measure)
    program = (
        "import sys, bench.runtimes\n"
        "sys.path.insert(0, sys.argv.pop(1))\n"
        "bench.runtimes.__path__.append(sys.argv.pop(1))\n"
        "from bench.__main__ import main\n"
        "main()\n"
    )
    known = [str(RUNTIMES.parent), str(RUNTIMES)]
    command = [sys.executable, "-c", program, *known, "run", spec.file, "--out", str(tmp_path / "results")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = [process.stderr.readline()]
        while told[-1] and "v: load" not in told[-1]:
            told.append(process.stderr.readline())
        workers = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (ExitCode.TERMINATED, ""), told
    assert err.splitlines()[-1].startswith("bench: terminated; what was measured is in "), err
    assert len(workers) == 2
    _gone, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []
    (directory,) = (tmp_path / "results").iterdir()
    found = summary(directory)
    assert [(row["name"], row["status"]) for row in found["variants"]] == [
        ("baseline", "ok"), ("v", "interrupted"),
    ]  # fmt: skip


@pytest.mark.usefixtures("fake_runtime")
@pytest.mark.fault(11)
def test_a_full_disk_stops_the_run_and_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that was measured is lost, and the run goes on once there is room."""
    spec = config(tmp_path, [variant(tmp_path, "a"), variant(tmp_path, "b")])

    def fill(who: str, what: str) -> None:
        if (who, what) == ("b", "memory"):
            monkeypatch.setattr(journal, "write_all", no_room)

    def no_room(fd: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(BenchError, match="No space left"):
        run_spec(spec, tmp_path / "results", tell=hears(fill))
    monkeypatch.setattr(journal, "write_all", files.write_all)
    (directory,) = (tmp_path / "results").iterdir()
    assert [arm.status for arm in load_record(directory).arms] == ["ok", "ok", "interrupted"]
    _again, found = run(spec, tmp_path, resume=directory)
    assert [row["status"] for row in found["variants"]] == ["ok"] * 3


@pytest.mark.usefixtures("fake_runtime")
def test_a_finished_run_has_nothing_to_resume(tmp_path: Path) -> None:
    spec = config(tmp_path, [variant(tmp_path, "a")])
    directory, before = run(spec, tmp_path)
    log: list[tuple[str, str]] = []
    _again, after = run(spec, tmp_path, resume=directory, tell=stages(log))
    assert log == [("baseline", "done"), ("a", "done")]
    assert after["variants"] == before["variants"]


@pytest.mark.usefixtures("fake_runtime")
def test_failed_rows_are_tried_again_on_resume(tmp_path: Path) -> None:
    spec = config(tmp_path, [variant(tmp_path, "a", {"at": "step", "call": 3, "do": "kill", "once": True})])
    directory, before = run(spec, tmp_path)
    assert rows(before)["a"]["status"] == "oom_host"
    _again, after = run(spec, tmp_path, resume=directory)
    assert rows(after)["a"]["status"] == "ok"
    assert after["status"] == "ok"


@pytest.mark.usefixtures("fake_runtime")
def test_another_config_is_not_continued(tmp_path: Path) -> None:
    directory, before = run(config(tmp_path, []), tmp_path)
    other = config(tmp_path, [], workload={"name": "chat", "requests": 7, "output_tokens": 8})
    with pytest.raises(IncomparableError, match="the config"):
        run_spec(other, tmp_path / "results", resume=directory)
    assert summary(directory) == before


@pytest.mark.usefixtures("fake_runtime")
@pytest.mark.parametrize("name", ["logs", "journal.jsonl", "run.json", ".lock", ".lock.pid"])
@pytest.mark.bad_input(40)
def test_a_run_from_elsewhere_writes_to_no_other_file(tmp_path: Path, name: str) -> None:
    spec = config(tmp_path, [variant(tmp_path, "a", {"at": "step", "call": 3, "do": "kill", "once": True})])
    directory, _before = run(spec, tmp_path)
    place, precious = directory / name, tmp_path / "precious"
    if place.exists():
        place.rename(precious)
    else:
        precious.write_text("mine")
    place.symlink_to(precious)
    was = {file: file.read_bytes() for file in (precious.iterdir() if precious.is_dir() else [precious])}
    with pytest.raises(BenchError, match="is a link"):
        run_spec(spec, tmp_path / "results", resume=directory)
    assert {file: file.read_bytes() for file in was} == was


@pytest.mark.usefixtures("fake_runtime")
def test_a_log_that_is_a_link_is_not_written_to(tmp_path: Path) -> None:
    spec = config(tmp_path, [variant(tmp_path, "a", {"at": "step", "call": 3, "do": "kill", "once": True})])
    directory, _before = run(spec, tmp_path)
    (tmp_path / "precious").write_text("mine")
    for log in (directory / "logs").iterdir():
        log.unlink()
        log.symlink_to(tmp_path / "precious")
    _again, after = run(spec, tmp_path, resume=directory)
    assert rows(after)["a"]["status"] == "load_error"
    assert "a.log: Too many levels of symbolic links" in rows(after)["a"]["reason"]
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.usefixtures("fake_runtime")
def test_a_run_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    """Prompts and answers are in it."""
    directory, _found = run(config(tmp_path, []), tmp_path)
    assert directory.stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("fake_runtime")
@pytest.mark.fault(35)
def test_weights_that_change_during_a_run_end_it(tmp_path: Path) -> None:
    """The second pair would be of another model than the first."""
    spec = config(tmp_path, [variant(tmp_path, "a")], measure=TWO)
    weights = next(iter(ensure(spec.groups[0].variants[0].model).paths))[0]

    def change(_who: str, what: str) -> None:
        if what.startswith("pair 2"):
            weights.write_bytes(weights.read_bytes() + b" ")

    with pytest.raises(IntegrityError, match=f"{weights.name} changed during the run"):
        run_spec(spec, tmp_path / "results", tell=hears(change))
    (directory,) = (tmp_path / "results").iterdir()
    assert summary(directory)["status"] == "partial"
    assert units_of(directory) == {"a": [(0, 1, 2)]}, "what was measured of the first model stays"


@pytest.mark.usefixtures("fake_runtime")
def test_prompts_that_change_during_a_run_end_it(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "one"}\n' * REQUESTS)
    load = {"name": "file", "file": str(prompts), "requests": REQUESTS, "output_tokens": TOKENS}
    spec = config(tmp_path, [variant(tmp_path, "a")], workload=load, measure=TWO)

    def change(_who: str, what: str) -> None:
        if what.startswith("pair 2"):
            prompts.write_text('{"prompt": "another"}\n' * REQUESTS)

    with pytest.raises(IntegrityError, match=r"prompts\.jsonl changed during the run"):
        run_spec(spec, tmp_path / "results", tell=hears(change))


@pytest.mark.usefixtures("fake_runtime")
def test_another_harness_does_not_continue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = config(tmp_path, [])
    directory, _found = run(spec, tmp_path)
    monkeypatch.setattr(harness, "source_digest", lambda: "1" * 64)
    with pytest.raises(IncomparableError, match="the harness"):
        run_spec(spec, tmp_path / "results", resume=directory)


@pytest.mark.usefixtures("fake_runtime")
@pytest.mark.fault(8)
def test_a_harness_that_is_killed_leaves_a_run_to_resume(tmp_path: Path) -> None:
    """kill −9 in the middle of the second variant: its workers die, and the run goes on from its journal."""
    spec_file = tmp_path / "config.yaml"
    script = f"""
        import os, signal, sys
        sys.path.insert(0, {str(RUNTIMES.parent)!r})
        import bench.runs.run, bench.runtimes, fakes
        bench.runtimes.__path__.append(str(fakes.RUNTIMES))
        from pathlib import Path
        from bench.config.reader import read_config
        bench.runs.run.source_digest = lambda: "0" * 64
        def tell(event):
            if fakes.said(event) == ("b", "memory"):
                os.kill(os.getpid(), signal.SIGKILL)
        spec = read_config(Path({str(spec_file)!r}))
        bench.runs.run.run_spec(spec, Path({str(tmp_path / "results")!r}), tell=tell)
    """
    measure = {**ONE, "max_disturbance": 1.0}  # nothing is patched in that process
    spec = config(tmp_path, [variant(tmp_path, "a"), variant(tmp_path, "b")], measure=measure)
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    (directory,) = (tmp_path / "results").iterdir()
    assert [arm.status for arm in load_record(directory).arms] == ["ok", "ok", "interrupted"]
    log: list[tuple[str, str]] = []
    _again, found = run(spec, tmp_path, resume=directory, tell=stages(log))
    assert [row["status"] for row in found["variants"]] == ["ok"] * 3
    assert [what for who, what in log if who == "a"] == ["done"]


# ---- two on one machine ------------------------------------------------------------------------------

HOLDER = """
import sys
from bench.store.run_lock import machine_lock

with machine_lock(print):
    print(flush=True)
    sys.stdin.read()
"""


@contextmanager
def somebody_measures(lock: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the machine, until its standard input is closed."""
    monkeypatch.setenv("BENCH_MACHINE_LOCK", str(lock))
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"\n"
            yield process
        finally:
            process.kill()


@pytest.mark.usefixtures("fake_runtime")
def test_a_run_waits_until_nobody_else_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Event] = []
    spec = config(tmp_path, [])
    with somebody_measures(tmp_path / "lock", monkeypatch) as other:

        def tell(event: Event) -> None:
            if not told:
                assert not (tmp_path / "results").exists(), "nothing has begun"
                assert other.stdin is not None
                other.stdin.close()
            told.append(event)

        directory = run_spec(spec, tmp_path / "results", tell=tell)
        assert other.wait(timeout=30) == 0
    assert isinstance(told[0], Noted)
    assert told[0].text.startswith(f"waiting for process {other.pid}, ")
    assert not any(isinstance(event, Noted) for event in told[1:])
    assert summary(directory)["status"] == "ok"


@pytest.mark.usefixtures("fake_runtime")
def test_ctrl_c_while_a_run_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends at once, with 130 and with nothing written."""
    spec = config(tmp_path, [])
    program = (
        "import signal, sys, bench.runtimes\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it\n"
        "sys.path.insert(0, sys.argv.pop(1))\n"
        "bench.runtimes.__path__.append(sys.argv.pop(1))\n"
        "from bench.__main__ import main\n"
        "main()\n"
    )
    known = [str(RUNTIMES.parent), str(RUNTIMES)]
    command = [sys.executable, "-c", program, *known, "run", spec.file, "--out", str(tmp_path / "results")]
    with (
        somebody_measures(tmp_path / "lock", monkeypatch) as other,
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr is not None
        told = [process.stderr.readline()]
        while told[-1].startswith("model: "):  # it is checked before
            told.append(process.stderr.readline())
        process.send_signal(signal.SIGINT)
        try:
            _out, rest = process.communicate(timeout=30)
        finally:
            process.kill()
        assert told[-1].startswith(f"waiting for process {other.pid}, ")
        assert (process.returncode, rest) == (ExitCode.INTERRUPTED, "")
    assert not (tmp_path / "results").exists()


# ---- the real thing ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny-llama's random weights on the disk, so that drift is measured, too."""
    from bench.engine import Options
    from bench.runtimes import transformers as runtime

    directory = tmp_path_factory.mktemp("toy")
    engine = runtime.load(ensure(Random("tiny-llama")).directory, Options(random=True))
    engine.model.save_pretrained(directory)
    write_tokenizer(directory)
    return directory


def test_a_real_run(tmp_path: Path, toy: Path, warm: Warm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real weights, real workers: half precision, and the baseline against itself. The baseline alone has an
    interpreter of its own, the pairs have forked ones. A fifth of the items of each suite is asked."""

    def fork(who: str, what: str) -> None:
        if (who, what) == ("baseline", "done"):
            forked = forking(warm, lambda python: python == sys.executable)
            monkeypatch.setattr(worker_process, "subprocess", forked)

    monkeypatch.setattr(behaviour, "shipped", lambda path, chat: shipped(path, chat)[::5])
    items = tmp_path / "items.jsonl"
    items.write_text('{"id": "a", "lang": "en", "prompt": "Ice is", "choices": [" a", " b"], "right": 0}\n')
    text = tmp_path / "text.txt"
    text.write_text(english.read()[:5000])  # all of it would be cut into tokens five times
    file = tmp_path / "config.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "name": "real",
                "model": {"path": str(toy)},
                "runtime": {"device": "cpu", "threads": 1},
                "workload": {"name": "chat", "requests": 6, "output_tokens": 8},
                "variants": [{"name": "bf16", "runtime": {"dtype": "bfloat16"}}, {"name": "same"}],
                "price": {"hardware": "cloud-2vcpu-8gb"},
                "drift": {
                    "text": str(text),
                    "tokens": 640,
                    "window": 64,
                    "suites": ["generation", "bias", "arithmetic", "own"],
                    "items": str(items),
                },
                "measure": {"processes": 1, "max_rounds": 1},
            }
        )
    )
    _directory, found = run(read_config(file), tmp_path, tell=hears(fork))
    assert (found["status"], found["reasons"]) == ("ok", [])
    base, bf16, same = (rows(found)[name] for name in ("baseline", "bf16", "same"))
    assert base["facts"]["dtype"] == same["facts"]["dtype"] == "float32"
    assert bf16["facts"]["dtype"] == "bfloat16"
    assert bf16["metrics"]["weights_bytes"]["value"] < 0.51 * base["metrics"]["weights_bytes"]["value"]
    assert base["metrics"]["mbu"]["value"] > 0
    for row in (base, bf16, same):
        assert row["metrics"]["tpot_ms"]["mean"] > 0
        assert row["metrics"]["peak_rss_bytes"]["value"] > row["metrics"]["weights_bytes"]["value"]
        assert row["evidence"]["kernels"]

    # the same weights on the same kernels say the same thing, to the bit
    assert same["metrics"]["exact_match"]["value"] == 1
    assert same["drift"]["kld_max"]["value"] == 0
    assert same["drift"]["top1_agreement"]["value"] == 1
    assert same["drift"]["ppl_ratio"]["value"] == 1
    # and so they do in the suites; random weights write no sum, so nothing can be lost
    assert same["metrics"]["bias_moved"]["value"] == 0
    assert (
        same["metrics"]["arithmetic_change"] | {"lost": 0, "gained": 0}
        == same["metrics"]["arithmetic_change"]
    )
    assert same["metrics"]["arithmetic_change"].get("least_change") is None
    assert base["metrics"]["own_accuracy"]["n"] == 1
    assert base["metrics"]["bias_moved"] is None
    assert bf16["metrics"]["bias_moved"]["value"] > 0
    # half precision is a little off, above the floor
    drift = bf16["drift"]
    assert 0 < drift["kld_mean"]["value"] < 0.01
    assert drift["kld_mean"]["value"] > drift["kld_mean"]["noise_floor"]
    assert drift["kld_mean"]["ci_low"] <= drift["kld_mean"]["value"] <= drift["kld_mean"]["ci_high"]
    assert drift["ppl"]["value"] == pytest.approx(base["drift"]["ppl"]["value"], rel=0.05)
    # the floor was looked for in four circumstances; these kernels give the same in another process
    floors = drift["kld_mean"]["floors"]
    assert set(floors) == {"shapes", "threads", "batch", "process"}
    assert floors["process"] == 0
    assert max(floors.values()) < 1e-6
    assert drift["kld_quarter_4"]["n"] + sum(drift[f"kld_quarter_{n}"]["n"] for n in (1, 2, 3)) == 630
    assert sum(one["n"] for key, one in drift.items() if key.startswith("kld_of_") and one) == 630
    assert drift["kld_median"]["value"] <= drift["kld_p90"]["value"] <= drift["kld_p99"]["value"]
    assert bf16["metrics"]["logit_range_ratio"]["value"] == pytest.approx(1, abs=0.05)
    for row in (base, same):
        assert row["metrics"]["changed_between_runs"]["value"] == 0
        assert row["metrics"]["changed_between_runs"]["n"] >= 6
        assert row["metrics"]["changed_in_batch"]["n"] == 4

    # what the verdict of A against A must be is tested with data above; here the machine is not ours alone,
    # and a neighbour's burst is longer than all of this model's steps together
    aa = ratios(found, "same")["cost_per_1k_tokens_usd"]
    assert (aa["design"], aa["pairs"]) == ("slices", 1)
    assert aa["ci_low"] < aa["ratio"] < aa["ci_high"]
    assert 0.2 < aa["ratio"] < 5
