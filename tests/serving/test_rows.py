"""A server as a row of a run and as a side of a gate, against stubs whose times are known."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from running_stub import STUB, running

from bench.config.reader import read_config
from bench.errors import InterruptedRun, Outcome
from bench.measure import load_blocks, served
from bench.metrics import under_load
from bench.metrics.comparisons import compare_all
from bench.models.reference import LocalModel
from bench.records import Sides
from bench.records.loads import ClientOverhead
from bench.report.formats import markdown, pytest_benchmark
from bench.results.run_summary import RunSummary
from bench.results.summary import load_run
from bench.results.verify import verify_run
from bench.runs.gate import Plan, calibrate_spec, gate_spec
from bench.runs.run import run_spec
from bench.runs.sides import _asked_of, evidence_key
from bench.serving import engines
from bench.serving.engines.adapter import Adapter, Launch
from bench.serving.pinning import split
from bench.stats.ratio_verdict import RatioDesign, Verdict
from bench.store.replay import load_record

KEY = "sk-planted-0123456789abcdef"
MODEL = "ttft=4,gap=1"


@pytest.fixture(scope="module")
def urls() -> Iterator[tuple[str, str]]:
    with running() as one, running() as other:
        yield one.url.removesuffix("/v1"), other.url.removesuffix("/v1")


def written(tmp_path: Path, urls: tuple[str, str], variants: str, more: str = "", model: str = MODEL) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(f"""
model: smollm2-135m
runtime: {{name: openai-http, url: "{urls[0]}", model: "{model}"}}
workload: {{name: closed-loop, users: 2, requests: 4, input_tokens: 4, output_tokens: 8, warmup: 1}}
drift: {{tokens: 0}}
measure: {{processes: 2, max_rounds: 1, max_disturbance: 1}}
slo: {{ttft_ms: 5000, tpot_ms: 500}}
{more}
variants:
{variants}
""")
    return path


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run beside others, so a client that was late is no news here; one test asks for it."""
    monkeypatch.setattr(ClientOverhead, "reasons", lambda _self: ())


def measured(path: Path, tmp_path: Path) -> tuple[Path, RunSummary]:
    directory = run_spec(read_config(path), tmp_path / "out")
    return directory, load_run(directory)


# ---- a run ----


def test_a_row_has_its_figures_its_ratio_and_its_evidence(urls: tuple[str, str], tmp_path: Path) -> None:
    slower = f'  - {{name: slower, runtime: {{url: "{urls[1]}", model: "ttft=4,gap=21"}}}}'
    directory, run = measured(written(tmp_path, urls, slower), tmp_path)
    base, row = run.rows
    assert (base.status, row.status, run.status) == ("ok", "ok", "ok"), run.reasons
    assert base.figure("ttft_ms").sample.n == 4 * 4  # type: ignore[union-attr]
    assert row.figure("ttft_ms").sample.n == 2 * 2 * 4  # type: ignore[union-attr]
    for key in (
        "tpot_ms",
        "itl_ms",
        "e2el_ms",
        "output_throughput",
        "cost_per_good_request_usd",
        "tpot_p50_ms",
    ):
        figure = row.figure(key)
        assert figure is not None, key
        assert figure.ci_low < figure.value < figure.ci_high, key  # type: ignore[operator]
    assert 20 < row.figure("tpot_ms").value < 200  # type: ignore[union-attr]
    assert row.figure("error_rate").value == 0  # type: ignore[union-attr]
    ratio = run.comparison(row, "cost_per_good_request_usd")
    assert ratio is not None
    assert (ratio.design, ratio.verdict, ratio.pairs) == (RatioDesign.BLOCKS, Verdict.WORSE, 2)
    assert 2 < ratio.ratio < 50  # (4 + 7 · 21)/(4 + 7 · 1) = 13.7 without what the machine adds
    assert "alone" not in row.figure("cost_per_1k_tokens_usd").notes  # type: ignore[union-attr]  # its own
    assert row.evidence.steps[0]["server"]["served_as"] == "ttft=4,gap=21"  # type: ignore[union-attr]
    assert "figure by figure" in verify_run(directory)
    record = load_record(directory)
    for key, arithmetic in under_load.worked(record.arms[1], record).items():
        figure = row.figure(key)
        assert figure is not None, key
        assert eval(arithmetic) == pytest.approx(figure.value, rel=1e-4), key
    page = markdown.render([run])
    assert "good req" in page
    assert "a good request:" in page


