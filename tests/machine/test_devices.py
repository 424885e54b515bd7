"""The memory of the GPU, as the driver's tool says it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench.machine import devices
from bench.machine.devices import cuda_memory_bytes


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cuda_device_count", lambda: 1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def answer(monkeypatch: pytest.MonkeyPatch, said: str | Exception) -> list[str]:
    asked: list[str] = []

    def run(command: list[str], **_more: object) -> subprocess.CompletedProcess[str]:
        asked.extend(command)
        if isinstance(said, Exception):
            raise said
        return subprocess.CompletedProcess(command, 0, said, "")

    monkeypatch.setattr(devices.subprocess, "run", run)
    return asked


def test_the_tool_answers_in_mebibytes(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, "81559\n")
    assert cuda_memory_bytes() == 81559 * 1024**2
    assert "--id=0" in asked


def test_the_first_device_that_a_worker_sees_is_asked(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, "24564\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    cuda_memory_bytes()
    assert "--id=2" in asked


@pytest.mark.parametrize(
    "said",
    [
        "",
        "[N/A]\n",
        FileNotFoundError("nvidia-smi"),
        subprocess.TimeoutExpired("nvidia-smi", 2),
        subprocess.CalledProcessError(9, "nvidia-smi"),
    ],
)
def test_an_unknown_size_is_none(gpu: None, monkeypatch: pytest.MonkeyPatch, said: str | Exception) -> None:
    answer(monkeypatch, said)
    assert cuda_memory_bytes() is None


def test_nobody_is_asked_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cuda_device_count", lambda: 0)
    assert answer(monkeypatch, "1\n") == []
    assert cuda_memory_bytes() is None


def test_a_list_of_devices_that_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An entry that is no number, or one of thousands of digits, ends the list, as for CUDA."""
    for number in range(3):
        (tmp_path / f"nvidia{number}").touch()
    monkeypatch.setattr(devices, "DEV", tmp_path)
    for chosen, seen in (("1,0", 2), ("9" * 5000, 0), ("0,²", 1), ("0,9,1", 1), ("", 0)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
        assert devices.cuda_device_count() == seen
