"""When a GPU needs kernels of optimum-quanto's own, and what is said where they cannot be built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils import cpp_extension

from bench.engine import Options, one_off
from bench.errors import Unsupported
from bench.models.fetch import ensure
from bench.models.reference import Random
from bench.optimisations.shared import calibration, quanto
from bench.runtimes import transformers as runtime

pytest.importorskip("optimum.quanto")


@pytest.mark.parametrize(
    ("weights", "dtype", "activations", "needed"),
    [
        ("int8", "bfloat16", None, False),
        ("int4", "bfloat16", None, True),  # a toy's rows are too short for groups
        ("int4", "float32", None, True),
        ("int2", "bfloat16", None, True),
        ("float8", "bfloat16", None, True),
        ("float8", "float32", None, False),
        ("float8", "bfloat16", "float8", False),
    ],
)
def test_which_weights_need_kernels_that_are_built(
    monkeypatch: pytest.MonkeyPatch, weights: str, dtype: str, activations: Any, needed: bool
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(quanto, "check_compiler", asked.append)
    model = runtime.load(
        ensure(Random("tiny-llama")).directory, Options(dtype=dtype, random=True, device="cpu")
    ).model
    params = quanto.QuantoParams(activations=activations, samples=1, tokens=16)
    quanto.pack(model, params, weights)
    assert asked == [torch.device("cpu")] * needed


def test_groups_of_128_in_bfloat16_have_a_kernel_in_torch() -> None:
    from optimum.quanto import QLinear, qint4

    layer = QLinear(256, 32, weights=qint4, dtype=torch.bfloat16)
    assert not quanto._needs_its_kernels(torch.nn.Sequential(layer), quanto.QuantoParams(), "int4")


def test_without_a_compiler_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", None)
    quanto.check_compiler(torch.device("cpu"))
    with pytest.raises(Unsupported, match="builds its CUDA kernels here with nvcc, which is not found"):
        quanto.check_compiler(torch.device("cuda"))
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", "/opt/cuda")
    quanto.check_compiler(torch.device("cuda"))


def test_ranges_of_activations_are_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second load has the same scales, quantises the same outputs, says the same, and reads no text."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    one_off.take_bill()
    runtime.load(
        ensure(Random("tiny-llama")).directory, Options(random=True, device="cpu")
    ).model.save_pretrained(tmp_path / "model")
    params = quanto.QuantoParams(activations="int8", samples=2, tokens=16)

    def load() -> tuple[Any, dict[str, object]]:
        model = runtime.load(tmp_path / "model", Options(device="cpu")).model
        model = quanto.pack(model, params, "int8").eval()
        (bill,) = one_off.take_bill()
        return model, bill

    def never(*_arguments: Any) -> Any:
        raise AssertionError("the text was read again")

    first, made = load()
    monkeypatch.setattr(calibration, "windows", never)
    second, reused = load()
    assert (made["what"], made["reused"], reused["reused"]) == ("calibration", False, True)
    assert made["took_s"] == reused["took_s"]
    layers = [dict(quanto._calibrated(model)) for model in (first, second)]
    assert layers[0].keys() == layers[1].keys() != set()
    for name, layer in layers[0].items():
        other = layers[1][name]
        for scale in quanto.SCALES:
            assert torch.equal(getattr(layer, scale), getattr(other, scale)), (name, scale)
        hooks = [one._quantize_hooks["output"].id in one._forward_hooks for one in (layer, other)]
        assert hooks[0] == hooks[1], name
    assert any(float(layer.input_scale) != 1 for layer in layers[0].values())
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        assert torch.equal(first(ids).logits, second(ids).logits)


def test_other_ranges_are_other_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    one_off.take_bill()
    for tokens in (16, 17):
        model = runtime.load(ensure(Random("tiny-llama")).directory, Options(random=True, device="cpu")).model
        quanto.pack(model, quanto.QuantoParams(activations="int8", samples=1, tokens=tokens), "int8")
    assert [bill["reused"] for bill in one_off.take_bill()] == [False, False]
