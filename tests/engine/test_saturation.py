"""Activations at the end of their format: counts against a plain loop over what each layer read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.engine import Options, saturation
from bench.engine.saturation import watched
from bench.models.fetch import ensure
from bench.models.reference import Random
from bench.runtimes import transformers as runtime
from bench.runtimes.transformers import TransformersEngine

IDS = list(range(3, 40))
END = 65504.0


def engine(dtype: str, model: str = "tiny-llama") -> TransformersEngine:
    return runtime.load(ensure(Random(model)).directory, Options(dtype=dtype, random=True, device="cpu"))


@pytest.fixture
def scaled() -> TransformersEngine:
    """A model in float16 whose gates and up-projections are so large that their products overflow."""
    found = engine("float16")
    for name, module in found.model.named_modules():
        if name.endswith(("gate_proj", "up_proj")):
            module.weight.mul_(4000)
    return found


def plainly(one: TransformersEngine) -> tuple[int, Counter[str], float]:
    """(numbers, those at an end by layer, the largest that is finite) of all that torch.nn.Linear reads."""
    inputs: list[tuple[str, torch.Tensor]] = []
    hooks = [
        module.register_forward_pre_hook(lambda _module, given, name=name: inputs.append((name, given[0])))
        for name, module in one.model.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]
    one.logits(IDS)
    for hook in hooks:
        hook.remove()
    ends = Counter[str]()
    values = [(name, value) for name, read in inputs for value in read.flatten().tolist()]
    for name, value in values:
        ends[name] += value >= END or value <= -END
    return len(values), +ends, max(abs(value) for _name, value in values if abs(value) <= END)


def seen(one: Any) -> Any:
    with watched(one) as found:
        one.logits(IDS)
    return found.found()


def test_every_activation_at_the_end_is_counted(scaled: TransformersEngine) -> None:
    looked, ends, _largest = plainly(scaled)
    found = seen(scaled)
    assert (found.format, found.looked) == ("float16", looked)
    assert found.layers == ends
    assert 100 < sum(ends.values()) < looked
    assert any(name.endswith("down_proj") for name in ends)
    assert found.reach == 1


def test_a_sound_model_has_none_and_says_how_near_it_came() -> None:
    one = engine("float16")
    looked, ends, largest = plainly(one)
    found = seen(one)
    assert (found.looked, found.layers, ends) == (looked, {}, {})
    assert found.reach == pytest.approx(largest / END, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_format_without_an_end_has_no_count(dtype: str) -> None:
    assert seen(engine(dtype)) is None


def test_the_hooks_are_gone_afterwards(scaled: TransformersEngine) -> None:
    with pytest.raises(RuntimeError, match="planted"), watched(scaled):
        raise RuntimeError("planted")
    assert not any(module._forward_pre_hooks for module in scaled.model.modules())


def test_two_windows_are_added(scaled: TransformersEngine) -> None:
    once = seen(scaled)
    with watched(scaled) as found:
        scaled.logits(IDS)
        scaled.logits(IDS)
    both = found.found()
    assert both is not None
    assert both.looked == 2 * once.looked
    assert both.layers == {name: 2 * count for name, count in once.layers.items()}


@pytest.mark.parametrize("hidden", ["compiled", "split", "no torch"])
def test_nothing_is_said_where_hooks_do_not_see_all(
    scaled: TransformersEngine, hidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if hidden == "compiled":
        monkeypatch.setattr(scaled, "compiled_graphs", lambda: 1)
    if hidden == "split":
        scaled._rest = SimpleNamespace()  # type: ignore[assignment]
    if hidden == "no torch":
        monkeypatch.setattr(type(scaled), "TORCH", False)
    with watched(scaled) as found:
        scaled.model(torch.tensor([IDS]))
    assert found.found() is None


@pytest.mark.parametrize(
    "values", [[float("nan"), 1.0], [float("nan"), float("inf")], [-END, 3.0], [0.0, END]]
)
def test_numbers_that_are_none_are_not_at_an_end(values: list[float]) -> None:
    """NaN fails the row elsewhere. Both infinities and the last number itself are at the end."""
    layer = torch.nn.Linear(2, 2, dtype=torch.float16)
    one = SimpleNamespace(model=torch.nn.Sequential(layer), seen_by_hooks=lambda: True)
    with watched(one) as found:  # type: ignore[arg-type]
        one.model(torch.tensor([values], dtype=torch.float16))
    read = found.found()
    assert read is not None
    wanted = sum(abs(value) >= END for value in values)
    assert (read.looked, sum(read.layers.values()), read.reach) == (2, wanted, float(wanted > 0))


@pytest.mark.parametrize("activations", ["int8", "float8"])
def test_codes_of_a_calibrated_scale(
    activations: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scale of one layer is halved, as if the calibration text had been tamer than this one. Codes are
    compared with those that optimum-quanto's own hook makes."""
    pytest.importorskip("optimum.quanto")
    from bench.optimisations.shared import quanto

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    one = engine("float32")
    quanto.pack(one.model, quanto.QuantoParams(activations=activations, samples=2, tokens=32), "int8")
    name, tame = next((n, m) for n, m in quanto._calibrated(one.model) if n.endswith("down_proj"))
    tame.input_scale /= 2
    made: list[torch.Tensor] = []
    quantise = type(tame).quantize_input
    looked = Counter[str]()
    for layer, module in quanto._calibrated(one.model):
        module._quantize_hooks["input"].remove()

        def own(module: Any, given: Any, layer: str = layer) -> Any:
            codes = quantise(module, module, given)
            looked[layer] += codes.numel()
            made.extend([codes._data] if layer == name else [])
            return codes

        module.register_forward_pre_hook(own)
    found = seen(one)
    kind = tame.activation_qtype
    ends = sum(code in (kind.qmin, kind.qmax) for codes in made for code in codes.float().flatten().tolist())
    assert (found.format, found.looked) == (activations, looked.total())
    assert found.layers[name] == ends > 0
    assert found.reach == 1


def test_the_limit_of_float16_is_torch_s() -> None:
    assert torch.finfo(torch.float16).max == END
    assert saturation._calibrated(torch.nn.Linear(1, 1)) is None
