"""Models that do not fit the memory of the GPU."""

from __future__ import annotations

import pytest
from config_files import Write, changed, refusal
from fake_nvml import GIB, Card, Machine, gpu_machine

from bench.config import support
from bench.config.gpu_memory import one_after_other
from bench.config.reader import read_config
from bench.models.registry import find_model

__all__ = ["gpu_machine"]
pytestmark = pytest.mark.usefixtures("cpu_machine")


LARGE = "model: {random: llama-3.1-8b-shape}"


def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "cuda_device_count", lambda: 1)


def test_a_model_that_is_too_large_for_the_gpu(
    write: Write, gpu_machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights alone: 8.03 billion numbers of four bytes, or of two."""
    gpu_machine(Card(total=24 * GIB, name="NVIDIA L4"))
    on_gpu(monkeypatch)
    text = changed("device: cpu", "device: cuda").replace("model: {random: tiny-llama}", LARGE)
    error = refusal(write(text))
    assert (error.key, error.line) == ("model", 2)
    assert "its weights take 29.9 GiB in float32, and the NVIDIA L4 has 24.0 GiB" in str(error)
    spec = read_config(write(text.replace("dtype: float32", "dtype: bfloat16")))
    assert spec.groups[0].baseline.unsupported is None


def test_a_variant_that_is_too_large_is_a_row_with_its_reason(
    write: Write, gpu_machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu_machine(Card(total=24 * GIB, name="NVIDIA L4"))
    on_gpu(monkeypatch)
    text = changed("device: cpu", "device: cuda").replace("- name: bf16", "- name: large")
    text = text.replace("runtime: {dtype: bfloat16}", LARGE)
    (variant,) = read_config(write(text)).groups[0].variants
    assert "its weights take 29.9 GiB in float32" in str(variant.unsupported)


@pytest.mark.parametrize(("gib", "apart"), [(24, True), (80, False)])
def test_rows_that_fit_alone_and_not_beside_their_baseline(
    write: Write, gpu_machine: Machine, monkeypatch: pytest.MonkeyPatch, gib: int, apart: bool
) -> None:
    gpu_machine(Card(total=gib * GIB))
    on_gpu(monkeypatch)
    text = changed("device: cpu", "device: auto").replace("model: {random: tiny-llama}", LARGE)
    spec = read_config(
        write(text.replace("dtype: float32", "dtype: bfloat16").replace("name: bf16", "name: b"))
    )
    said = list(one_after_other(spec.groups, find_model))
    assert [line.split(":")[0] for line in said] == (["b"] if apart else [])