def test_blocks_alternate_and_both_sides_get_the_same_prompts_at_the_same_times(
    urls: tuple[str, str], tmp_path: Path
) -> None:
    same = f'  - {{name: same, runtime: {{url: "{urls[1]}"}}}}'
    directory, _run = measured(written(tmp_path, urls, same), tmp_path)
    for unit in load_record(directory).units:
        assert unit.loads is not None
        sides = unit.loads.baseline, unit.loads.variant
        first, last = (sides[unit.spawned_first], sides[1 - unit.spawned_first])
        begun = [block.samples[0].sent_ns for block in (first[0], last[0], last[1], first[1])]
        assert begun == sorted(begun)
        for one, other in zip(*sides, strict=True):
            assert [s.input_tokens for s in one.samples] == [s.input_tokens for s in other.samples]


def test_two_equal_servers_are_not_told_apart(urls: tuple[str, str], tmp_path: Path) -> None:
    """The interval of each is wide enough for 1, up to what chance allows once in a million."""
    rows = "\n".join(f'  - {{name: a{n}, runtime: {{url: "{urls[1]}"}}}}' for n in range(2))
    _directory, run = measured(written(tmp_path, urls, rows, model="ttft=10,gap=5"), tmp_path)
    for row in run.rows[1:]:
        ratio = run.comparison(row, "cost_per_request_usd")
        assert ratio is not None
        half = math.log(ratio.ci_high / ratio.ratio)  # type: ignore[operator]
        assert abs(math.log(ratio.ratio)) < 2.5 * half
        assert 0.005 < half < 0.5


def test_a_row_that_fails_has_its_reason_and_the_others_go_on(urls: tuple[str, str], tmp_path: Path) -> None:
    rows = f"""
  - {{name: broken, runtime: {{url: "{urls[1]}", model: "mode=status,status=500"}}}}
  - {{name: nobody, runtime: {{url: "http://127.0.0.1:9"}}}}
  - {{name: absent, runtime: {{name: sglang}}}}
  - {{name: same, runtime: {{url: "{urls[1]}"}}}}"""
    _directory, run = measured(written(tmp_path, urls, rows), tmp_path)
    found = {row.name: (row.status, row.reason) for row in run.rows}
    assert found["broken"][0] == Outcome.RUN_ERROR
    assert "HTTP 500" in found["broken"][1]
    assert found["nobody"][0] in (Outcome.LOAD_ERROR, Outcome.RUN_ERROR)
    assert found["absent"][0] == Outcome.UNSUPPORTED
    assert found["absent"][1].startswith("SGLang ")
    assert "runtime.python of a row" in found["absent"][1]
    assert found["same"][0] == Outcome.OK


def test_errors_never_make_a_row_better(urls: tuple[str, str], tmp_path: Path) -> None:
    """The variant is several times as fast, and one of its replies is cut short now and then."""
    fast = f'  - {{name: fast, runtime: {{url: "{urls[1]}", model: "ttft=1,gap=1"}}}}'
    path = written(tmp_path, urls, fast, model="ttft=10,gap=6")
    directory, run = measured(path, tmp_path)
    assert run.comparison(run.rows[1], "e2el_ms").verdict == Verdict.BETTER  # type: ignore[union-attr]
    record = load_record(directory)
    units = []
    for unit in record.units:
        assert unit.loads is not None
        block = unit.loads.variant[0]
        bad = replace(block.samples[0], status="cut short", reason="cut")
        spoiled = replace(block, samples=(bad, *block.samples[1:]))
        units.append(replace(unit, loads=Sides(unit.loads.baseline, (spoiled, *unit.loads.variant[1:]))))
    found = compare_all(replace(record, units=tuple(units)))
    assert {one.verdict for one in found} == {Verdict.CANNOT_TELL}


