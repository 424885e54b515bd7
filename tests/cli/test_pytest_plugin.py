"""The fixture of the pytest plugin, in a pytest run of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fakes import RUNTIMES, fake_model, interpreter

MS = 1_000_000
TEST = """
import sys
sys.path[:0] = [{here!r}]
import bench.runtimes
bench.runtimes.__path__.append({runtimes!r})

def test_cost(bench_gate):
    assert bench_gate("gate.yaml")["verdict"] == "PASS"
"""


@pytest.mark.parametrize(("step_ns", "code"), [(2 * MS, 0), (3 * MS, 1)])
def test_a_gate_as_a_test(tmp_path: Path, step_ns: int, code: int) -> None:
    base = fake_model(tmp_path / "base", prefill_ns=[10 * MS], step_ns=[2 * MS])
    other = fake_model(tmp_path / "other", prefill_ns=[10 * MS], step_ns=[step_ns])
    content = {
        "model": {"path": str(base)},
        "runtime": {"name": "fake", "threads": 2, "python": str(interpreter(tmp_path))},
        "workload": {"name": "chat", "requests": 4, "output_tokens": 6},
        "variants": [{"name": "v", "model": {"path": str(other)}}],
        "gate": {"cost_per_request_usd": {"max_increase": "3%"}},
    }
    (tmp_path / "gate.yaml").write_text(yaml.safe_dump(content))
    test = TEST.format(here=str(RUNTIMES.parent), runtimes=str(RUNTIMES))
    (tmp_path / "test_cost.py").write_text(test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == code, done.stdout + done.stderr
    stored = list(tmp_path.glob(".benchmarks/*/0001_bench-*.json"))
    assert len(stored) == 1
    rows = json.loads(stored[0].read_text())["benchmarks"]
    assert [row["name"] for row in rows] == ["baseline", "v"]
    assert rows[1]["stats"]["mean"] == pytest.approx(4 * (10 + 5 * step_ns / MS) / 1e3)
    if code:
        assert "FAIL  gate  (exit 1)" in done.stdout
