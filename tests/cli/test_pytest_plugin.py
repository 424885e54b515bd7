"""The fixture of the pytest plugin, in a pytest run of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from fakes import INTERPRETER, RUNTIMES, fake_model, fake_runtime, interpreter

from bench.cli import pytest_plugin
from bench.config.reader import read_config
from bench.errors import BenchError, InterruptedRun, TerminatedRun
from bench.runs.run import run_spec

__all__ = ["fake_runtime"]  # a fixture
MS = 1_000_000
LIMIT = {"cost_per_request_usd": {"max_increase": "3%"}}
CONFTEST = f"""
import sys
sys.path[:0] = [{str(RUNTIMES.parent)!r}]
import bench.runtimes
bench.runtimes.__path__.append({str(RUNTIMES)!r})
from bench.environments import Identity
from bench.machine import noise
from bench.results import disturbance
from bench.runs import gate, sides
noise.disturbed = lambda before, after, accepted=0.0: False  # tests share the machine: they void nothing
noise.stolen = lambda before, after: False
disturbance.OTHERS_SHARE = 100.0
# What is installed does not change meanwhile, and to look takes a second for each side.
gate.identity = sides.identity = lambda python, label="": Identity(label or "this environment", "3", "", "")
import fakes, warm
from bench.measure import worker_process
worker_process.subprocess = warm.forking(warm.Warm("fake"), fakes.is_ours)
"""
TEST = """
def test_cost(bench_gate):
    assert bench_gate("gate.yaml")["verdict"] == "PASS"
"""


def project(root: Path, test: str, step_ns: int = 2 * MS, **more: Any) -> Path:
    """A project with a test, and a config whose variant takes ``step_ns`` a token, the baseline 2 ms."""
    base = fake_model(root / "base", prefill_ns=[10 * MS], step_ns=[2 * MS])
    other = fake_model(root / "other", prefill_ns=[10 * MS], step_ns=[step_ns])
    content = {
        "model": {"path": str(base)},
        "runtime": {"name": "fake", "threads": 2, "python": str(interpreter(root))},
        "workload": {"name": "chat", "requests": 4, "output_tokens": 6},
        "variants": [{"name": "v", "model": {"path": str(other)}}],
        "gate": LIMIT,
        **more,
    }
    (root / "gate.yaml").write_text(yaml.safe_dump(content))
    (root / "conftest.py").write_text(CONFTEST)
    (root / "test_cost.py").write_text(test)
    return root


def pytest_in(
    root: Path, *arguments: str, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run pytest on a project as its user does, with this tree's plugin and without this suite's options."""
    known = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "GITHUB_"))}
    ours = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(RUNTIMES.parents[1])}
    where = ["--rootdir", str(root), str(root)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *where, *arguments],
        cwd=cwd or root,
        capture_output=True,
        text=True,
        env={**known, **ours, **variables},
        timeout=300,
    )


def git(root: Path, *arguments: str) -> str:
    name = ("-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *name, *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def stored_in(place: Path) -> list[dict[str, Any]]:
    """What pytest-benchmark would list."""
    return [json.loads(path.read_text()) for path in sorted(place.glob("*/00??_bench-*.json"))]


def evidence_in(out: Path) -> list[Mapping[str, Any]]:
    """The evidence of every gate."""
    return [json.loads(path.read_text())["gate"]["evidence"] for path in sorted(out.glob("*/run.json"))]


@pytest.mark.parametrize(("step_ns", "code"), [(2 * MS, 0), (3 * MS, 1)])
def test_a_gate_as_a_test(tmp_path: Path, step_ns: int, code: int) -> None:
    done = pytest_in(project(tmp_path, TEST, step_ns))
    assert done.returncode == code, done.stdout + done.stderr
    (stored,) = stored_in(tmp_path / ".benchmarks")
    rows = stored["benchmarks"]
    assert [row["name"] for row in rows] == ["baseline", "v"]
    assert rows[1]["stats"]["mean"] == pytest.approx(4 * (10 + 5 * step_ns / MS) / 1e3)
    assert stored["commit_info"]["id"] == "unversioned"
    assert "::" not in done.stderr
    if code:
        assert "FAIL  gate  (exit 1)" in done.stdout
        assert "v: unit 8" in done.stdout, "what happened until then"


def test_two_gates_at_once_wait_for_each_other(tmp_path: Path) -> None:
    """With pytest-xdist, started in another directory than the rootdir, in a repository, on GitHub."""
    two = "\n".join(
        f"def test_{name}(bench_gate):\n    bench_gate('gate.yaml')\n" for name in ("one", "other")
    )
    root = project(tmp_path / "root", two, 3 * MS)
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "one")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = pytest_in(
        root, "-n", "2", "--bench-out", "found", "--benchmark-storage", "file://kept",
        cwd=elsewhere, BENCH_MACHINE_LOCK=str(tmp_path / "lock"),
        GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(tmp_path / "page.md"),
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert done.stdout.splitlines().count("FAIL  gate  (exit 1)") == 2, said
    assert said.count("waiting for process ") == 1, said
    units = [(one["units"], one.get("units_from_earlier_runs", 0)) for one in evidence_in(root / "found")]
    assert sorted(units) == [(9, 0), (10, 9)], "the second goes on where the first stopped"
    assert (tmp_path / "page.md").read_text().count("### FAIL: gate") == 2
    annotations = [line for line in done.stderr.splitlines() if line.startswith("::error title=bench gate::")]
    assert len(annotations) == 2, done.stderr
    stored = stored_in(elsewhere / "kept")
    assert [one["commit_info"]["id"] for one in stored] == [git(root, "rev-parse", "HEAD")] * 2
    assert sorted(path.name for path in elsewhere.iterdir()) == ["kept"]
    assert not (root / ".benchmarks").exists()


def test_what_cannot_be_measured_fails_with_a_sentence(tmp_path: Path) -> None:
    calls = {
        "no_config": "'missing.yaml'",
        "bad_yaml": "'bad.yaml'",
        "unknown_key": "'unknown.yaml'",
        "unknown_ref": "'gate.yaml', base='nowhere'",
        "no_repository": "'../gate.yaml', base='HEAD'",
        "a_candidate_alone": "'gate.yaml', candidate='HEAD'",
        "other_limits": "'gate.yaml', limits_from='nobody'",
        "no_number": "'gate.yaml', overrides=['workload.requests=many']",
    }
    test = "\n".join(
        f"def test_{name}(bench_gate):\n    bench_gate({given})\n" for name, given in calls.items()
    )
    root = project(tmp_path / "root", test)
    (root / "bad.yaml").write_text("model: [\n")
    (root / "unknown.yaml").write_text("modle: smollm2-135m\n")
    (tmp_path / "gate.yaml").write_text((root / "gate.yaml").read_text())
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "one")
    done = pytest_in(root)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{len(calls)} failed" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "pytest_plugin.py" not in done.stdout
    for said in (
        f"bench gate: {root / 'missing.yaml'}: ",
        f"bench gate: {root / 'bad.yaml'}:",
        "did you mean 'model'",
        f"bench gate: --base nowhere: nowhere is no commit, branch or tag of the repository at {root}",
        "is in no git repository",
        "bench gate: --candidate goes with --base COMMIT",
        "bench gate: limits_from='nobody': give 'base' or 'candidate'",
        "workload.requests",
    ):
        assert said in done.stdout, said
    assert not (root / "results").exists()


