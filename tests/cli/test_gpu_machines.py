"""What `bench check` and `bench doctor` say on machines with GPUs of every kind, and how they end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import Bench
from fake_nvml import GIB, Card, Machine, gpu_machine, h100_slice

from bench import plugins
from bench.cli import doctor
from bench.machine import gpus

__all__ = ["gpu_machine"]
Patch = pytest.MonkeyPatch


@pytest.fixture
def config(tmp_path: Path, monkeypatch: Patch) -> Path:
    monkeypatch.setattr(plugins, "missing_packages", lambda module: ())
    content = {
        "model": {"random": "llama-3.1-8b-shape"},
        "runtime": {"device": "cuda:0", "dtype": "bfloat16"},
        "workload": {"name": "fixed", "input_tokens": 128, "output_tokens": 32, "requests": 4},
        "variants": [{"name": "same"}],
        "price": {"hardware": "h100-80gb"},
        "drift": {"tokens": 0},
    }
    path = tmp_path / "gpu.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("card", "machine", "device", "words"),
    [
        (Card(), {}, "cuda:7", "cuda:7: this machine shows 1 CUDA device(s): cuda:0 NVIDIA H100"),
        (Card(mode=3), {}, "cuda:0", "is in exclusive mode"),
        (Card(mode=2), {}, "auto", "is in prohibited mode"),
        (Card(), {"cuda": 11080, "driver": "470.1"}, "cuda", "driver 470.1 runs CUDA 11.8 at most"),
        (Card(total=12 * GIB, name="NVIDIA L4"), {}, "cuda", "its weights take 15.0 GiB in bfloat16"),
        (Card(slices=[h100_slice()]), {}, "cuda", "the NVIDIA H100 80GB HBM3 (MIG slice 1g.10gb) has 10.0"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_loaded(
    bench: Bench,
    config: Path,
    gpu_machine: Machine,
    monkeypatch: Patch,
    card: Card,
    machine: dict[str, Any],
    device: str,
    words: str,
) -> None:
    gpu_machine(card, **machine)
    monkeypatch.setattr(gpus, "cuda_of_torch", lambda: (12, 8))
    for command in ("check", "run"):
        ended = bench(command, config, "--set", f"runtime.device={device}")
        assert ended.returncode == 2
        assert words in ended.stderr
        assert ended.stderr.startswith((f"bench: {config} with --set", f"bench: {config}:3: model"))


@pytest.mark.parametrize(
    ("card", "machine", "words"),
    [
        (Card(), {"library": False}, "GPU cuda:0: its neighbours, throttling, energy and memory by process"),
        (Card(total=24 * GIB), {}, "same: two models do not fit the GPU together"),
        (Card(slices=[h100_slice("3g.40gb", size=40 * GIB)]), {}, "it is priced as 50% of the card"),
        (Card(name="NVIDIA L4", total=24 * GIB), {}, "price h100-80gb is of H100 80GB SXM"),
    ],
)
def test_what_will_be_other_than_usual_is_a_note(
    bench: Bench, config: Path, gpu_machine: Machine, card: Card, machine: dict[str, Any], words: str
) -> None:
    gpu_machine(card, **machine)
    ended = bench("check", config)
    assert ended.returncode == 0, ended.stderr
    assert words in " ".join(ended.stdout.split())


def test_a_fitting_gpu_has_no_note(bench: Bench, config: Path, gpu_machine: Machine) -> None:
    gpu_machine(Card())
    said = bench("check", config).stdout
    assert [words for words in ("GPU cuda", "do not fit", "price h100-80gb is of") if words in said] == []


def test_the_doctor_says_who_is_on_a_gpu_and_what_caps_it(gpu_machine: Machine) -> None:
    gpu_machine(Card(processes={4242: GIB}, cap_mw=400_000), Card("GPU-bb-1", mode=3), Card("GPU-cc-1"))
    found = list(doctor._gpus(3))
    assert found[0].startswith("GPU cuda:0: 1 process(es) are on it right now")
    assert "its power cap is 400 W, below the board's usual 700" in found[1]
    assert found[2].startswith("cuda:1: the NVIDIA H100 80GB HBM3 is in exclusive mode")
    assert len(found) == 3