def test_a_client_that_was_the_bottleneck(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = f'  - {{name: same, runtime: {{url: "{urls[1]}"}}}}'
    monkeypatch.setattr(
        ClientOverhead, "reasons", lambda _self: ("the client was the bottleneck: it was asleep",)
    )
    _directory, run = measured(written(tmp_path, urls, same), tmp_path)
    assert run.status == "invalid"
    assert run.rows[0].status == Outcome.INVALID
    assert "no valid block of 8: the client was the bottleneck" in run.rows[0].reason
    assert run.rows[1].status == Outcome.BASELINE_FAILED


def test_a_pair_with_a_spoiled_block_is_void(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = f'  - {{name: same, runtime: {{url: "{urls[1]}"}}}}'
    monkeypatch.setattr(ClientOverhead, "reasons", lambda self: ("late",) if self.loop == "spoiled" else ())
    real = served.ServerPair._block
    numbers = iter(range(1000))

    def block(self: served.ServerPair, side: int, place: int):  # type: ignore[no-untyped-def]
        found = real(self, side, place)
        spoiled = next(numbers) == 1
        return replace(found, client=replace(found.client, loop="spoiled")) if spoiled else found

    monkeypatch.setattr(served.ServerPair, "_block", block)
    _directory, run = measured(written(tmp_path, urls, same), tmp_path)
    assert run.rows[1].status == Outcome.OK
    assert run.rows[1].void_pairs == 1
    assert run.comparison(run.rows[1], "cost_per_request_usd").pairs == 2  # type: ignore[union-attr]


def test_a_block_of_a_search_is_the_load_at_the_highest_rate_that_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.serving.capacity_search.MOST_STEPS", 2)
    monkeypatch.setattr(served, "ALONE_BLOCKS", 1)
    with running() as one:
        url = one.url.removesuffix("/v1")
        path = written(tmp_path, (url, url), "  []", model="ttft=5,tokens=1")
        search = "workload: {name: search, share: 0.5, rate: 100, input_tokens: 4, output_tokens: 2}"
        lines = [search if line.startswith("workload") else line for line in path.read_text().splitlines()]
        path.write_text("\n".join(lines))
        directory, run = measured(path, tmp_path)
    (row,) = run.rows
    (block,) = load_record(directory).arms[0].loads
    assert block.search is not None
    assert [step["rate"] for step in block.search["steps"]] == [100, 200]
    assert row.figure("capacity_req_per_s").value == block.search["holds"]  # type: ignore[union-attr]
    assert len(block.samples) == block.search["steps"][-1]["requests"]


# ---- no server gets a prompt twice ----


def spied(monkeypatch: pytest.MonkeyPatch, module: str) -> list[tuple[int, tuple[str, ...]]]:
    """A list of (port, prompts) to which each load that ``module`` makes is added."""
    sent: list[tuple[int, tuple[str, ...]]] = []
    real = load_blocks.load

    async def load(settings: Any, schedule: Any, asked: Any, *more: Any) -> Any:
        sent.append((settings.server.port, tuple(one.prompt for one in asked)))
        return await real(settings, schedule, asked, *more)

    monkeypatch.setattr(f"{module}.load", load)
    return sent


def with_workload(path: Path, workload: str) -> Path:
    lines = path.read_text().splitlines()
    changed = [f"workload: {workload}" if line.startswith("workload") else line for line in lines]
    path.write_text("\n".join(changed))
    return path


def must_be_new(pair: list[tuple[int, tuple[str, ...]]], each: int) -> None:
    """Both servers get the same two rounds of prompts, and no prompt is in both rounds."""
    by_port: dict[int, list[tuple[str, ...]]] = {}
    for port, prompts in pair:
        by_port.setdefault(port, []).append(prompts)
    one, other = by_port.values()
    assert one == other
    assert len({prompt for prompts in one for prompt in prompts}) == 2 * each


def test_blocks_go_on_in_a_data_set(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a prefix cache, which vLLM has by default, would answer all blocks but the first."""
    sent = spied(monkeypatch, "bench.measure.load_blocks")
    rows = [{"prompt": f"say the number {n}", "response": "it is said"} for n in range(100)]
    (tmp_path / "set").write_text(json.dumps(rows))
    same = f'  - {{name: same, runtime: {{url: "{urls[1]}"}}}}'
    own = f"{{name: data-set, file: {tmp_path / 'set'}, users: 2, requests: 4, output_tokens: 4, warmup: 1}}"
    measured(with_workload(written(tmp_path, urls, same), own), tmp_path)
    alone, *pairs = sent[:4], sent[4:8], sent[8:]
    assert len({prompt for _port, prompts in alone for prompt in prompts}) == 16
    for pair in pairs:
        must_be_new(pair, 4)
    assert pairs[0] != pairs[1], "these servers know what the first pair has sent"


def test_searches_of_a_pair_have_prompts_of_their_own(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.serving.capacity_search.MOST_STEPS", 1)
    monkeypatch.setattr(served, "ALONE_BLOCKS", 1)
    sent = spied(monkeypatch, "bench.serving.search_run")
    same = f'  - {{name: same, runtime: {{url: "{urls[1]}"}}}}'
    own = "{name: search, share: 0.5, rate: 100, input_tokens: 12, output_tokens: 2}"
    path = with_workload(written(tmp_path, urls, same, model="ttft=5,tokens=1"), own)
    path.write_text(path.read_text().replace("processes: 2", "processes: 1"))
    measured(path, tmp_path)
    assert len(sent) == 5
    must_be_new(sent[1:], len(sent[1][1]))


# ---- servers that are started here ----


@pytest.fixture
def stub_engine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """SGLang is the stub here, started with further arguments."""

    def use(*arguments: str) -> None:
        def command(launch: Launch) -> tuple[str, ...]:
            return (launch.python, str(STUB), "--port", str(launch.port), *arguments)

        adapter = Adapter(
            "sglang", "the stub", command, "/health", ("/version",), lambda _: MODEL, "it is here"
        )
        monkeypatch.setitem(engines.ADAPTERS, "sglang", adapter)

    return use


STARTED = f"""
model: smollm2-135m
runtime: {{name: sglang, python: {sys.executable}, wait_s: 20}}
workload: {{name: closed-loop, users: 2, requests: 4, input_tokens: 6, output_tokens: 4, warmup: 1}}
drift: {{tokens: 0}}
measure: {{processes: 1, max_rounds: 1, max_disturbance: 1}}
variants: [{{name: same}}]
"""


def own_children() -> set[int]:
    import psutil

    return {one.pid for one in psutil.Process().children(recursive=True)}


def test_servers_are_started_for_each_pair_and_nothing_is_left(
    stub_engine: Callable[..., None], tmp_path: Path
) -> None:
    stub_engine()
    path = tmp_path / "c.yaml"
    path.write_text(STARTED)
    before = own_children()
    _directory, run = measured(path, tmp_path)
    assert [row.status for row in run.rows] == ["ok", "ok"], run.reasons
    step = run.rows[1].evidence.steps[0]  # type: ignore[union-attr]
    assert step["server"]["evidence"] == {"/version": {"version": "stub-1"}}
    assert step["server"]["tokens_by"] == "its tokenizer"
    assert "--dtype" not in step["server"]["command"]
    assert own_children() == before


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor cannot be shared out")
@pytest.mark.parametrize(
    ("settings", "runtime", "why"),
    [
        ("", "", ""),
        ("pin_client: false, ", "", "measure.pin_client is false"),
        ("", "args: {threads: 9999}, ", "a server wants 9999 threads"),
    ],
)
def test_client_and_servers_are_pinned_apart(
    settings: str, runtime: str, why: str, stub_engine: Callable[..., None], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    stub_engine()
    others, found = own_children(), []
    real = load_blocks.load

    async def load(*arguments: Any) -> Any:
        servers = [os.sched_getaffinity(pid) for pid in own_children() - others]
        found.append((servers, os.sched_getaffinity(0)))
        return await real(*arguments)

    monkeypatch.setattr(load_blocks, "load", load)
    before, path = os.sched_getaffinity(0), tmp_path / "c.yaml"
    text = STARTED.replace("measure: {", f"measure: {{{settings}").replace("wait_s", f"{runtime}wait_s")
    path.write_text(text)
    _directory, run = measured(path, tmp_path)
    cores = split(wanted=not why)
    theirs, ours = (set(cores.server), set(cores.client)) if cores.client else (before, before)
    assert len(found) >= 8, "four blocks of the baseline alone, four of a pair"
    assert all(servers and client == ours for servers, client in found)
    assert all(one == theirs for servers, _client in found for one in servers)
    assert os.sched_getaffinity(0) == before
    for row in run.rows:
        served = row.evidence.steps[0]["server"]  # type: ignore[union-attr]
        assert served.get("pinned") == cores.to_json()
        assert served.get("not_pinned", "").startswith(why)
    said = "share the processors" if why else "Pinned apart: the server on processors"
    assert said in markdown.render([run])


def test_a_server_of_somebody_else_here_is_not_moved(urls: tuple[str, str], tmp_path: Path) -> None:
    same = f'  - {{name: same, runtime: {{url: "{urls[1]}"}}}}'
    _directory, run = measured(written(tmp_path, urls, same), tmp_path)
    served = run.rows[1].evidence.steps[0]["server"]  # type: ignore[union-attr]
    assert served["not_pinned"] == "a server here was started by somebody else"


def test_one_after_the_other_where_memory_has_no_room_for_two(
    stub_engine: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_engine()
    up: list[int] = []
    real = served.ServerPair._block

    def block(self: served.ServerPair, side: int, place: int):  # type: ignore[no-untyped-def]
        found = real(self, side, place)
        up.append(len(self._open))
        return found

    monkeypatch.setattr(served.ServerPair, "_block", block)
    path = tmp_path / "c.yaml"
    path.write_text(STARTED)
    for room, most in ((True, 2), (False, 1)):
        up.clear()
        monkeypatch.setattr("bench.measure.server_pair.room_beside", lambda _first, room=room: room)
        _directory, run = measured(path, tmp_path)
        assert [row.status for row in run.rows] == ["ok", "ok"]
        assert max(up) == most


def test_a_server_that_dies_under_load(stub_engine: Callable[..., None], tmp_path: Path) -> None:
    stub_engine("--die-after", "9")
    path = tmp_path / "c.yaml"
    path.write_text(STARTED)
    _directory, run = measured(path, tmp_path)
    assert run.rows[0].status == Outcome.RUN_ERROR
    assert "the server died (exit code 3)" in run.rows[0].reason


def test_a_run_goes_on_where_it_was_interrupted(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "\n".join(f'  - {{name: a{n}, runtime: {{url: "{urls[1]}"}}}}' for n in range(2))
    path = written(tmp_path, urls, rows)
    real = served.ServedRun.first

    def interrupted(self: served.ServedRun) -> None:
        if self.row.arm.name == "a1":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
        real(self)

    monkeypatch.setattr(served.ServedRun, "first", interrupted)
    with pytest.raises(InterruptedRun):
        run_spec(read_config(path), tmp_path / "out")
    (directory,) = (tmp_path / "out").iterdir()
    assert [row.status for row in load_run(directory).rows] == ["ok", "ok", "interrupted"]
    monkeypatch.setattr(served.ServedRun, "first", real)
    run_spec(read_config(path), tmp_path / "out", resume=directory)
    run = load_run(directory)
    assert [row.status for row in run.rows] == ["ok", "ok", "ok"]
    assert len(load_record(directory).units) == 4


# Python drops what a handler raises inside a callback of the garbage collector; the run is then ended by the
# signal that ``measure.interrupt`` raises once more, and the dropped one is no fault.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_sigterm_within_a_load_ends_the_run(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, urls, "  []", model="ttft=10,gap=150")
    real = load_blocks.Serving.block

    def block(self: load_blocks.Serving, *arguments: Any) -> Any:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return real(self, *arguments)

    monkeypatch.setattr(load_blocks.Serving, "block", block)  # a block takes two seconds and more
    with pytest.raises(InterruptedRun):
        run_spec(read_config(path), tmp_path / "out")
    (directory,) = (tmp_path / "out").iterdir()
    assert load_run(directory).rows[0].status == Outcome.INTERRUPTED


def test_a_key_is_in_no_file_of_a_run(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stub sends the header back in its refusal."""
    monkeypatch.setenv("PLANTED", KEY)
    leaks = f'  - {{name: leaks, runtime: {{url: "{urls[1]}", key_env: PLANTED, model: "mode=status"}}}}'
    directory, run = measured(written(tmp_path, urls, leaks), tmp_path)
    assert "[key]" in run.rows[1].reason
    content = b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())
    assert b"PLANTED" in content
    assert KEY.encode() not in content


# ---- a gate ----


def test_two_servers_are_the_sides_of_a_gate(urls: tuple[str, str], tmp_path: Path) -> None:
    limits = "gate: {cost_per_1k_tokens_usd: {max_increase: 100%}}"
    base = "ttft=5,gap=2"
    for name, model, verdict in (("same", base, "PASS"), ("slower", "ttft=5,gap=10", "FAIL")):
        row = f'  - {{name: {name}, runtime: {{url: "{urls[1]}", model: "{model}"}}}}'
        directory = gate_spec(
            read_config(written(tmp_path, urls, row, limits, base)), tmp_path / name, Plan(cap=40)
        )
        gate = load_run(directory).gate
        reached = [arm.reached for arm in load_record(directory).arms]
        assert not any(reached), "no commit is behind a server that somebody else has started"
        assert gate is not None
        assert gate.verdict == verdict, gate.to_json()
        verify_run(directory)


def test_the_noise_of_two_equal_servers_is_calibrated_and_a_gate_is_reported(
    urls: tuple[str, str], tmp_path: Path
) -> None:
    spec = read_config(written(tmp_path, urls, "  []", model="ttft=2,gap=2"))
    directory = calibrate_spec(spec, tmp_path / "out", units=6)
    found = load_run(directory).calibration
    assert found is not None
    assert (found.units, found.batches_measured, found.batches) == (6, 2, 2)
    assert 0 < found.unit_sd < 2
    record = load_record(directory)
    page = json.loads(pytest_benchmark.of_units(load_run(directory), record.units))
    assert all(one["stats"]["min"] > 0 for one in page["benchmarks"])
    assert len(page["benchmarks"]) == 2


def test_the_evidence_of_a_gate_on_commits_knows_the_load(urls: tuple[str, str], tmp_path: Path) -> None:
    """Two loads are two keys, and no model is fetched for a server that is there."""

    def fetch(_reference: object) -> LocalModel:
        raise AssertionError("nothing is fetched")

    found = set()
    for users in ("users: 2", "users: 3"):
        path = written(tmp_path, urls, "  []")
        path.write_text(path.read_text().replace("users: 2", users))
        spec = read_config(path)
        found.add(evidence_key(spec, {}, fetch))
        assert _asked_of(spec.groups[0].baseline)[1]["users"] in (2, 3)  # type: ignore[index]
    assert len(found) == 2