@pytest.mark.usefixtures("fake_runtime")
def test_an_earlier_run_as_the_base(tmp_path: Path) -> None:
    """Its path begins in the rootdir, as the config's does; a finished run alone is judged again."""
    test = """
def test_base(bench_gate):
    found = bench_gate("gate.yaml", base="results/RUN", overrides=["gate.e2el_ms.max_increase=95%"])
    assert found["evidence"]["base"].startswith("20")
    assert found["evidence"]["base"] != found["evidence"]["run_id"]

def test_finished(bench_gate):
    assert bench_gate("results/RUN")["evidence"]["run_id"].startswith("20")
"""
    few = {"processes": 2, "max_rounds": 1}
    root = project(tmp_path / "root", test, measure=few, gate={"e2el_ms": {"max_increase": "90%"}})
    (root / "results").mkdir()
    run_spec(read_config(root / "gate.yaml"), tmp_path / "first").rename(root / "results" / "RUN")
    done = pytest_in(root, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((root / "results").iterdir())) == 2


def test_commits_as_base_and_candidate(tmp_path: Path) -> None:
    """The candidate is a commit, so it is the one that pytest-benchmark's file names."""
    test = """
def test_commits(bench_gate):
    pair = {"base": "HEAD~1", "candidate": "HEAD"}
    found = bench_gate("gate.yaml", **pair, limits_from="candidate", allow_identical=True)
    assert found["verdict"] == "IDENTICAL"
    assert found["rules"][0]["rule"] == "cost_per_request_usd max_increase 7 %"
"""
    root = project(tmp_path / "root", test, variants=[])
    # What the config names by its whole place is no part of the commits.
    (root / ".gitignore").write_text(f"base/\n{INTERPRETER}\n")
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "one")
    spec = yaml.safe_load((root / "gate.yaml").read_text())
    limit = {"cost_per_request_usd": {"max_increase": "7%"}}
    (root / "gate.yaml").write_text(yaml.safe_dump({**spec, "gate": limit}))
    git(root, "commit", "--quiet", "--all", "--message", "other")
    (root / "new").touch()
    done = pytest_in(root, cwd=tmp_path, BENCH_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stdout + done.stderr
    (stored,) = stored_in(root / ".benchmarks")
    assert stored["commit_info"]["id"] == git(root, "rev-parse", "HEAD")
    assert stored["commit_info"]["dirty"] is False
    (evidence,) = evidence_in(root / "results")
    assert evidence["sides"]["base"]["commit"] == git(root, "rev-parse", "HEAD~1")


@pytest.mark.parametrize(
    ("named", "place"),
    [
        (None, "/rootdir/.benchmarks"),
        ("file://./.benchmarks", "/rootdir/.benchmarks"),  # what it is if nobody names one
        ("kept", "/here/kept"),
        ("file://kept", "/here/kept"),
        ("file:///kept", "/kept"),
        ("/kept", "/kept"),
        ("elasticsearch+http://host/index", "/rootdir/.benchmarks"),
    ],
)
def test_where_the_file_for_pytest_benchmark_goes(named: str | None, place: str) -> None:
    settings = SimpleNamespace(
        getoption=lambda name, default: {"benchmark_storage": named}[name],
        rootpath=Path("/rootdir"),
        invocation_params=SimpleNamespace(dir=Path("/here")),
    )
    assert pytest_plugin._storage(cast(pytest.Config, settings)) == Path(place)


@pytest.mark.parametrize(("stopped", "code"), [(InterruptedRun("stop"), 130), (TerminatedRun("stop"), 143)])
def test_an_interrupted_gate_ends_pytest(stopped: BenchError, code: int) -> None:
    with pytest.raises(pytest.exit.Exception) as ended, pytest_plugin._in_a_sentence():
        raise stopped
    assert ended.value.returncode == code
