"""What a worker inherits, and what it is given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.measure.worker_environment import worker_environment


def test_what_is_compiled_is_kept_between_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In one place for every worker, unless the user has named another."""
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    for on_cpu in (True, False):
        found = worker_environment(None, on_cpu)
        assert found["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "compiled" / "inductor")
        assert found["TRITON_CACHE_DIR"] == str(tmp_path / "compiled" / "triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", "/elsewhere")
    assert worker_environment(None)["TRITON_CACHE_DIR"] == "/elsewhere"


def test_the_profiler_s_hooks_are_taken_out_again() -> None:
    """Torch reads the variable when it is loaded, so it is there from the start."""
    assert worker_environment(1)["TEARDOWN_CUPTI"] == "1"


def test_a_worker_finds_packages_where_the_harness_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PYTHONPATH, as whole paths; an empty entry is the place where the user stands, and is left out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"packages{os.pathsep}{os.pathsep}/elsewhere")
    places = f"{tmp_path / 'packages'}{os.pathsep}/elsewhere"
    assert worker_environment(1)["PYTHONPATH"] == places
    assert "PYTHONPATH" not in worker_environment(1, python=Path("/usr/bin/python3"))
    monkeypatch.setenv("PYTHONPATH", "")
    assert "PYTHONPATH" not in worker_environment(1)


@pytest.mark.parametrize(("given", "order"), [(None, "PCI_BUS_ID"), ("FASTEST_FIRST", "FASTEST_FIRST")])
def test_gpus_are_numbered_as_the_driver_does_unless_the_user_says(
    monkeypatch: pytest.MonkeyPatch, given: str | None, order: str
) -> None:
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    if given:
        monkeypatch.setenv("CUDA_DEVICE_ORDER", given)
    assert worker_environment(None)["CUDA_DEVICE_ORDER"] == order


def test_what_another_interpreter_starts_by_name_is_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job's own environment may hold the candidate's package: neither side of a gate may use that."""
    monkeypatch.setenv("PATH", "/job/bin")
    monkeypatch.setenv("VIRTUAL_ENV", "/job")
    python = tmp_path / "venv" / "bin" / "python"
    found = worker_environment(1, python=python)
    assert found["PATH"] == f"{python.parent}{os.pathsep}/job/bin"
    assert "VIRTUAL_ENV" not in found, "an interpreter of the system is in none"
    python.parent.mkdir(parents=True)
    (tmp_path / "venv" / "pyvenv.cfg").write_text("")
    assert worker_environment(1, python=python)["VIRTUAL_ENV"] == str(tmp_path / "venv")
    assert worker_environment(1)["VIRTUAL_ENV"] == "/job"
